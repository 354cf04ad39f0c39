package durable

import (
	"errors"
	"syscall"
)

func remote(path string) bool {
	var s syscall.Statfs_t
	err := syscall.Statfs(path, &s)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
		return false // nothing is there that could be old
	}
	return err != nil || !ownKinds[uint32(s.Type)]
}
