package durable

import (
	"io/fs"
	"os"
	"syscall"
)

// syncRead syncs a file that is open to read. Windows does that only for a handle that may write. It is opened as openToRead does, so
// that it is in nobody's way.
func syncRead(f *os.File) error {
	path, err := syscall.UTF16PtrFromString(f.Name())
	if err != nil {
		return &fs.PathError{Op: "open", Path: f.Name(), Err: err}
	}
	const share = syscall.FILE_SHARE_READ | syscall.FILE_SHARE_WRITE | syscall.FILE_SHARE_DELETE
	h, err := syscall.CreateFile(path, syscall.GENERIC_WRITE, share, nil, syscall.OPEN_EXISTING, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: f.Name(), Err: err}
	}
	w := os.NewFile(uintptr(h), f.Name())
	defer w.Close()
	return w.Sync()
}
