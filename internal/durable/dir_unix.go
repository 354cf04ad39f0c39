//go:build !windows

package durable

import (
	"os"
	"syscall"
)

// openDir opens a directory. O_DIRECTORY refuses everything else: without it the open of a pipe would wait for ever.
func openDir(name string) (Dir, error) {
	d, err := os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return d, nil
}
