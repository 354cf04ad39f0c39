package durable

import (
	"fmt"
	"io/fs"
	"path/filepath"
)

// MkdirWithin is MkdirAll for a directory below top, which exists. On success all names that lead from top to it are
// durable, whichever process made them (docs/durability.md, R14).
//
//	MkdirAll; for each parent from the bottom up to top: fsync
func MkdirWithin(fsys FS, top, name string, perm fs.FileMode) error {
	if err := MkdirAll(fsys, name, perm); err != nil {
		return err
	}
	// MkdirAll syncs only what it made. Another process may have made one of these directories just now, and may die
	// before it syncs the parent. Then a power loss would take all that the caller puts into the directory.
	for name != top {
		name = filepath.Dir(name)
		if err := SyncDir(fsys, name); err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
	}
	return nil
}
