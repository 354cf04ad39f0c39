package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view/delta"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// withDelta turns the Delta table of a root on.
func withDelta(t testing.TB, root cohort.Root) cohort.Root {
	t.Helper()
	if m, err := compactor.ChangeDelta(context.Background(), compactor.Config{Root: root}, true); err != nil || !m.Delta {
		t.Fatalf("ChangeDelta: %+v, %v", m, err)
	}
	return root
}

// deltaShows fails unless the Delta table shows the newest generation with the bytes of its index, and nothing is wrong with it.
func deltaShows(t testing.TB, fsys durable.FS, root cohort.Root, when string) delta.State {
	t.Helper()
	store, err := compactor.Config{Root: root, FS: fsys}.Store()
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	s, err := delta.Read(store)
	if err != nil || s.Generation != m.Generation || s.Token != m.Token {
		t.Fatalf("%s: the table shows generation %d of %d: %v", when, s.Generation, m.Generation, err)
	}
	if sum, err := store.Checksum(filepath.Join(root.Delta(), s.File)); err != nil || sum != m.Index.CRC32C {
		t.Fatalf("%s: its file has not the bytes of the index: %v", when, err)
	}
	if _, err := delta.Check(store, func(path, reason string) { t.Errorf("%s: %s: %s", when, path, reason) }); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	return s
}

// TestDeltaFollows changes a root in every way that there is. After each the table shows what index.parquet shows.
func TestDeltaFollows(t *testing.T) {
	root := withDelta(t, newDamagedRoot(t))
	cfg := compactor.Config{Root: root}
	deltaShows(t, durable.OS, root, "empty root")
	appendTo(t, root, "c", firstLines...)
	foldNow(t, cfg)
	deltaShows(t, durable.OS, root, "fold")
	appendTo(t, root, "c", `{"run_id":"late","stage":"S","params":{"n":1}}`)
	foldNow(t, cfg)
	deltaShows(t, durable.OS, root, "new column")
	appendTo(t, root, "c", `{"run_id":"late","stage":"S","params":{"n":1.5}}`)
	foldNow(t, cfg)
	deltaShows(t, durable.OS, root, "int64 to double")
	if _, err := compactor.ChangeColumns(context.Background(), cfg, compactor.ColumnChange{Declare: []index.Column{{Name: "params.n", Kind: index.String}}}); err != nil {
		t.Fatal(err)
	}
	deltaShows(t, durable.OS, root, "retyped")
	appendTo(t, root, "c", `{"action":"withdraw","run_id":"late","reason":"x"}`)
	foldNow(t, cfg)
	deltaShows(t, durable.OS, root, "withdrawn")
	before := deltaShows(t, durable.OS, root, "nothing new")
	foldNow(t, cfg)
	if s := deltaShows(t, durable.OS, root, "folded again"); s.Version != before.Version {
		t.Errorf("a fold of nothing made version %d of %d", s.Version, before.Version)
	}
	rec := parse(t, `{"run_id":"old","stage":"S"}`)
	rec.Cohort = "c"
	if _, err := compactor.Import(context.Background(), cfg, []compactor.Imported{{Record: rec}}, false); err != nil {
		t.Fatal(err)
	}
	before = deltaShows(t, durable.OS, root, "imported")
	spoil(t, root, "index", before.Generation)
	if _, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{Apply: true}); err != nil {
		t.Fatal(err)
	}
	foldNow(t, cfg)
	deltaShows(t, durable.OS, root, "repaired")
	if _, err := compactor.ChangeDelta(context.Background(), cfg, false); err != nil {
		t.Fatal(err)
	}
	appendTo(t, root, "c", secondLines...)
	foldNow(t, cfg)
	withDelta(t, root)
	deltaShows(t, durable.OS, root, "off and on again, generations skipped")
}

