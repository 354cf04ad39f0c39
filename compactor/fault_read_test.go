//go:build unix

package compactor

import (
	"context"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/internal/durable"
)

// deaf is a file system whose k-th look at the disk fails, or shows an empty directory if cause is nil.
type deaf struct {
	durable.FS
	k     int
	cause error
	n     *int
	said  *string // the call that failed
}

func (d deaf) ask(op, name string) (fail bool) {
	*d.n++
	if *d.n-1 == d.k {
		*d.said = op + " " + name
		return true
	}
	return false
}

func (d deaf) Stat(name string) (fs.FileInfo, error) {
	if d.cause != nil && d.ask("stat", name) {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: d.cause}
	}
	return d.FS.Stat(name)
}

func (d deaf) ReadDir(name string) ([]fs.DirEntry, error) {
	switch fail := d.ask("readdir", name); {
	case fail && d.cause == nil:
		return nil, nil
	case fail:
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: d.cause}
	}
	return d.FS.ReadDir(name)
}

func (d deaf) Open(name string) (durable.ReadFile, error) {
	if d.cause == nil {
		return d.FS.Open(name)
	}
	if d.ask("open", name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: d.cause}
	}
	f, err := d.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return deafFile{f, d, name}, nil
}

type deafFile struct {
	durable.ReadFile
	d    deaf
	name string
}

func (f deafFile) Read(p []byte) (int, error) {
	if f.d.ask("read", f.name) {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: f.d.cause}
	}
	return f.ReadFile.Read(p)
}

func (f deafFile) ReadAt(p []byte, off int64) (int, error) {
	if f.d.ask("pread", f.name) {
		return 0, &fs.PathError{Op: "pread", Path: f.name, Err: f.d.cause}
	}
	return f.ReadFile.ReadAt(p, off)
}

// TestReadFailsAnywhere lets every look at the disk fail in turn: with an I/O error, with the error of a
// file handle that went stale, with "not found" although it is there, and with a listing that is empty
// because it is old. Nothing is lost or deleted by it, and an error is never silent.
func TestReadFailsAnywhere(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ESTALE, syscall.ENOENT, nil} {
		t.Run(fmt.Sprint(cause), func(t *testing.T) {
			t.Parallel()
			for k := 0; ; k++ {
				if testing.Short() && k%9 != 0 {
					continue
				}
				root := prepared(t)
				n, failed := 0, ""
				said := &notices{}
				cfg := Config{Root: root, FS: deaf{durable.OS, k, cause, &n, &failed}, KeepAge: -1, KeepGenerations: 1, Notify: said.add}
				report, err := Fold(context.Background(), cfg)
				if failed == "" {
					t.Logf("%d looks at the disk", k)
					return
				}
				when := fmt.Sprintf("look %d, %s: %v", k, failed, cause)
				isTold := err != nil || !report.Clean() || said.text() != ""
				if cause == syscall.EIO && !isTold && cmp.Diff(bothRows, values(t, root)) != "" {
					t.Errorf("%s: records are missing and nobody was told", when)
				}
				foldNow(t, Config{Root: root, KeepAge: -1, KeepGenerations: 1})
				if diff := cmp.Diff(bothRows, values(t, root)); diff != "" {
					t.Errorf("%s: rows after the next run (-want +got):\n%s", when, diff)
				}
				if n := streamsLeft(t, root); n != 0 {
					t.Errorf("%s: %d streams are left", when, n)
				}
				if got := damage(t, root); got != "" {
					t.Errorf("%s: check finds\n%s", when, got)
				}
			}
		})
	}
}
