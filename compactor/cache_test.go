package compactor_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// readers is a file system that notes of which manifests bytes are read, here or over a network.
type readers struct {
	durable.FS
	far bool

	mu   sync.Mutex
	read map[string]int
}

func (r *readers) Remote(string) bool { return r.far }

func (r *readers) Open(name string) (durable.ReadFile, error) {
	f, err := r.FS.Open(name)
	if err != nil || filepath.Base(filepath.Dir(name)) != "manifests" {
		return f, err
	}
	return noted{f, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.read[filepath.Base(name)]++
	}}, nil
}

// manifests are how many were read since the last call.
func (r *readers) manifests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.read)
	r.read = map[string]int{}
	return n
}

type noted struct {
	durable.ReadFile
	note func()
}

func (n noted) Read(p []byte) (int, error) {
	n.note()
	return n.ReadFile.Read(p)
}

// TestCacheReadsFew: the folds of a daemon read the manifests that are new, however many are kept. Without a Cache each fold reads all.
func TestCacheReadsFew(t *testing.T) {
	for _, far := range []bool{false, true} {
		for _, daemon := range []bool{true, false} {
			root := newRoot(t)
			disk := &readers{FS: durable.OS, far: far, read: map[string]int{}}
			cfg := compactor.Config{Root: root, FS: disk}
			if daemon {
				cfg.Cache = new(generation.Cache)
			}
			var read []int
			for n := range 12 {
				appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"r%d","stage":"S","v":1}`, n))
				foldNow(t, cfg)
				read = append(read, disk.manifests())
			}
			if kept, err := generations(durable.OS, root); err != nil || len(kept) != 12 {
				t.Fatalf("kept are %v, %v", kept, err)
			}
			if last, all := read[11], 12; daemon && last > 3 || !daemon && last != all {
				t.Errorf("far %t, a daemon %t: folds read %v manifests", far, daemon, read)
			}
		}
	}
}

// TestCacheIsWhatStands: what a process keeps of manifests is what the files say, after all that changes a root: a caller that got a manifest has not changed it.
func TestCacheIsWhatStands(t *testing.T) {
	for _, root := range []cohort.Root{newRoot(t), newCohortsRoot(t)} {
		cache := new(generation.Cache)
		cfg := compactor.Config{Root: root, Cache: cache, KeepAge: -1, KeepGenerations: 4}
		stands := func(what string) {
			t.Helper()
			store := generation.New(generation.Store{Root: root, Cache: cache})
			gens, err := store.List()
			if err != nil || len(gens) == 0 {
				t.Fatalf("%s: %v, %v", what, gens, err)
			}
			for _, g := range gens {
				data, err := os.ReadFile(root.Manifest(g))
				if err != nil {
					t.Fatal(err)
				}
				m, err := store.Read(g)
				if err != nil || !bytes.Equal(m.Encode(), data) {
					t.Errorf("%s: generation %d: %v, and what is kept (-file +cache):\n%s", what, uint64(g), err, cmp.Diff(string(data), string(m.Encode())))
				}
			}
		}
		for n, lines := range [][]string{
			{`{"run_id":"a","stage":"S","v":1}`, `{"run_id":"b","stage":"S","v":1}`, `{"run_id":"person","stage":"S","v":1}`},
			{`{"run_id":"a","stage":"S","v":2,"metrics":{"new":1}}`},
			{`{"action":"withdraw","run_id":"b"}`},
			{`{"run_id":"c","stage":"S","v":1}`, `{"action":"undo","run_id":"b"}`},
			{`{"action":"protect","run_id":"c"}`},
			{`{"run_id":"d","stage":"S","v":1}`},
		} {
			appendTo(t, root, cohort.ID(fmt.Sprintf("c%d", n%2)), lines...)
			foldNow(t, cfg)
			stands(lines[0])
		}
		if _, err := compactor.Erase(context.Background(), cfg, compactor.Erasure{RunID: "person", Apply: true}); err != nil {
			t.Fatal(err)
		}
		stands("an erasure")
		spoil(t, root, "index", newestOn(t, root).Generation)
		if r, err := audit.Repair(t.Context(), cfg, audit.RepairOptions{Apply: true}); err != nil {
			t.Fatalf("Repair = %+v, %v", r, err)
		}
		stands("a repair")
		appendTo(t, root, "c", `{"run_id":"e","stage":"S","v":1}`)
		foldNow(t, cfg)
		stands("a fold after it")
	}
}

// TestCacheLooksAgain: where something else stands under the name of a manifest that was read, the next sweep of a daemon reads it, and tells what a
// program that begins would tell. No data file goes then.
func TestCacheLooksAgain(t *testing.T) {
	damaged := func(data []byte) []byte {
		data[len(data)/2] ^= 1
		return data
	}
	for what, change := range map[string]func(t *testing.T, path string){
		"another file, as old and as long": func(t *testing.T, path string) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			put(t, path, damaged(data))
			if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
				t.Fatal(err)
			}
		},
		"a longer one": func(t *testing.T, path string) {
			overwrite(t, path, func(data []byte) []byte { return append(data, ' ') })
		},
		"written over": func(t *testing.T, path string) { overwrite(t, path, damaged) },
		"a link to it": func(t *testing.T, path string) {
			if err := os.Rename(path, path+".moved"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path+".moved", path); err != nil {
				t.Skip(err)
			}
		},
	} {
		for _, far := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, far %t", what, far), func(t *testing.T) { cacheLooksAgain(t, far, change) })
		}
	}
}

func cacheLooksAgain(t *testing.T, far bool, change func(t *testing.T, path string)) {
	t.Helper()
	root := newDamagedRoot(t)
	disk := &readers{FS: durable.OS, far: far, read: map[string]int{}}
	cfg := compactor.Config{Root: root, FS: disk, Cache: new(generation.Cache)}
	for n := range 5 {
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"r%d","stage":"S","v":1}`, n))
		foldNow(t, cfg)
	}
	before := dataFiles(t, root)
	change(t, root.Manifest(4))
	said := &notices{}
	cfg.Notify, cfg.KeepAge, cfg.KeepGenerations = said.add, -1, 3
	appendTo(t, root, "c", `{"run_id":"last","stage":"S","v":1}`)
	if _, err := compactor.Fold(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.text(), filepath.Base(root.Manifest(4))) {
		t.Errorf("the sweep tells %q", said.text())
	}
	after := dataFiles(t, root)
	if gone := slices.DeleteFunc(before, func(name string) bool { return slices.Contains(after, name) }); len(gone) > 0 {
		t.Errorf("the data files %v are gone", gone)
	}
}

// dataFiles are the names of those of a root.
func dataFiles(t *testing.T, root cohort.Root) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(root.DataDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, _, ours := cohort.ParseDataName(e.Name()); ours {
			names = append(names, e.Name())
		}
	}
	return names
}
