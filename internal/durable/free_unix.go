//go:build unix

package durable

import "syscall"

// FreeBytes is how many bytes this user may still write to the file system of an existing path, as
// statfs(2) reports. Quotas and delayed allocation can make it less.
func FreeBytes(path string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
