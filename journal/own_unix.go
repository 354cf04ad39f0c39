//go:build unix

package journal

import (
	"os"
	"syscall"
)

// ownFile tells one file from all others, and how large it is. Each append needs both. It does what os.SameFile and os.Stat do,
// without allocating memory and with one walk along the path less.
type ownFile struct {
	f        *os.File // for fstat; where zeros are written ahead, for that and for its sync as well
	dev, ino uint64
	writable bool
	bound    int64 // see large; 0: not asked for yet
}

// openOwn opens the segment that was just made, before anything is written to it: the kernel tells a descriptor only of the errors of
// writing back that came after it was opened.
func openOwn(path string) (*ownFile, os.FileInfo, error) {
	access := ownAccess(path)
	f, err := os.OpenFile(path, access|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return &ownFile{f: f, dev: uint64(st.Dev), ino: st.Ino, writable: access == os.O_RDWR}, info, nil
}

// size is the size of the file, also after it was moved.
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

// again repeats a call until it is not interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

func (o *ownFile) close() { o.f.Close() } // what was written through it was synced, so its error says nothing
