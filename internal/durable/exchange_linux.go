package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

func exchangeNames(a, b string) error {
	err := untilDone(func() error { return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) })
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}
