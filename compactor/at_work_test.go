package compactor_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/internal/durable"
)

// watched is a file system that calls at before the k-th look at the disk.
type watched struct {
	durable.FS
	k  int
	mu *sync.Mutex // guards n, and holds everybody up while at runs
	n  *int
	at func()
}

func (w watched) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	*w.n++
	if *w.n-1 == w.k {
		w.at()
	}
}

func (w watched) Stat(name string) (fs.FileInfo, error) {
	w.look()
	return w.FS.Stat(name)
}

func (w watched) ReadDir(name string) ([]fs.DirEntry, error) {
	w.look()
	return w.FS.ReadDir(name)
}

func (w watched) Open(name string) (durable.ReadFile, error) {
	w.look()
	f, err := w.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return watchedFile{f, w}, nil
}

type watchedFile struct {
	durable.ReadFile
	w watched
}

func (f watchedFile) Read(p []byte) (int, error) {
	f.w.look()
	return f.ReadFile.Read(p)
}

func (f watchedFile) ReadAt(p []byte, off int64) (int, error) {
	f.w.look()
	return f.ReadFile.ReadAt(p, off)
}

// TestReadersOfARootAtWork lets a compactor commit several generations and sweep all before them while
// somebody reads, before each look at the disk in turn. Readers take no lock: they find no damage, and
// answer from before or from after.
func TestReadersOfARootAtWork(t *testing.T) {
	root := prepared(t)
	for name, read := range map[string]func(compactor.Config) error{
		"Check": func(cfg compactor.Config) error {
			var found []audit.Problem
			_, err := audit.Check(context.Background(), cfg, func(p audit.Problem) {
				if p.Damage || !strings.Contains(p.Reason, "was swept: another compactor committed first") { // that could not be looked at
					found = append(found, p)
				}
			})
			if err == nil && len(found) > 0 {
				err = fmt.Errorf("finds %v", found)
			}
			return err
		},
		"Repair": func(cfg compactor.Config) error {
			r, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{})
			if err == nil && (!r.Whole() || !r.Published || len(r.Unseen)+len(r.Waiting) > 0) {
				err = fmt.Errorf("finds %+v", r)
			}
			return err
		},
		"ReadStatus": func(cfg compactor.Config) error {
			s, err := audit.ReadStatus(context.Background(), cfg)
			if err == nil && s.Rows != 2 && s.Rows != 3 {
				err = fmt.Errorf("says %d rows", s.Rows)
			}
			return err
		},
		"Previous": func(cfg compactor.Config) error {
			run, ok, err := compactor.Previous(context.Background(), cfg, compactor.Query{Cohort: "c", RunID: "new", Stage: "S"})
			if err == nil && (!ok || run.Key != "b:S" && run.Key != "c:S") {
				err = fmt.Errorf("answers %v, %v", run, ok)
			}
			return err
		},
		"a fold": foldOnce,
		"an import that takes nothing": func(cfg compactor.Config) error {
			return importOf(cfg, `{"a:S": {}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for k := 0; ; k++ {
				if k%sparse != 0 || testing.Short() && k%5 != 0 {
					continue
				}
				disk := loaded(t, root)
				n, met := 0, false
				fsys := watched{disk, k, new(sync.Mutex), &n, func() {
					met = true
					foldNow(t, compactor.Config{Root: root, FS: disk, Lock: yes{}, BatchBytes: 1, KeepAge: -1, KeepGenerations: 1})
				}}
				err := read(compactor.Config{Root: root, FS: fsys, Lock: yes{}, KeepAge: -1, KeepGenerations: 1})
				if err != nil {
					t.Errorf("a fold before look %d: %v", k, err)
				}
				completesOn(t, disk, root, fmt.Sprintf("a fold before look %d", k))
				if !met {
					t.Logf("figure: %d interleavings of a reader with whole folds", k)
					return
				}
			}
		})
	}
}

func importOf(cfg compactor.Config, snapshots string) error {
	_, err := intake.Import(context.Background(), cfg, intake.Source{Snapshots: []intake.SnapshotsFile{{Data: strings.NewReader(snapshots)}}, Cohort: cohort.ID("old")})
	return err
}

// listing is a file system that calls after each time that a directory was listed.
type listing struct {
	durable.FS
	dir   string
	after func()
}

func (l listing) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := l.FS.ReadDir(name)
	if name == l.dir {
		l.after()
	}
	return entries, err
}

// publishing is a file system that calls before each look at a public file, once the file was looked at.
type publishing struct {
	durable.FS
	name   string
	before func(look int)
	looks  *int
}

func (p publishing) Stat(name string) (fs.FileInfo, error) {
	if name == p.name {
		*p.looks++
		p.before(*p.looks)
	}
	return p.FS.Stat(name)
}

// TestStatusBetweenCommitAndPublish: a generation was committed, and is published between two looks at the public file: the one that asks whether it is the newest, and
// the one that asks whether it is the one before. That is no damage, whichever look it is.
func TestStatusBetweenCommitAndPublish(t *testing.T) {
	for at := 1; ; at++ {
		root := newRoot(t)
		appendTo(t, root, "a", `{"run_id":"r-1","stage":"S"}`)
		foldNow(t, compactor.Config{Root: root})
		appendTo(t, root, "a", `{"run_id":"r-2","stage":"S"}`)
		foldNow(t, compactor.Config{Root: root})
		after := root.Index() + ".after"
		if err := os.Rename(root.Index(), after); err != nil {
			t.Fatal(err)
		}
		first, err := newestStoreOf(t, root).Read(1)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Link(root.Data(first.Index.Name), root.Index()); err != nil {
			t.Fatal(err)
		}
		looks, published := 0, false
		fsys := publishing{durable.OS, root.Index(), func(look int) {
			if look == at {
				published = true
				if err := os.Rename(after, root.Index()); err != nil {
					t.Error(err)
				}
			}
		}, &looks}
		s, err := audit.ReadStatus(t.Context(), compactor.Config{Root: root, FS: fsys})
		if err != nil || len(s.Damaged) > 0 {
			t.Errorf("published before look %d: %+v, %v", at, s.Damaged, err)
		}
		if !published {
			if err := os.Rename(after, root.Index()); err != nil {
				t.Fatal(err)
			}
			if at < 3 {
				t.Errorf("the public file was looked at %d times", looks)
			}
			return
		}
	}
}

// TestStatusWhileOthersPublish: a compactor publishes a generation each time right after the manifests were listed, so that what is public is always later
// than what is known. That is no damage.
func TestStatusWhileOthersPublish(t *testing.T) {
	root := newRoot(t)
	folds := 0
	fold := func() {
		if folds++; folds < 10 {
			appendTo(t, root, "a", fmt.Sprintf(`{"run_id":"r-%d","stage":"S"}`, folds))
			foldNow(t, compactor.Config{Root: root})
		}
	}
	fold()
	s, err := audit.ReadStatus(t.Context(), compactor.Config{Root: root, FS: listing{durable.OS, root.Manifests(), fold}})
	if err != nil || len(s.Damaged) > 0 || len(s.Unseen) > 0 {
		t.Errorf("after %d folds: %+v, %v", folds, s.Damaged, err)
	}
	if folds < 3 {
		t.Errorf("the manifests were listed %d times: the test shows nothing", folds-1)
	}
}
