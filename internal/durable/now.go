package durable

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// Now is the time that the storage gives to a new directory, which it makes within dir and removes. On SMB it is the server's
// time, where a file has that of the machine that writes it. A process that dies in between leaves an empty directory with the name of
// a temporary file, which a sweep removes.
//
//	mkdirat temp; lstat temp; unlinkat temp
func Now(fsys FS, dir string, perm fs.FileMode) (time.Time, error) {
	temp, err := tempName(filepath.Join(dir, "clock"))
	if err != nil {
		return time.Time{}, err
	}
	if err := fsys.Mkdir(temp, perm); err != nil {
		return time.Time{}, fmt.Errorf("ask the storage for its time: %w", err)
	}
	defer fsys.Remove(temp) // if this fails, a sweep removes it later
	info, err := fsys.Stat(temp)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the storage for its time: %w", err)
	}
	return info.ModTime(), nil
}
