//go:build !windows

package durable

import (
	"errors"
	"syscall"
)

// linkless are errors of link(2) with which a file system says that it has no hard links, or none here: AFS and project quotas
// say EXDEV between two directories, GlusterFS says EMLINK. EPERM, EACCES (Android), ENOTSUP and ENOSYS have names in package
// errors and io/fs.
var linkless = []error{syscall.EXDEV, syscall.EMLINK}

// inTheWay are errors of rename(2) that say that a program has the file open which is to be replaced. SMB has them.
var inTheWay = []error{syscall.EACCES, syscall.EBUSY, syscall.ETXTBSY}

// untilDone repeats a call until it is not interrupted.
func untilDone(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
