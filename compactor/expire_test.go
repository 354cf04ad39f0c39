package compactor_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// keepFew is a fold that keeps as little as it may.
func keepFew(root cohort.Root, fsys durable.FS) compactor.Config {
	return compactor.Config{Root: root, FS: fsys, Lock: yes{}, KeepAge: -1, KeepGenerations: 1}
}

// lacking tells which manifests on a disk name data files that are not there.
func lacking(t *testing.T, disk durable.FS, root cohort.Root) string {
	t.Helper()
	var out []string
	gens, err := generations(disk, root)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gens {
		m, err := manifest(disk, root, g)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range m.Files() {
			if _, err := disk.Stat(root.Data(d.Name)); err != nil {
				out = append(out, fmt.Sprintf("generation %d: %v", uint64(g), err))
			}
		}
	}
	return strings.Join(out, "\n")
}

// TestExpireOrder is R23: whatever the disk keeps of the removals of a sweep, no manifest is there without its data files. A
// first run is stopped before each of its removals, so that the second one meets a manifest that is gone for programs and
// not yet on the disk.
func TestExpireOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 5))
	t.Logf("-seed %d", *seed)
	root := preparedToExpire(t)
	crashes, removed := 0, 0
	for k := 0; ; k++ {
		disk, n := loaded(t, root), 0
		first := &durabletest.Fault{FS: disk, Hook: func(_ int, op, name string) error {
			if op == "remove" && !durable.IsTemp(filepath.Base(name)) {
				n++
			}
			if n > k {
				return durabletest.ErrStopped // this removal, and all that follows
			}
			return nil
		}}
		foldOnce(keepFew(root, first))
		look := func(when string) {
			t.Helper()
			for _, mode := range durabletest.Modes() {
				for range 8 {
					crashes++
					if got := lacking(t, disk.Crash(mode, rnd), root); got != "" {
						t.Fatalf("%s removal %d, %v: %s", when, k, mode, got)
					}
				}
			}
		}
		look("power lost before")
		foldNow(t, keepFew(root, disk))
		look("power lost after a run that met a stop before")
		if gens, err := generations(disk, root); err != nil || gens[0] == 1 {
			t.Fatalf("generations %v, %v: the sweep removed nothing", gens, err)
		}
		if n <= k {
			break
		}
		removed++
	}
	if removed < 3 {
		t.Errorf("a sweep made %d removals: want a manifest and two data files at least", removed)
	}
	t.Logf("figure: %d crash states of a sweep", crashes)
}

// TestExpireKeepsWhatIsNamed: the data files of a manifest that cannot be removed, or whose removal may not be on the disk, stay.
func TestExpireKeepsWhatIsNamed(t *testing.T) {
	for name, fails := range map[string]func(root cohort.Root, op, name string) bool{
		"the manifest cannot be removed": func(root cohort.Root, op, name string) bool {
			return op == "remove" && name == root.Manifest(1)
		},
		"the directory cannot be synced": func() func(cohort.Root, string, string) bool {
			gone := false
			return func(root cohort.Root, op, name string) bool {
				gone = gone || op == "remove" && name == root.Manifest(1)
				return gone && op == "syncdir" && name == root.Manifests()
			}
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			root := preparedToExpire(t)
			first, err := manifest(durable.OS, root, 1)
			if err != nil {
				t.Fatal(err)
			}
			said := &notices{}
			cfg := keepFew(root, &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
				if fails(root, op, name) {
					return syscall.EIO
				}
				return nil
			}})
			cfg.Notify = said.add
			foldNow(t, cfg)
			for _, d := range first.Files() {
				if _, err := durable.OS.Stat(root.Data(d.Name)); err != nil {
					t.Errorf("a data file of generation 1 is gone: %v", err)
				}
			}
			if !strings.Contains(said.text(), ": not removed: ") {
				t.Errorf("notices %q do not tell", said.text())
			}
			// A later sweep, which can, removes them.
			appendTo(t, root, "c", thirdLines...)
			foldNow(t, keepFew(root, durable.OS))
			for _, d := range first.Files() {
				if _, err := durable.OS.Stat(root.Data(d.Name)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("a data file of generation 1 is left: %v", err)
				}
			}
		})
	}
}

