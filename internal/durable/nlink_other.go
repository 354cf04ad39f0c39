//go:build !unix

package durable

import "io/fs"

// Links is how many names a file has; ok is false where that is not known.
func Links(fs.FileInfo) (n uint64, ok bool) { return 0, false }
