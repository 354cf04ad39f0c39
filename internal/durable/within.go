package durable

import (
	"fmt"
	"io/fs"
	"path/filepath"
)

// MkdirWithin is MkdirAll for a directory below top, an existing one. On success all names that lead from top to it are
// durable, whoever made them: another process may have made one of them just now, and not have synced its parent yet
// (docs/durability.md, R14).
//
//	MkdirAll; for each parent from the bottom up to top: fsync
func MkdirWithin(fsys FS, top, name string, perm fs.FileMode) error {
	if err := MkdirAll(fsys, name, perm); err != nil {
		return err
	}
	for name != top {
		name = filepath.Dir(name)
		if err := fsys.SyncDir(name); err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
	}
	return nil
}