// TestDeltaNeverFailsAFold fails every change of the disk below delta/, and each alone. The fold is done all the same, tells it, and the next
// one brings the table up to date.
func TestDeltaNeverFailsAFold(t *testing.T) {
	root := withDelta(t, newRoot(t))
	for range 9 { // the next version has a checkpoint
		appendTo(t, root, "c", firstLines[0])
		foldNow(t, compactor.Config{Root: root})
	}
	appendTo(t, root, "c", secondLines...)
	for k := -1; ; k++ {
		disk := durabletest.New()
		if err := disk.Load(string(root)); err != nil {
			t.Fatal(err)
		}
		n := 0
		fault := &durabletest.Fault{FS: disk, Hook: func(_ int, _, name string) error {
			if !strings.HasPrefix(name, root.Delta()) {
				return nil
			}
			n++
			if k < 0 || n-1 == k {
				return syscall.EIO
			}
			return nil
		}}
		var said notices
		report := foldNow(t, compactor.Config{Root: root, FS: fault, Lock: yes{}, Notify: said.add})
		if report.Commits != 1 || report.Damage != 0 {
			t.Fatalf("change %d: %+v", k, report)
		}
		told := strings.Contains(said.text(), "delta: the table was not brought up to date")
		if k < 0 && report.DeltaFailed == 0 || told != (report.DeltaFailed > 0) {
			t.Errorf("change %d: failed %d times, and told %q", k, report.DeltaFailed, said.text())
		}
		if report := foldNow(t, compactor.Config{Root: root, FS: disk, Lock: yes{}}); report.DeltaFailed != 0 {
			t.Errorf("change %d: the next fold: %+v", k, report)
		}
		deltaShows(t, disk, root, fmt.Sprintf("change %d failed", k))
		if k >= n {
			return
		}
	}
}

// TestDeltaKilledAnywhere cuts the power before each change that a fold with a Delta table makes. The next fold brings both up to date.
func TestDeltaKilledAnywhere(t *testing.T) {
	t.Parallel()
	root := withDelta(t, newRoot(t))
	foldNow(t, compactor.Config{Root: preparedIn(t, root)})
	appendTo(t, root, "c", firstLines[0])
	rnd := rand.New(rand.NewPCG(*seed, 50))
	t.Logf("-seed %d", *seed)
	crashes := 0
	for k := 0; ; k++ {
		if k%sparse != 0 || testing.Short() && k%5 != 0 {
			continue
		}
		disk := durabletest.New()
		if err := disk.Load(string(root)); err != nil {
			t.Fatal(err)
		}
		fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
		cfg := compactor.Config{Root: root, FS: fault, Lock: yes{}, KeepAge: -1, KeepGenerations: 1}
		_, err := compactor.Fold(context.Background(), cfg)
		if err == nil && fault.Calls() <= k {
			t.Logf("figure: %d crash states of a fold with a Delta table", crashes)
			return
		}
		for _, mode := range durabletest.Modes() {
			crashes++
			when := fmt.Sprintf("power lost before change %d, %v", k, mode)
			reboot := disk.Crash(mode, rnd)
			cfg.FS = reboot
			foldNow(t, cfg)
			if diff := cmp.Diff(bothRows, valuesOn(t, reboot, root)); diff != "" {
				t.Fatalf("%s: rows (-want +got):\n%s", when, diff)
			}
			deltaShows(t, reboot, root, when)
			if got := damageOn(t, reboot, root); got != "" {
				t.Fatalf("%s: check finds\n%s", when, got)
			}
		}
	}
}

