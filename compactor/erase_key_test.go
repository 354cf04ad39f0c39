package compactor_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// TestEraseWideKey erases some rows of a run in a root whose key has more fields. An action goes only if it can be about no row that stays.
func TestEraseWideKey(t *testing.T) {
	form, err := cohort.ParseKeyForm([]string{"run_id", "phase", "target"})
	if err != nil {
		t.Fatal(err)
	}
	root := audited(t, newRootWith(t, cohort.Settings{Key: form}))
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c",
		`{"run_id":"p","stage":"S","target":"gone"}`, `{"run_id":"p","stage":"S","target":"stays"}`, `{"run_id":"p","stage":"T","target":"gone"}`,
		`{"action":"protect","run_id":"p","stage":"S","target":"gone","reason":"1"}`, `{"action":"protect","run_id":"p","stage":"S","reason":"2"}`,
		`{"action":"protect","run_id":"p","stage":"T","reason":"3"}`, `{"action":"protect","run_id":"p","reason":"4"}`)
	saved := t.TempDir()
	if err := os.CopyFS(saved, os.DirFS(root.Cohorts())); err != nil {
		t.Fatal(err)
	}
	done := eraseNow(t, cfg, compactor.Erasure{Select: func(_ context.Context, files ...*index.File) iter.Seq2[index.Identity, error] {
		return func(yield func(index.Identity, error) bool) {
			for h, err := range files[0].Identities() {
				if (err != nil || strings.HasSuffix(string(h.Key), ":gone")) && !yield(h, err) {
					return
				}
			}
		}
	}})
	if !done.IsDone() || len(done.Rows) != 2 || done.Actions != 2 {
		t.Errorf("erased %v and %d actions, left %+v; want two rows and two actions", done.Rows, done.Actions, done.Holding)
	}
	stands := func(when string) {
		t.Helper()
		if got := keysOn(t, root); !cmp.Equal(got, []string{"p:S:stays"}) {
			t.Errorf("%s: rows %v", when, got)
		}
		if diff := cmp.Diff([]string{"2", "4"}, reasonsOf(t, root)); diff != "" {
			t.Errorf("%s: reasons of actions (-want +got):\n%s", when, diff)
		}
	}
	stands("erased")
	appendTo(t, root, "d", `{"run_id":"o","stage":"S","target":"t"}`)
	foldNow(t, cfg)
	if err := os.CopyFS(root.Cohorts(), os.DirFS(saved)); err != nil {
		t.Fatal(err)
	}
	if r := foldNow(t, cfg); r.Dropped != 2 || r.DroppedActions != 2 {
		t.Errorf("of the stream that came back %d records and %d actions were dropped", r.Dropped, r.DroppedActions)
	}
	eraseNow(t, cfg, compactor.Erasure{RunID: "o"})
	stands("the stream came back")
}

