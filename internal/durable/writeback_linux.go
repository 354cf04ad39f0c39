package durable

import "golang.org/x/sys/unix"

// startWriteback asks the kernel to begin to write a part of a file, and does not wait for it
// (sync_file_range(2)). It promises nothing, so its error is dropped. It only leaves less work to the fsync that follows.
// That fsync reports every error of writing since the file was opened, those of this part as well.
func startWriteback(w WriteFile, from, n int64) {
	if f, ok := w.(createdFile); ok {
		_ = unix.SyncFileRange(int(f.Fd()), from, n, unix.SYNC_FILE_RANGE_WRITE)
	}
}
