//go:build unix && !linux

package durable

import "syscall"

func statfs(path string) (Statfs, error) {
	var s syscall.Statfs_t
	if err := untilDone(func() error { return syscall.Statfs(path, &s) }); err != nil {
		return Statfs{}, err
	}
	return Statfs{0, uint64(s.Bsize), uint64(s.Blocks), uint64(s.Bavail), uint64(s.Ffree)}, nil
}