// keysOn are the keys of all rows.
func keysOn(t testing.TB, root cohort.Root) (keys []string) {
	t.Helper()
	for key := range rows(t, root) {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// reasonsOf are the reasons of the actions in force.
func reasonsOf(t *testing.T, root cohort.Root) (reasons []string) {
	t.Helper()
	store, err := compactor.Config{Root: root}.Store()
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.Data(newestOn(t, root))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for a, err := range d.Actions() {
		if err != nil {
			t.Fatal(err)
		}
		reasons = append(reasons, a.Reason())
	}
	slices.Sort(reasons)
	return reasons
}

// TestEraseStage erases one stage of a run. The other stays, and with it the name of the run.
func TestEraseStage(t *testing.T) {
	root := newRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", secretLines...)
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person", Stage: "T"})
	if !done.IsDone() || len(done.Rows) != 1 || done.Actions != 1 {
		t.Errorf("erased %v and %d actions, left %+v", done.Rows, done.Actions, done.Holding)
	}
	if got := keysOn(t, root); !cmp.Equal(got, []string{"a:S", "person:S"}) {
		t.Errorf("rows %v", got)
	}
	if got := reasonsOf(t, root); !cmp.Equal(got, []string{"other"}) {
		t.Errorf("reasons of actions %v", got)
	}
}

// TestEraseFollowsNoLink leaves links in quarantine/ alone, and what they lead to.
func TestEraseFollowsNoLink(t *testing.T) {
	root := toErase(t, newDamagedRoot(t))
	elsewhere := t.TempDir()
	file := filepath.Join(elsewhere, "snapshot_index.json")
	data, err := os.ReadFile(root.Snapshots())
	if err != nil {
		t.Fatal(err)
	}
	put(t, file, data)
	if err := os.MkdirAll(root.DamagedGenerations(), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		root.Quarantine("c"): elsewhere,
		filepath.Join(root.DamagedGenerations(), "snapshot_index.json"):          file,
		filepath.Join(string(root), ".snapshot_index.json.0123456789abcdef.tmp"): file,
	} {
		if err := os.Symlink(to, name); err != nil {
			t.Skip(err)
		}
	}
	eraseNow(t, compactor.Config{Root: root}, compactor.Erasure{RunID: "person"})
	if got, err := os.ReadFile(file); err != nil || string(got) != string(data) {
		t.Errorf("a file outside of the root was changed: %v", err)
	}
}

// TestRebuildTombstones loses all manifests after an erasure: the generation that a repair makes of files has the tombstones.
func TestRebuildTombstones(t *testing.T) {
	root := toErase(t, newDamagedRoot(t))
	cfg := compactor.Config{Root: root}
	eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	store, err := cfg.Store()
	if err != nil {
		t.Fatal(err)
	}
	want, err := store.Erased(newestOn(t, root))
	if err != nil {
		t.Fatal(err)
	}
	gens, err := generations(durable.OS, root)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gens {
		if err := os.Remove(root.Manifest(g)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{Apply: true}); err != nil {
		t.Fatal(err)
	}
	got, err := store.Erased(newestOn(t, root))
	if err != nil || !cmp.Equal(want.All(), got.All()) {
		t.Errorf("tombstones after the repair: %v, %v; want %v", got, err, want)
	}
	if diff := cmp.Diff(erasedRows, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestRebuildTellsOfTombstones loses the newest manifests after an erasure, and the tombstones that belong to the newest index. The repair takes those
// of the generation before, if that has a manifest, and tells that some may be missing.
func TestRebuildTellsOfTombstones(t *testing.T) {
	cut := func(path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, data[:bytes.IndexByte(data, '\n')+1], 0o600)
	}
	for name, test := range map[string]struct {
		harm func(path string) error
		lose int // manifests
		is   bool
	}{
		"all there":                 {func(string) error { return nil }, 1, false},
		"gone":                      {os.Remove, 1, true},
		"cut off after a line":      {cut, 1, true},
		"damaged":                   {func(path string) error { return os.Truncate(path, 200) }, 1, true},
		"all there, no manifest":    {func(string) error { return nil }, 3, false},
		"gone, with all manifests":  {os.Remove, 3, true},
		"damaged, and no manifests": {func(path string) error { return os.Truncate(path, 200) }, 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			root := toErase(t, newDamagedRoot(t))
			cfg := compactor.Config{Root: root}
			eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
			appendTo(t, root, "c", `{"run_id":"o","stage":"S","v":1}`)
			foldNow(t, cfg)
			if err := test.harm(root.Data(newestOn(t, root).Erased.Name)); err != nil {
				t.Fatal(err)
			}
			gens, err := generations(durable.OS, root)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range gens[len(gens)-test.lose:] {
				if err := os.Remove(root.Manifest(g)); err != nil {
					t.Fatal(err)
				}
			}
			r, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{Apply: true})
			if err != nil || !r.Rebuilt || r.Unerased != test.is || r.Lossless() && test.is {
				t.Errorf("Repair = %+v, %v; want that tombstones are missing: %v", r, err, test.is)
			}
			if m := newestOn(t, root); (m.Erased == nil || m.Erased.Rows < 3) && (!test.is || test.lose == 1) {
				t.Errorf("after the repair the tombstones are %+v", m.Erased)
			}
		})
	}
}

// TestRebuildStopsAtTombstones cannot read the tombstones: the repair ends, and takes nothing without them.
func TestRebuildStopsAtTombstones(t *testing.T) {
	root := toErase(t, newDamagedRoot(t))
	cfg := compactor.Config{Root: root}
	eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	m := newestOn(t, root)
	if err := os.Remove(root.Manifest(m.Generation)); err != nil {
		t.Fatal(err)
	}
	cfg.FS, cfg.Lock = blind{loaded(t, root), filepath.Join("data", m.Erased.Name)}, yes{}
	if r, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{Apply: true}); !errors.Is(err, syscall.EIO) {
		t.Errorf("Repair = %+v, %v; want EIO", r, err)
	}
}

// TestRepairTombstones damages the tombstones of the newest generation: folds stop, and a repair has them from the one before.
func TestRepairTombstones(t *testing.T) {
	root := toErase(t, newDamagedRoot(t))
	cfg := compactor.Config{Root: root}
	eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	change(t, root.Data(newestOn(t, root).Erased.Name), flip(100))
	if got := damage(t, root); !strings.Contains(got, "erased-") {
		t.Errorf("check finds %q", got)
	}
	appendTo(t, root, "c", secretLines[2])
	if _, err := compactor.Fold(context.Background(), cfg); !generation.IsDamage(err) {
		t.Errorf("Fold: %v, want damage", err)
	}
	if _, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{Apply: true}); err != nil {
		t.Fatal(err)
	}
	store, err := cfg.Store()
	if err != nil {
		t.Fatal(err)
	}
	all, err := store.Erased(newestOn(t, root))
	if err != nil || all.Len() < 3 {
		t.Errorf("%d tombstones after the repair, %v", all.Len(), err)
	}
	if got := damage(t, root); got != "" {
		t.Errorf("after the repair check finds %q", got)
	}
}

// TestEraseKnowsItsTemps: a publication that was killed has left a second name of a data file in the root, which is no link outside of it.
func TestEraseKnowsItsTemps(t *testing.T) {
	root := toErase(t, newRoot(t))
	temp := filepath.Join(string(root), ".index.parquet.0123456789abcdef.tmp")
	if err := os.Link(root.Data(newestOn(t, root).Index.Name), temp); err != nil {
		t.Skip(err)
	}
	if done := eraseNow(t, compactor.Config{Root: root}, compactor.Erasure{RunID: "person"}); !done.IsDone() {
		t.Errorf("left: %+v", done.Holding)
	}
	isErasedOn(t, durable.OS, root, "a temporary name was left")
}
