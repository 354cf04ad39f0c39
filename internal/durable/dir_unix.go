//go:build !windows

package durable

import (
	"os"
	"syscall"
)

// openDir opens a directory and nothing else: the open of a pipe in its place would wait for ever.
func openDir(name string) (Dir, error) {
	d, err := os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return d, nil
}
