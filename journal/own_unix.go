//go:build unix

package journal

import (
	"os"
	"syscall"
)

// ownFile tells one file from all others, and how large it is. It is os.SameFile and os.Stat without what the heap and
// a walk along the path cost: each append asks for both.
type ownFile struct {
	f        *os.File // open to look at, nothing else
	dev, ino uint64
}

func openOwn(path string) (*ownFile, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return &ownFile{f, uint64(st.Dev), st.Ino}, info, nil
}

// size is that of the file, wherever it is now.
func (o *ownFile) size() (int64, error) {
	var st syscall.Stat_t
	err := again(func() error { return syscall.Fstat(int(o.f.Fd()), &st) })
	return st.Size, os.NewSyscallError("fstat", err)
}

// isAt tells whether a path is this file, and how large it is. It follows no link.
func (o *ownFile) isAt(path string) (same bool, size int64, err error) {
	var st syscall.Stat_t
	if err := again(func() error { return syscall.Lstat(path, &st) }); err != nil {
		return false, 0, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return o.dev == uint64(st.Dev) && o.ino == st.Ino, st.Size, nil
}

// again makes a call again that was interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

func (o *ownFile) close() { o.f.Close() } // it was not written through
