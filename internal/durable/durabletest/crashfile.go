package durabletest

import (
	"bytes"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/runfold/runfold/internal/durable"
)

// handle is an open file.
type handle struct {
	i      *inode
	name   string
	closed bool // guarded by the file system's mu
}

// use locks the file system for one call on an open handle.
func (h *handle) use(op string, call func() error) error {
	h.i.fsys.mu.Lock()
	defer h.i.fsys.mu.Unlock()
	err := fs.ErrClosed
	if !h.closed {
		err = call()
	}
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: op, Path: h.name, Err: err}
}

func (h *handle) Close() error {
	return h.use("close", func() error {
		h.closed = true
		return nil
	})
}

type readFile struct {
	handle
	at int64
}

func (r *readFile) Stat() (info fs.FileInfo, err error) {
	err = r.use("stat", func() error {
		info = r.i.info(filepath.Base(r.name))
		return nil
	})
	return info, err
}

func (r *readFile) Read(p []byte) (n int, err error) {
	err = r.use("read", func() error {
		n, err = r.i.readAt(p, r.at)
		r.at += int64(n)
		if n > 0 && err == io.EOF {
			return nil
		}
		return err
	})
	return n, err
}

func (r *readFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = r.use("read", func() error {
		n, err = r.i.readAt(p, off)
		return err
	})
	return n, err
}

// Sync makes durable what anybody has written to the file.
func (r *readFile) Sync() error {
	return r.use("sync", func() error {
		r.i.synced = bytes.Clone(r.i.data)
		return nil
	})
}

func (i *inode) readAt(p []byte, off int64) (int, error) {
	switch {
	case i.mode.IsDir():
		return 0, syscall.EISDIR
	case off < 0:
		return 0, syscall.EINVAL
	case len(p) == 0:
		return 0, nil
	case off >= int64(len(i.data)):
		return 0, io.EOF
	}
	n := copy(p, i.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

type writeFile struct{ handle }

// Write appends. Nothing in this project writes to another place of a new file.
func (w *writeFile) Write(p []byte) (int, error) {
	err := w.use("write", func() error {
		w.i.data = append(w.i.data, p...)
		w.i.modTime = w.i.fsys.time()
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Clone appends what another file has. A crash forgets it as it forgets what was written.
func (w *writeFile) Clone(from durable.ReadFile, off, n int64) error {
	for u, ok := from.(durable.Unwrapper); ok; u, ok = from.(durable.Unwrapper) {
		from = u.Unwrap()
	}
	r, ok := from.(*readFile)
	return w.use("clone", func() error {
		switch {
		case !w.i.fsys.Clones || !ok || r.i.fsys != w.i.fsys:
			return durable.ErrNoClone
		case off < 0 || n <= 0 || off+n > int64(len(r.i.data)):
			return syscall.EINVAL
		}
		w.i.data = append(w.i.data, r.i.data[off:off+n]...)
		w.i.modTime = w.i.fsys.time()
		return nil
	})
}

// Sync makes the bytes durable, not the name: except on a share, where all names are durable then.
func (w *writeFile) Sync() error {
	return w.use("sync", func() error {
		w.i.synced = bytes.Clone(w.i.data)
		if w.i.fsys.Share {
			w.i.fsys.commitAll()
		}
		return nil
	})
}

// Chmod is durable at once: no test needs a mode that is lost.
func (w *writeFile) Chmod(mode fs.FileMode) error {
	return w.use("chmod", func() error {
		w.i.mode = mode.Perm()
		return nil
	})
}

// fileInfo is an inode at the moment of a Stat.
type fileInfo struct {
	i       *inode
	name    string
	size    int64
	mode    fs.FileMode
	modTime time.Time
}

func (i *inode) info(name string) fs.FileInfo {
	return fileInfo{i, name, int64(len(i.data)), i.mode, i.modTime}
}

func (f fileInfo) Name() string       { return f.name }
func (f fileInfo) Size() int64        { return f.size }
func (f fileInfo) Mode() fs.FileMode  { return f.mode }
func (f fileInfo) ModTime() time.Time { return f.modTime }
func (f fileInfo) IsDir() bool        { return f.mode.IsDir() }
func (f fileInfo) Sys() any           { return f.i }

// SameFile is for durable.SameFile.
func (f fileInfo) SameFile(other fs.FileInfo) bool { return f.Sys() == other.Sys() }