// TestDeltaForeign: another program writes into the table. Folds go on, say so each time, and count damage.
func TestDeltaForeign(t *testing.T) {
	root := withDelta(t, newRoot(t))
	cfg := compactor.Config{Root: root}
	name := filepath.Join(root.Delta(), "_delta_log", "00000000000000000001.json")
	if err := os.WriteFile(name, []byte(`{"commitInfo":{}}`+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var said notices
		cfg.Notify = said.add
		appendTo(t, root, "c", firstLines...)
		report := foldNow(t, cfg)
		if report.Damage != 1 || report.DeltaFailed == 0 || !strings.Contains(said.text(), "sync --reassert") {
			t.Errorf("%+v, %s", report, said.text())
		}
	}
	if got := damage(t, root); !strings.Contains(got, "another program has written into the table") {
		t.Errorf("check: %s", got)
	}
	status, err := audit.ReadStatus(context.Background(), compactor.Config{Root: root})
	if err != nil || status.Whole() || status.Delta == nil || status.Delta.Problem == "" {
		t.Errorf("status: %+v, %v", status.Delta, err)
	}
	store, err := cfg.Store()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := delta.Reassert(store); err != nil {
		t.Fatal(err)
	}
	deltaShows(t, durable.OS, root, "taken back")
	if report := foldNow(t, cfg); !report.Clean() {
		t.Errorf("%+v", report)
	}
}

// TestDeltaErased: an erasure leaves nothing of the run in the table, whose files are links to the generations that it removes.
func TestDeltaErased(t *testing.T) {
	root := withDelta(t, newRoot(t))
	cfg := compactor.Config{Root: root}
	for range 6 {
		appendTo(t, root, "c", secretLines...)
		foldNow(t, cfg)
	}
	look, err := compactor.Erase(context.Background(), cfg, compactor.Erasure{RunID: "person"})
	if err != nil || !isHeld(look, "delta") {
		t.Errorf("without --apply: %+v, %v", look.Holding, err)
	}
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	if !done.IsDone() {
		t.Errorf("left: %+v", done.Holding)
	}
	if found := secretsIn(t, durable.OS, root); len(found) > 0 {
		t.Errorf("found:\n%s", strings.Join(found, "\n"))
	}
	s := deltaShows(t, durable.OS, root, "erased")
	if names, err := filepath.Glob(filepath.Join(root.Delta(), "*")); err != nil || len(names) != 2 {
		t.Errorf("delta/ holds %v beside version %d, %v", names, s.Version, err)
	}
	appendTo(t, root, "c", firstLines...)
	foldNow(t, cfg)
	deltaShows(t, durable.OS, root, "goes on")
}

// TestDeltaErasedInTheWay: a table that is not ours is named, because its files may hold the run.
func TestDeltaErasedInTheWay(t *testing.T) {
	root := withDelta(t, newDamagedRoot(t))
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", secretLines...)
	foldNow(t, cfg)
	if _, err := compactor.ChangeDelta(context.Background(), cfg, false); err != nil {
		t.Fatal(err)
	}
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	if !isHeld(done, "delta") {
		t.Fatalf("left: %+v", done.Holding)
	}
	store, err := cfg.Store()
	if err != nil {
		t.Fatal(err)
	}
	if err := delta.Drop(store); err != nil {
		t.Fatal(err)
	}
	if done := eraseNow(t, cfg, compactor.Erasure{}); !done.IsDone() {
		t.Errorf("left: %+v", done.Holding)
	}
	if found := secretsIn(t, durable.OS, root); len(found) > 0 {
		t.Errorf("found:\n%s", strings.Join(found, "\n"))
	}
}

// TestDeltaErasedAfterOff: an erasure turns to a table that was turned off after another one, which is clean of that only, and to one whose drop was
// killed.
func TestDeltaErasedAfterOff(t *testing.T) {
	root := withDelta(t, newDamagedRoot(t))
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", append(secretLines, firstLines...)...)
	foldNow(t, cfg)
	if done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"}); !done.IsDone() {
		t.Fatalf("left: %+v", done.Holding)
	}
	if _, err := compactor.ChangeDelta(context.Background(), cfg, false); err != nil {
		t.Fatal(err)
	}
	if done := eraseNow(t, cfg, compactor.Erasure{}); !done.IsDone() {
		t.Errorf("nothing new to erase: left %+v", done.Holding)
	}
	if done := eraseNow(t, cfg, compactor.Erasure{RunID: "a"}); !isHeld(done, "delta") {
		t.Errorf("left: %+v; want the table, which has the run", done.Holding)
	}
	log := filepath.Join(root.Delta(), "_delta_log")
	if err := os.Rename(log, filepath.Join(root.Delta(), "_dropped-0123456789abcdef")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root.Delta(), "*.parquet"))
	for _, name := range files {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		t.Fatal(err)
	}
	if done := eraseNow(t, cfg, compactor.Erasure{}); !isHeld(done, "delta") {
		t.Errorf("left: %+v; want what the drop has left: it has bounds", done.Holding)
	}
	store, err := cfg.Store()
	if err == nil {
		err = delta.Drop(store)
	}
	if err != nil {
		t.Fatal(err)
	}
	if done := eraseNow(t, cfg, compactor.Erasure{}); !done.IsDone() {
		t.Errorf("after compactd delta drop: left %+v", done.Holding)
	}
}

func isHeld(e compactor.Erased, path string) bool {
	for _, h := range e.Holding {
		if h.Path == path {
			return true
		}
	}
	return false
}

// TestDeltaErasedAnywhere stops an erasure before each change. The next one ends it.
func TestDeltaErasedAnywhere(t *testing.T) {
	t.Parallel()
	root := withDelta(t, newRoot(t))
	for range 2 {
		appendTo(t, root, "c", secretLines...)
		foldNow(t, compactor.Config{Root: root})
	}
	for k := 0; ; k++ {
		if k%(2*sparse) != 0 || testing.Short() && k%7 != 0 {
			continue
		}
		disk := durabletest.New()
		if err := disk.Load(string(root)); err != nil {
			t.Fatal(err)
		}
		fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
		_, err := compactor.Erase(context.Background(), compactor.Config{Root: root, FS: fault, Lock: yes{}}, compactor.Erasure{RunID: "person", Apply: true})
		if err == nil && fault.Calls() <= k {
			return
		}
		done := eraseNow(t, compactor.Config{Root: root, FS: disk, Lock: yes{}}, compactor.Erasure{RunID: "person"})
		if !done.IsDone() {
			t.Fatalf("stopped before change %d: left %+v", k, done.Holding)
		}
		if found := secretsIn(t, disk, root); len(found) > 0 {
			t.Fatalf("stopped before change %d:\n%s", k, strings.Join(found, "\n"))
		}
		deltaShows(t, disk, root, fmt.Sprintf("stopped before change %d", k))
	}
}

