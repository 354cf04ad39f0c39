package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback asks the kernel to begin to write a part of a file, and does not wait for it
// (sync_file_range(2)). It promises nothing: it only leaves less to do for the fsync that follows, which also
// reports what went wrong meanwhile, as it reports every error since the file was opened.
func startWriteback(w WriteFile, from, n int64) {
	if f, ok := w.(*os.File); ok {
		_ = unix.SyncFileRange(int(f.Fd()), from, n, unix.SYNC_FILE_RANGE_WRITE)
	}
}
