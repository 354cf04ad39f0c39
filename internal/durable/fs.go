package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
)

// FS is every call that this project makes on the disk, except those of tidwall/wal. Its implementations are
// OS and those of durabletest, which fail and crash on demand.
type FS interface {
	// Open opens a file to read.
	Open(name string) (ReadFile, error)
	// Create makes a file that must not exist (O_CREATE|O_EXCL|O_WRONLY). Its mode is perm less the umask; see Exact.
	Create(name string, perm fs.FileMode) (WriteFile, error)
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat is lstat: it never follows a symbolic link.
	Stat(name string) (fs.FileInfo, error)
	Mkdir(name string, perm fs.FileMode) error
	Link(old, new string) error
	Rename(old, new string) error
	// Exchange swaps what two names stand for. Both must exist. Few file systems can do that.
	Exchange(a, b string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// OpenDir holds a directory open, to sync it after a change that is still to come.
	OpenDir(name string) (Dir, error)
	// SyncDir makes the names in a directory durable that another process has changed. See Dir for the errors that it
	// cannot know of. Where directories cannot be synced (Windows), it does nothing.
	SyncDir(name string) error
	// Statfs asks for the type and the free space of the file system of an existing path. No errno of it is a reason to stop.
	Statfs(name string) (Statfs, error)
}

// Dir is a directory that was open before it was changed. When Linux cannot write a change back, it reports the error once
// to each descriptor that was open at that time. A descriptor that was opened later gets the error only if nobody got it
// before and the inode was in memory all the time. Else its sync reports success, although the new name is not on the disk.
// This happens where a directory is written like a file, such as on ext4 without a journal. Other file systems stop
// altogether after such an error.
//
// Where directories cannot be synced (Windows), it holds nothing.
type Dir interface {
	Sync() error
	Close() error
}

// ReadFile is an open file to read.
type ReadFile interface {
	io.Reader
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
	// Sync makes durable what anybody has written to the file until now, as far as this machine can do that for a file that it
	// only reads. On NFS it cannot: only the machine that wrote makes the server keep it. An error that the kernel tells here it tells
	// the writer as well, who has the file open.
	Sync() error
}

// WriteFile is a new file to write.
type WriteFile interface {
	io.Writer
	io.Closer
	Sync() error
	Chmod(mode fs.FileMode) error
}

// OS is the file system of this machine.
var OS FS = osFS{}

type osFS struct{}

func (osFS) Open(name string) (ReadFile, error) {
	f, err := openToRead(name)
	if err != nil {
		return nil, err
	}
	return openedFile{f}, nil
}

// openedFile is a file to read.
type openedFile struct{ *os.File }

func (f openedFile) Sync() error { return syncRead(f.File) }

func (osFS) Create(name string, perm fs.FileMode) (WriteFile, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return nil, err
	}
	holdMode(f, perm)
	return createdFile{f}, nil
}

// createdFile is a new file to write. It is a Cloner.
type createdFile struct{ *os.File }

// fileOf is the file of this machine that a ReadFile reads.
func fileOf(r ReadFile) (*os.File, bool) {
	for {
		switch f := r.(type) {
		case openedFile:
			return f.File, true
		case Unwrapper:
			r = f.Unwrap()
		default:
			return nil, false
		}
	}
}

func (osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)      { return os.Lstat(name) }
func (osFS) Link(old, new string) error                 { return os.Link(old, new) }
func (osFS) Rename(old, new string) error               { return rename(old, new) }
func (osFS) Exchange(a, b string) error                 { return exchangeNames(a, b) }
func (osFS) Remove(name string) error                   { return os.Remove(name) }

// Mkdir sets the set-group-id bit by itself: mkdir(2) drops it.
func (osFS) Mkdir(name string, perm fs.FileMode) error {
	err := os.Mkdir(name, perm)
	if err == nil {
		HoldMode(name, perm)
	}
	return err
}

func (osFS) Statfs(name string) (Statfs, error) {
	s, err := statfs(name)
	if err != nil {
		return Statfs{}, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return s, nil
}

func (osFS) OpenDir(name string) (Dir, error) { return openDir(name) }

func (osFS) SyncDir(name string) error {
	d, err := openDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// SameFile tells whether two results of Stat are about one file, under whatever names. A file system
// for tests has a method of its FileInfo for that.
func SameFile(a, b fs.FileInfo) bool {
	if t, ok := a.(interface{ SameFile(fs.FileInfo) bool }); ok {
		return t.SameFile(b)
	}
	return os.SameFile(a, b)
}

// tempHex is the number of hexadecimal digits in a temporary name.
const tempHex = 16

// IsTemp tells whether a file name is that of a temporary file of ours: ".<base>.<16 hex>.tmp". It is
// strict, because a sweep deletes the files for which it returns true.
func IsTemp(name string) bool {
	rest, ok := strings.CutSuffix(name, ".tmp")
	dot := len(rest) - tempHex - 1
	if !ok || dot < 2 || rest[0] != '.' || rest[dot] != '.' {
		return false
	}
	return strings.Trim(rest[dot+1:], "0123456789abcdef") == ""
}
