package audit

import (
	"context"
	"io/fs"

	"github.com/runfold/runfold/internal/durable"
)

// until is a file system that ends with a context. After the end of the context each look at the disk fails with the context's
// error. So a reader ends soon, also within a long file. It must not take this error for damage.
type until struct {
	durable.FS
	ctx context.Context
}

// Remote is that of the file system that it wraps.
func (u until) Remote(path string) bool { return durable.Remote(u.FS, path) }

func (u until) Open(name string) (durable.ReadFile, error) {
	if err := u.ctx.Err(); err != nil {
		return nil, err
	}
	f, err := u.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return untilFile{f, u.ctx}, nil
}

func (u until) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := u.ctx.Err(); err != nil {
		return nil, err
	}
	return u.FS.ReadDir(name)
}

func (u until) Stat(name string) (fs.FileInfo, error) {
	if err := u.ctx.Err(); err != nil {
		return nil, err
	}
	return u.FS.Stat(name)
}

type untilFile struct {
	durable.ReadFile
	ctx context.Context
}

func (f untilFile) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.ReadFile.Read(p)
}

func (f untilFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.ReadFile.ReadAt(p, off)
}
