package compactor_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
)

// before is a file system on which something happens once before a name is looked at.
type before map[string]func()

func (b before) on(name string) {
	if do, ok := b[name]; ok {
		delete(b, name)
		do()
	}
}

type happening struct {
	durable.FS
	before before
}

func (h happening) ReadDir(name string) ([]fs.DirEntry, error) {
	h.before.on(name)
	return h.FS.ReadDir(name)
}

func (h happening) Stat(name string) (fs.FileInfo, error) {
	h.before.on(name)
	return h.FS.Stat(name)
}

// TestCheckBesideADeletion: a check has read the manifest of a generation that has folded a part of a stream. Before it looks at the public files,
// the writer ends, and others fold the rest and move the stream to reaped/. Before it looks at the stream, they have
// deleted the segment, and not yet the directory. Nothing is damaged.
func TestCheckBesideADeletion(t *testing.T) {
	root := newRoot(t)
	w := openWriter(t, root, "c")
	appendLines(t, w, firstLines[0])
	foldNow(t, compactor.Config{Root: root})
	id := cohort.StreamID(filepath.Base(filepath.Dir(onlyStream(t, root))))
	segment := cohort.SegmentIn(root.Reaped("c", id))
	disk := happening{durable.OS, before{
		root.Index(): func() {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			foldNow(t, compactor.Config{Root: root})
		},
		segment: func() {
			if err := os.Remove(segment); err != nil {
				t.Fatal(err)
			}
		},
	}}
	_, err := audit.Check(context.Background(), compactor.Config{Root: root, FS: disk}, func(p audit.Problem) {
		if p.Damage {
			t.Errorf("finds %v", p)
		}
	})
	if err != nil || len(disk.before) > 0 {
		t.Errorf("Check = %v, and %d things did not happen", err, len(disk.before))
	}
}
