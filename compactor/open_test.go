package compactor_test

import (
	"context"
	"io/fs"
	"sync"
	"syscall"
	"testing"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// busyFS is a file system that replaces no file that this process has open under any name, as Windows and SMB.
type busyFS struct {
	durable.FS
	mu   *sync.Mutex // guards open
	open map[*openFile]fs.FileInfo
}

type openFile struct {
	durable.ReadFile
	in busyFS
}

func newBusyFS() busyFS { return busyFS{durable.OS, new(sync.Mutex), map[*openFile]fs.FileInfo{}} }

func (u busyFS) Open(name string) (durable.ReadFile, error) {
	f, err := u.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	o := &openFile{f, u}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open[o] = info
	return o, nil
}

func (o *openFile) Close() error {
	o.in.mu.Lock()
	defer o.in.mu.Unlock()
	delete(o.in.open, o)
	return o.ReadFile.Close()
}

func (u busyFS) Rename(old, new string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if there, err := u.FS.Stat(new); err == nil {
		for _, info := range u.open {
			if durable.SameFile(there, info) {
				return &fs.PathError{Op: "rename", Path: new, Err: syscall.EBUSY}
			}
		}
	}
	return u.FS.Rename(old, new)
}

// TestPublishAfterClose shows that each command has closed the index of the generation before when it publishes: that is one file
// with index.parquet.
func TestPublishAfterClose(t *testing.T) {
	root := newRoot(t)
	u := newBusyFS()
	cfg := compactor.Config{Root: root, FS: u}
	for n := range 2 {
		appendTo(t, root, "c", `{"run_id":"`+string(rune('a'+n))+`","stage":"S"}`)
		foldNow(t, cfg)
		if err := importOf(cfg, `{"i`+string(rune('a'+n))+`:S": {"v": 4}}`); err != nil {
			t.Errorf("import: %v", err)
		}
		column := index.Column{Name: "x" + string(rune('a'+n)), Kind: index.String}
		if _, err := compactor.ChangeColumns(context.Background(), cfg, compactor.ColumnChange{Declare: []index.Column{column}}); err != nil {
			t.Errorf("change of columns: %v", err)
		}
	}
	spoil(t, root, "index", newestOn(t, root).Generation)
	if err := repairOnce(cfg); err != nil {
		t.Errorf("repair: %v", err)
	}
	if len(u.open) != 0 {
		t.Errorf("%d files are open at the end", len(u.open))
	}
}
