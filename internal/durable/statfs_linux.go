package durable

import "syscall"

func statfs(path string) (Statfs, error) {
	var s syscall.Statfs_t
	if err := untilDone(func() error { return syscall.Statfs(path, &s) }); err != nil {
		return Statfs{}, err
	}
	return Statfs{uint32(s.Type), uint64(s.Bsize), s.Blocks, s.Bavail, s.Ffree}, nil
}
