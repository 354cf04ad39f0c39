package durable

import (
	"fmt"
	"io"
	"io/fs"
)

// Copy makes a new file of what r yields and returns how many bytes that were. On success the bytes are on stable storage, and its
// name is not yet: the caller syncs the directory after the last file. On error no file is left, if it can be removed. It copies
// through memory: a file system that can share blocks between two files would make one copy out of both.
//
//	openat name O_EXCL; write; fsync name
func Copy(fsys FS, name string, r io.Reader, perm fs.FileMode) (n int64, err error) {
	w, err := fsys.Create(name, perm)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{r})
	if err := finish(fsys, w, name, err); err != nil {
		return 0, fmt.Errorf("copy to %s: %w", name, err)
	}
	return n, nil
}

// TempName is a name beside name that no other process uses: IsTemp knows it. It lies in the same directory, so a rename from one to
// the other stays within one file system.
func TempName(name string) (string, error) { return tempName(name) }
