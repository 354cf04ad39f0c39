package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// File is a new file that gets its name only when it is complete and its bytes are durable. It is for data that
// is too large for Create. One goroutine uses it.
type File struct {
	fsys       FS
	w          WriteFile
	temp, name string
	size       int64 // bytes that were written
	started    int64 // bytes that the kernel was asked to write to the disk
	err        error // the first error: after it the file can only be discarded
	done       bool
}

// Pending makes a temporary file beside name. Commit or Discard must follow. If the process dies before, a sweep
// removes the file.
func Pending(fsys FS, name string, perm fs.FileMode) (*File, error) {
	temp, err := tempName(name)
	if err != nil {
		return nil, err
	}
	w, err := fsys.Create(temp, perm)
	if err != nil {
		return nil, err
	}
	return &File{fsys: fsys, w: w, temp: temp, name: name}, nil
}

// writebackBytes is how much a File gathers before it asks the kernel to write that to the disk.
const writebackBytes = 16 << 20

// Write appends to the file. After an error the file is dead: every later Write returns the same error, and Commit
// fails.
func (f *File) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.w.Write(p)
	f.err = err // kept: Commit must not name a file that lacks bytes in the middle
	f.size += int64(n)
	// The disk begins to write a large file early, so that the sync in Commit has less to wait for. Nothing else
	// depends on it.
	if f.size-f.started >= writebackBytes {
		startWriteback(f.w, f.started, f.size-f.started)
		f.started = f.size
	}
	return n, err
}

// Commit makes the file durable under its name. The name must be one that nobody else uses, because the rename
// would replace another file. On error the name is absent or complete; the temporary file is removed.
//
//	openat dir; fsync temp; renameat temp name; fsync dir; statfs dir
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("commit %s: %w", f.name, fs.ErrClosed)
	}
	f.done = true
	// The directory is opened before the rename, so that its sync hears of every error since (S2). Pending need not
	// do it: nobody needs the temporary name to be durable.
	dir, err := f.fsys.OpenDir(filepath.Dir(f.name))
	if err == nil {
		defer dir.Close()
		err = f.err
	}
	// The bytes are synced before the rename: no crash leaves the name with a part of them (S1).
	if err == nil {
		err = f.w.Sync()
	}
	if cerr := f.w.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = f.fsys.Rename(f.temp, f.name)
	}
	if err != nil {
		f.fsys.Remove(f.temp) // if this fails too, a sweep removes the file later
		return fmt.Errorf("commit %s: %w", f.name, err)
	}
	// A data file must have a durable name before a manifest names it. After a failed sync the caller must not
	// commit: the file is complete, but a crash may take it away.
	if err := Sync(f.fsys, dir, filepath.Dir(f.name)); err != nil {
		return fmt.Errorf("commit %s: %w", f.name, err)
	}
	return nil
}

// Discard removes the temporary file. After Commit it does nothing.
func (f *File) Discard() error {
	if f.done {
		return nil
	}
	f.done = true
	return errors.Join(f.w.Close(), f.fsys.Remove(f.temp))
}
