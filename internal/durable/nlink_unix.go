//go:build unix

package durable

import (
	"io/fs"
	"syscall"
)

// Links is how many names a file has; ok is false where that is not known.
func Links(info fs.FileInfo) (n uint64, ok bool) {
	about, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(about.Nlink), true
}
