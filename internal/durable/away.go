package durable

import (
	"errors"
	"fmt"
	"syscall"
)

// AwayError reports that a storage does not answer, or shows an old state: a share whose server is away, or a cache that is
// stale. It says nothing about the bytes there, and the same call may succeed later.
type AwayError struct{ Err error }

func (e *AwayError) Error() string {
	return fmt.Sprintf("the storage does not answer or shows an old state: %v", e.Err)
}

func (e *AwayError) Unwrap() error { return e.Err }

// IsAway tells whether an error means that the storage does not answer, or shows an old state. No local disk
// returns one of these errors. EIO is not among them: see Away.
func IsAway(err error) bool {
	var away *AwayError
	if errors.As(err, &away) {
		return true
	}
	for _, e := range errsAway {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Away returns an *AwayError with err where err says that the storage does not answer. Else it returns err. EIO and
// EAGAIN say so where the storage is remote: a client of a network file system returns EIO after a time-out, and the one of SMB also EAGAIN
// while it connects again. On a local disk EIO is a broken disk.
func Away(err error, remote func() bool) error {
	var away *AwayError
	if err == nil || errors.As(err, &away) {
		return err
	}
	if IsAway(err) || (errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EAGAIN)) && remote() {
		return &AwayError{err}
	}
	return err
}

// Remote tells whether what path holds may be changed by another machine, so that this one may see an old state of it. What
// is not known is remote, but only on Linux: elsewhere the kind is never known, and Remote is false. A file system for tests
// has a method for that.
func Remote(fsys FS, path string) bool {
	if f, ok := fsys.(interface{ Remote(path string) bool }); ok {
		return f.Remote(path)
	}
	return remote(path)
}
