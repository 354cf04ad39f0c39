//go:build !linux && !windows

package durable

import "os"

// syncRead syncs a file that is open to read.
func syncRead(f *os.File) error { return f.Sync() }
