//go:build !windows

package durable

import (
	"os"
	"syscall"
)

// hasModes tells whether files have permissions for others here.
const hasModes = true

// openNoFollow opens a file or directory for fchmod(2). A pipe in its place does not hold it up.
func openNoFollow(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}