// TestDeltaSwept: links of generations that are gone go with the next fold.
func TestDeltaSwept(t *testing.T) {
	root := withDelta(t, newRoot(t))
	cfg := compactor.Config{Root: root, KeepAge: -1, KeepGenerations: 1}
	for n := range 8 {
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"r-%d","stage":"S"}`, n))
		foldNow(t, cfg)
	}
	names, err := filepath.Glob(filepath.Join(root.Delta(), "*.parquet"))
	if err != nil || len(names) != 2 {
		t.Errorf("two generations are kept, and the table has %v, %v", names, err)
	}
	deltaShows(t, durable.OS, root, "swept")
}

// TestDeltaLink: what a link in the place of the table leads to is not ours (P13).
func TestDeltaLink(t *testing.T) {
	root := newRoot(t)
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, root.Delta()); err != nil {
		t.Skip(err)
	}
	withDelta(t, root)
	var said notices
	cfg := compactor.Config{Root: root, Notify: said.add, KeepAge: -1}
	appendTo(t, root, "c", firstLines...)
	if report := foldNow(t, cfg); report.DeltaFailed == 0 || !strings.Contains(said.text(), "symbolic link") {
		t.Errorf("%+v, %s", report, said.text())
	}
	eraseNow(t, cfg, compactor.Erasure{RunID: "a"})
	store, err := cfg.Store()
	if err != nil {
		t.Fatal(err)
	}
	if err := delta.Drop(store); err == nil {
		t.Error("Drop went through the link")
	}
	if names, err := os.ReadDir(elsewhere); err != nil || len(names) > 0 {
		t.Errorf("written outside of the root: %v, %v", names, err)
	}
	if err := os.Remove(root.Delta()); err != nil {
		t.Fatal(err)
	}
	foldNow(t, cfg)
	deltaShows(t, durable.OS, root, "the link is gone")
}

// TestDeltaAhead: check and status tell of a table that is ahead of its root, and not where only their look at the root is old.
func TestDeltaAhead(t *testing.T) {
	root := withDelta(t, newRoot(t))
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", firstLines...)
	foldNow(t, cfg)
	old := newestOn(t, root)
	backup := cohort.Root(filepath.Join(t.TempDir(), "backup"))
	if err := os.CopyFS(string(backup), os.DirFS(string(root))); err != nil {
		t.Fatal(err)
	}
	appendTo(t, root, "c", secondLines...)
	foldNow(t, cfg)
	store, err := cfg.Store()
	if err != nil {
		t.Fatal(err)
	}
	if d, err := audit.ReadDelta(store, old); err != nil || d.Problem != "" || d.Behind != 0 {
		t.Errorf("after a fold: %+v, %v", d, err)
	}
	if err := errors.Join(os.RemoveAll(backup.Delta()), os.CopyFS(backup.Delta(), os.DirFS(root.Delta()))); err != nil {
		t.Fatal(err)
	}
	if found := damage(t, backup); !strings.Contains(found, delta.ErrAhead.Error()) {
		t.Errorf("check finds %q", found)
	}
	s, err := audit.ReadStatus(context.Background(), compactor.Config{Root: backup})
	if err != nil || len(s.Damaged) != 1 || !strings.Contains(s.Damaged[0].Reason, delta.ErrAhead.Error()) {
		t.Errorf("status: %+v, %v", s.Damaged, err)
	}
}

// TestDeltaOff: a root without the setting has no delta/, and one of somebody else is left alone.
func TestDeltaOff(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	if _, err := os.Stat(root.Delta()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a delta/: %v", err)
	}
	theirs := filepath.Join(root.Delta(), "notes.txt")
	if err := errors.Join(os.Mkdir(root.Delta(), 0o777), os.WriteFile(theirs, nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	eraseNow(t, compactor.Config{Root: root}, compactor.Erasure{RunID: "nobody"})
	store, err := compactor.Config{Root: root}.Store()
	if err != nil {
		t.Fatal(err)
	}
	if err := delta.Drop(store); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Error(err)
	}
	if _, err := journal.OpenRoot(root, journal.RootOptions{}); err != nil {
		t.Error(err)
	}
}
