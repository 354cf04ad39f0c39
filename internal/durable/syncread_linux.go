package durable

import (
	"os"
	"syscall"
)

// syncRead syncs a file that is open to read. The client of SMB ignores that, unless the file is open to write.
func syncRead(f *os.File) error {
	var s syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &s); err != nil || !(Statfs{Type: uint32(s.Type)}).IsSMB() {
		return f.Sync()
	}
	w, err := os.OpenFile(f.Name(), os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer w.Close()
	return w.Sync()
}