// TestTwoWholeGenerationsStay damages the newest index. Whatever few generations a fold may keep, and whatever commits came since,
// a repair goes back without a loss.
func TestTwoWholeGenerationsStay(t *testing.T) {
	for name, then := range map[string]func(t *testing.T, root cohort.Root){
		"nothing": func(*testing.T, cohort.Root) {},
		// The seals change no row, so these commits name the index of the one before.
		"commits that share a file": func(t *testing.T, root cohort.Root) {
			for range 3 {
				foldNow(t, keepFew(root, durable.OS))
				sealAnother(t, root)
			}
			foldNow(t, keepFew(root, durable.OS))
		},
		// A repair makes the generation void that it leaves, which is no copy of anything.
		"a repair": func(t *testing.T, root cohort.Root) {
			spoil(t, root, "index", newestOn(t, root).Generation)
			if _, err := audit.Repair(t.Context(), keepFew(root, durable.OS), audit.RepairOptions{Apply: true}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := newDamagedRoot(t)
			for _, lines := range [][]string{firstLines, secondLines, {`{"run_id":"d","stage":"S","v":4}`}} {
				appendTo(t, root, "c", lines...)
				foldNow(t, keepFew(root, durable.OS))
			}
			then(t, root)
			now := newestOn(t, root)
			spoil(t, root, "index", now.Generation)
			r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: true})
			if err != nil || !r.Lossless() {
				t.Fatalf("Repair = %+v, %v, lossless %v; want no loss", r, err, r.Lossless())
			}
			want := map[string]string{"a:S": "1", "b:S": "2", "c:S": "2", "d:S": "4"}
			if diff := cmp.Diff(want, values(t, root)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// sealAnother makes a stream that holds nothing new and has a seal.
func sealAnother(t *testing.T, root cohort.Root) {
	t.Helper()
	w := openWriter(t, root, "c")
	appendLines(t, w, `{"run_id":"d","stage":"S","v":4,"record_id":"again"}`)
	foldNow(t, keepFew(root, durable.OS))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPublishSyncsOthersCommits: a run that publishes a generation of another run syncs its manifest first. Else a power loss could
// leave public files that no manifest knows.
func TestPublishSyncsOthersCommits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 6))
	t.Logf("-seed %d", *seed)
	root := prepared(t)
	disk := loaded(t, root)
	// A commits generation 2. Before it publishes, B commits generation 3 and ends before it syncs the directory.
	before := func() {
		if err := disk.Load(withStream(t, root)); err != nil {
			t.Fatal(err)
		}
		foldOnce(keepFew(root, &durabletest.Fault{FS: disk, Hook: unsyncedCommit(root)}))
	}
	once := true
	a := &durabletest.Fault{FS: disk, Hook: func(_ int, op, name string) error {
		if once && op == "link" && strings.HasPrefix(filepath.Base(name), ".index.parquet.") {
			once = false
			before()
		}
		return nil
	}}
	foldNow(t, keepFew(root, a))
	if h, err := newest(disk, root); err != nil || h.Generation != 3 {
		t.Fatalf("generation %v, %v is the newest: want 3", h.Generation, err)
	}
	for _, mode := range durabletest.Modes() {
		for range 8 {
			reboot := disk.Crash(mode, rnd)
			store := generation.New(generation.Store{FS: reboot, Root: root})
			now, err := store.Newest()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range must(store.Unpublished(now))(t) {
				if g, err := store.Shown(p); err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && g == 0 {
					t.Fatalf("%v: %s shows no generation that is on the disk (newest is %d), %v", mode, root.Rel(p.Name), uint64(now.Generation), err)
				}
			}
		}
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// withStream appends to the real root, and returns the directory of the stream.
func withStream(t *testing.T, root cohort.Root) string {
	t.Helper()
	old := map[string]bool{}
	for _, s := range listed(t, root) {
		old[s.String()] = true
	}
	appendTo(t, root, "c", thirdLines...)
	for _, s := range listed(t, root) {
		if !old[s.String()] {
			return root.Stream(s.Cohort, s.ID)
		}
	}
	t.Fatal("the writer made no stream")
	return ""
}

// unsyncedCommit ends a run after the link of its manifest.
func unsyncedCommit(root cohort.Root) func(int, string, string) error {
	linked := false
	return func(_ int, op, name string) error {
		if linked {
			return durabletest.ErrStopped
		}
		linked = op == "link" && name == root.Manifest(3)
		return nil
	}
}

// TestBrokenGenerationIsNoCopy: a generation whose index is gone is not one of the two that stay.
func TestBrokenGenerationIsNoCopy(t *testing.T) {
	root := newDamagedRoot(t)
	for _, lines := range [][]string{firstLines, secondLines, thirdLines} {
		appendTo(t, root, "c", lines...)
		foldNow(t, compactor.Config{Root: root})
	}
	broken, err := manifest(durable.OS, root, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.Remove(durable.OS, root.Data(broken.Index.Name)); err != nil {
		t.Fatal(err)
	}
	foldNow(t, keepFew(root, durable.OS))
	gens, err := generations(durable.OS, root)
	if err != nil || gens[0] != 1 {
		t.Errorf("generations %v, %v: want 1 to stay, as 2 has no index", gens, err)
	}
}

// TestVoidGenerationIsNoCopy: what a repair has left behind is not one of the two that stay, although its files are there.
func TestVoidGenerationIsNoCopy(t *testing.T) {
	root := newDamagedRoot(t)
	for _, lines := range [][]string{firstLines, secondLines} {
		appendTo(t, root, "c", lines...)
		foldNow(t, compactor.Config{Root: root})
	}
	if err := importsOne.do(compactor.Config{Root: root}); err != nil {
		t.Fatal(err)
	}
	spoil(t, root, "index", 3)
	if _, err := audit.Repair(t.Context(), keepFew(root, durable.OS), audit.RepairOptions{Apply: true}); err != nil {
		t.Fatal(err)
	}
	foldNow(t, keepFew(root, durable.OS))
	gens, err := generations(durable.OS, root)
	if want := []cohort.Generation{2, 3, 4}; err != nil || !slices.Equal(gens, want) {
		t.Errorf("generations %v, %v: want %v, as 3 is void", gens, err, want)
	}
}

// noHistory makes a root keep no more than a fold is told to keep.
func noHistory(t *testing.T, root cohort.Root) {
	t.Helper()
	none := time.Duration(0)
	cfg := compactor.Config{Root: root}
	if _, err := compactor.ChangeRetention(t.Context(), cfg, compactor.RetentionChange{All: &none, Hourly: &none, Daily: &none}); err != nil {
		t.Fatal(err)
	}
}
