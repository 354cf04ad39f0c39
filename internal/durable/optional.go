package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"
)

// Optional is something that a file system need not have. Where it is missing, the verbs go the way that needs less.
type Optional string

const (
	HardLinks Optional = "hard links" // else a file is made under its own name, or copied
	DirSync   Optional = "the sync of a directory"
)

// Without says what was missing, on what, and how that showed.
type Without struct {
	What Optional
	Path string
	Err  error
}

// Telling is fsys, and calls tell whenever a verb goes on without something. It may be called by several goroutines at once.
func Telling(fsys FS, tell func(Without)) FS { return telling{fsys, tell} }

type telling struct {
	FS
	tell func(Without)
}

func goesWithout(fsys FS, what Optional, path string, err error) {
	if t, ok := fsys.(telling); ok {
		t.tell(Without{what, path, err})
	}
}

// linkRoom is how much must be free for a full disk to be no reason for an error of link(2). A link needs a block at most.
const linkRoom = 1 << 20

// IsLinkless tells whether an error of FS.Link means that there are no hard links in dir, or no more of this file. The verbs go
// on without them then. Every other error, EIO above all, says that something is wrong.
func IsLinkless(fsys FS, dir string, err error) bool {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || isOneOf(err, linkless) {
		return true
	}
	// GlusterFS keeps a note of each link, and says that the disk is full when one file has some 44 of them.
	if !errors.Is(err, syscall.ENOSPC) {
		return false
	}
	s, serr := fsys.Statfs(dir)
	if serr != nil {
		return false
	}
	free, serr := s.FreeBytes()
	return serr == nil && free >= linkRoom
}

func isOneOf(err error, list []error) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// IsUnsyncable tells whether the sync of a directory failed because the file system cannot do that. Its names are as durable as
// it makes them by itself. EIO is not one of these errors: it says that a name may not be on the disk.
func IsUnsyncable(err error) bool {
	var path *fs.PathError
	if errors.As(err, &path) && path.Op == "open" {
		return false
	}
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported)
}

// SyncDir makes the names in a directory durable that another process has changed: see Dir for the errors that it
// cannot know of. Where the sync of a directory does nothing, it syncs a new file there: see Statfs.SyncsNames.
//
//	fsync dir; statfs dir; on such a share: openat new O_EXCL; fsync new; unlinkat new
func SyncDir(fsys FS, name string) error { return namesSynced(fsys, name, fsys.SyncDir(name)) }

// Sync makes the names in the open directory d durable, as SyncDir does. name is the path of d.
func Sync(fsys FS, d Dir, name string) error { return namesSynced(fsys, name, d.Sync()) }

// namesSynced makes the names in dir durable, whose sync had this result.
func namesSynced(fsys FS, dir string, err error) error {
	if err != nil && !IsUnsyncable(err) {
		return err
	}
	if s, serr := fsys.Statfs(dir); serr == nil && !s.SyncsNames() {
		return syncBeside(fsys, dir)
	}
	if err != nil {
		goesWithout(fsys, DirSync, dir, err)
	}
	return nil
}

// syncBeside syncs a new, empty file in dir. The sync of a file does reach the disk of a server, and a disk with one journal, such as ext4, puts
// all there that was changed before. After a power loss the file may stay: see IsTemp.
func syncBeside(fsys FS, dir string) error {
	beside, err := tempName(filepath.Join(dir, "runfold-sync"))
	if err != nil {
		return err
	}
	w, err := fsys.Create(beside, 0o666)
	if err == nil {
		err = finish(fsys, w, beside, nil)
		fsys.Remove(beside) // a file that stays is swept later
	}
	if IsFull(err) || IsReadOnly(err) || errors.Is(err, fs.ErrPermission) || err != nil && IsUnsyncable(err) {
		goesWithout(fsys, DirSync, dir, err)
		return nil
	}
	return err
}

// ErrInUse reports a name that could not be replaced because a program has the file open. It is so on SMB, if the program runs on
// the same machine. The name may be gone until somebody replaces it again.
var ErrInUse = errors.New("a program on this machine has it open")

// IsInUse tells whether an error of FS.Rename means that a program has the file open which is to be replaced.
func IsInUse(err error) bool { return isOneOf(err, inTheWay) }

// Patience is how long Replace and ReplaceWith wait for a file to be closed.
const Patience = 10 * time.Second

// renameOver renames temp over name. It tries until then, as long as name is in use.
func renameOver(fsys FS, temp, name string, until time.Time) error {
	err := fsys.Rename(temp, name)
	for pause := 10 * time.Millisecond; IsInUse(err); pause = min(2*pause, time.Second) {
		// The rename may have happened all the same. Nobody else takes the temporary name away.
		if _, serr := fsys.Stat(temp); errors.Is(serr, fs.ErrNotExist) {
			if _, serr := fsys.Stat(name); serr == nil {
				return nil
			}
		}
		if !time.Now().Add(pause).Before(until) {
			return fmt.Errorf("%w: %w", ErrInUse, err)
		}
		time.Sleep(pause)
		err = fsys.Rename(temp, name)
	}
	return err
}

// linkOrCopy makes temp, a name that nobody else uses, show the content of src.
func linkOrCopy(fsys FS, temp, src string, perm fs.FileMode) error {
	dir := filepath.Dir(temp)
	// A reader that has the one name open would keep all others on its machine from opening the other.
	if s, err := fsys.Statfs(dir); err == nil && s.IsSMB() {
		return copyFile(fsys, temp, src, perm)
	}
	err := fsys.Link(src, temp)
	if err == nil || settleLink(fsys, src, temp, err) == nil {
		return nil
	}
	if !IsLinkless(fsys, dir, err) {
		return err
	}
	goesWithout(fsys, HardLinks, temp, err)
	fsys.Remove(temp) // a link that reports an error may have been made
	return copyFile(fsys, temp, src, perm)
}
