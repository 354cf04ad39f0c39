package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// File is a new file that gets its name only once it is complete and durable. For data that is too
// large for Create. It is used by one goroutine.
type File struct {
	fsys       FS
	w          WriteFile
	temp, name string
	size       int64 // written
	started    int64 // of those, on their way to the disk
	err        error // the first error: the file can only be discarded
	done       bool
}

// Pending makes a temporary file beside name. Either Commit or Discard must follow.
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

// writebackBytes is how much a File gathers before it begins to send it to the disk.
const writebackBytes = 16 << 20

// Write appends to the file. After an error the file is dead. Of a large file the disk begins to write what
// is there, so that the sync at the end does not have to wait for all of it.
func (f *File) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.w.Write(p)
	f.err = err
	f.size += int64(n)
	if f.size-f.started >= writebackBytes {
		startWriteback(f.w, f.started, f.size-f.started)
		f.started = f.size
	}
	return n, err
}

// Commit makes the file durable under its name, which must be one that nobody else uses: it is
// renamed there. On error the temporary file is removed and the name is absent, or complete.
//
//	openat dir; fsync temp; renameat temp name; fsync dir
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("commit %s: %w", f.name, fs.ErrClosed)
	}
	f.done = true
	dir, err := f.fsys.OpenDir(filepath.Dir(f.name)) // now and not by Pending: the temporary name need not be durable
	if err == nil {
		defer dir.Close()
		err = f.err
	}
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
		f.fsys.Remove(f.temp) // if it fails too, a sweep does it
		return fmt.Errorf("commit %s: %w", f.name, err)
	}
	if err := dir.Sync(); err != nil {
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
