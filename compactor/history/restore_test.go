package history

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
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
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/file"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// says is what a generation says under each key. 0 is the newest.
func says(t *testing.T, root cohort.Root, g cohort.Generation) map[cohort.Key]string {
	t.Helper()
	s, err := open(storeOf(t, root), g)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	all := rowsOf{}
	for h, err := range s.data.Index.Identities() {
		if err != nil {
			t.Fatal(err)
		}
		all.add(&row{seq: h.Seq, cohort: h.Cohort})
	}
	out := map[cohort.Key]string{}
	for w, err := range s.wholes(t.Context(), all) {
		if err != nil {
			t.Fatal(err)
		}
		var fields []string
		for name, v := range w.fields(s.store.Settings.Key) {
			fields = append(fields, fmt.Sprintf("%s=%s", name, v.JSON))
		}
		slices.Sort(fields)
		out[w.Key] = fmt.Sprintf("%v %x %s", w.Time, w.line.Sum(w.Identity), strings.Join(fields, " "))
	}
	return out
}

func restore(t *testing.T, root cohort.Root, g cohort.Generation, o RestoreOptions) Restored {
	t.Helper()
	r, err := Restore(t.Context(), compactor.Config{Root: root}, g, o)
	if err != nil || r.Damage {
		t.Fatalf("Restore %d = %+v, %v", g, r, err)
	}
	return r
}

// isAs fails unless the newest generation says what an earlier one says, and a second Restore finds nothing to do.
func isAs(t *testing.T, root cohort.Root, g cohort.Generation, want map[cohort.Key]string) {
	t.Helper()
	if diff := cmp.Diff(want, says(t, root, 0)); diff != "" {
		t.Fatalf("after the restore of %d (-want +got):\n%s", g, diff)
	}
	if again := restore(t, root, g, RestoreOptions{Apply: true}); again.Written+again.Withdrawn+again.Later != 0 || again.Left != int64(len(want)) {
		t.Errorf("a second Restore of %d = %+v, want nothing to do", g, again)
	}
}

// TestRestoreAny brings random roots back to each of their generations in turn: forwards, backwards, in one part and in many, with one file of
// snapshots and with one for each cohort.
func TestRestoreAny(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	rnd := rand.New(rand.NewPCG(s, 2))
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	for _, form := range []cohort.SnapshotsForm{"", cohort.PerCohort} {
		root, now, all := newRoot(t, cohort.Settings{Snapshots: form}), model{}, map[cohort.Generation]map[cohort.Key]string{}
		for range 5 {
			now.step(t, rnd, root)
			g := fold(t, root)
			all[g] = says(t, root, g)
		}
		for range rounds {
			g := cohort.Generation(1 + rnd.IntN(5))
			o := RestoreOptions{Limit: rnd.IntN(5), most: rnd.IntN(2) * 7}
			plan := restore(t, root, g, o)
			o.Apply = true
			done := restore(t, root, g, o)
			if plan.Written != done.Written || plan.Withdrawn != done.Withdrawn || plan.Left != done.Left || done.Later != 0 || done.Unmade != 0 {
				t.Errorf("planned %+v, done %+v", plan, done)
			}
			isAs(t, root, g, all[g])
		}
	}
}

// prepared is a root with two generations, and what the first of them says: rows that change, go and stay, with and without
// snapshots and times.
func prepared(t *testing.T) (root cohort.Root, want map[cohort.Key]string) {
	t.Helper()
	root = newRoot(t, cohort.Settings{})
	appendTo(t, root, "a", `{"run_id":"stays","stage":"S","v":1}`, `{"run_id":"changes","stage":"S","v":1.50,"snapshot":{"w":1.50}}`)
	appendTo(t, root, "b", `{"run_id":"moves","phase":"S","timestamp":"2026-01-01T00:00:00Z","v":1,"l":[1]}`)
	w, err := journal.Create(root, "b", journal.Options{Now: func() time.Time { return time.Time{} }})
	if err != nil {
		t.Fatal(err)
	}
	timeless, err := cohort.ParseRecord([]byte(`{"run_id":"timeless","stage":"S","v":1}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Append([]cohort.Record{timeless}), w.Close()); err != nil {
		t.Fatal(err)
	}
	want = says(t, root, fold(t, root))
	appendTo(t, root, "a", `{"run_id":"changes","stage":"S","v":2,"snapshot":{"w":1.50}}`, `{"run_id":"moves","stage":"S","v":"text"}`, `{"run_id":"new","stage":"S"}`)
	appendTo(t, root, "b", `{"run_id":"timeless","stage":"S","v":2}`)
	fold(t, root)
	return root, want
}

// TestRestore shows one restore: what it plans, and what it did.
func TestRestore(t *testing.T) {
	root, want := prepared(t)
	before := contents(t, string(root))
	plan := restore(t, root, 1, RestoreOptions{Limit: 9})
	if diff := cmp.Diff(before, contents(t, string(root))); diff != "" {
		t.Errorf("a plan changed the root:\n%s", diff)
	}
	var rows []string
	for _, r := range plan.Rows {
		rows = append(rows, r.Change+" "+string(r.Key)+" "+string(r.Cohort))
	}
	if diff := cmp.Diff([]string{"gone new:S a", "changed changes:S a", "changed moves:S b", "changed timeless:S b"}, rows); diff != "" {
		t.Errorf("planned rows (-want +got):\n%s", diff)
	}
	done := restore(t, root, 1, RestoreOptions{Apply: true})
	if done.Written != 3 || done.Withdrawn != 1 || done.Left != 1 || done.LeftOut != 4 {
		t.Errorf("Restore = %+v", done)
	}
	isAs(t, root, 1, want)
	appendTo(t, root, "a", `{"run_id":"new","stage":"S","v":3}`)
	fold(t, root)
	if got := says(t, root, 0); len(got) != 5 {
		t.Errorf("a later append is not there: %v", got)
	}
}

// TestRestoreUnfolded has records that no fold has read. They are folded first, and are no more there afterwards.
func TestRestoreUnfolded(t *testing.T) {
	root, want := prepared(t)
	appendTo(t, root, "c", `{"run_id":"stays","stage":"S","v":7}`, `{"run_id":"newer","stage":"S"}`)
	if done := restore(t, root, 1, RestoreOptions{Apply: true}); done.Written != 4 || done.Withdrawn != 2 {
		t.Errorf("Restore = %+v", done)
	}
	isAs(t, root, 1, want)
}

// TestRestoreStoppedAnywhere ends a restore before each append and each change of the disk that its folds make. A second one ends where an undisturbed
// one does.
func TestRestoreStoppedAnywhere(t *testing.T) {
	step := 2 // each run takes other places
	if testing.Short() {
		step = 9
	}
	for k := rand.IntN(step); ; k += step {
		root, want := prepared(t)
		n, stopped := 0, false
		next := func() error {
			if n++; n > k {
				stopped = true
				return durabletest.ErrStopped
			}
			return nil
		}
		var mu sync.Mutex // index and snapshots are written side by side
		fsys := &durabletest.Fault{FS: durable.OS, Hook: func(int, string, string) error {
			mu.Lock()
			defer mu.Unlock()
			return next()
		}}
		o := RestoreOptions{Apply: true, before: func([]cohort.Record) error { return next() }}
		_, err := Restore(t.Context(), compactor.Config{Root: root, FS: fsys, Lock: free{}, KeepGenerations: 1, KeepAge: -1}, 1, o)
		if !stopped {
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("figure: a restore was stopped before its %d appends and changes", k)
			return
		}
		if done := restore(t, root, 1, RestoreOptions{Apply: true}); done.Later != 0 {
			t.Errorf("stopped before change %d: %+v", k, done)
		}
		isAs(t, root, 1, want)
	}
}

// free is a Locker that always says yes.
type free struct{}

func (free) Lock(context.Context) (lock.Held, error) { return lock.Without{}, nil }

// TestRestoreTwice runs a second restore within the first, before each of its appends, and two side by side.
func TestRestoreTwice(t *testing.T) {
	for k := range 3 {
		root, want := prepared(t)
		n := 0
		restore(t, root, 1, RestoreOptions{Apply: true, before: func([]cohort.Record) error {
			if n++; n == k+1 {
				restore(t, root, 1, RestoreOptions{Apply: true})
			}
			return nil
		}})
		if n <= k {
			t.Errorf("a restore makes %d appends, want at least %d", n, k+1)
		}
		isAs(t, root, 1, want)
	}
	root, want := prepared(t)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if _, err := Restore(context.Background(), compactor.Config{Root: root, Lock: free{}, KeepGenerations: keep}, 1, RestoreOptions{Apply: true}); err != nil {
				t.Errorf("side by side: %v", err)
			}
		})
	}
	all.Wait()
	isAs(t, root, 1, want)
}

// TestRestoreLater has others who write while a restore appends. What they wrote last stands, and is counted.
func TestRestoreLater(t *testing.T) {
	root, want := prepared(t)
	n := 0
	done := restore(t, root, 1, RestoreOptions{Apply: true, before: func([]cohort.Record) error {
		switch n++; n {
		case 1:
			appendTo(t, root, "a", `{"run_id":"moves","stage":"S","v":8}`)
		case 2: // those of cohort a were appended, and "moves" not yet
			appendTo(t, root, "a", `{"run_id":"changes","stage":"S","v":9}`, `{"run_id":"latest","stage":"S"}`)
		}
		return nil
	}})
	if done.Later != 2 || done.GaveWay != 2 {
		t.Errorf("Restore = %+v, want two rows that came later, and two records that gave way", done)
	}
	got := says(t, root, 0)
	if !strings.Contains(got["changes:S"], "v=9") || got["latest:S"] == "" {
		t.Errorf("rows: %v", got)
	}
	if done := restore(t, root, 1, RestoreOptions{Apply: true}); done.Written != 1 || done.Withdrawn != 1 {
		t.Errorf("the next Restore = %+v", done)
	}
	isAs(t, root, 1, want)
}

// TestRestoreStays puts back a stream that was folded and removed before, with the writes that the restore took back, and repairs a
// root whose newest generation is damaged. Neither undoes the restore.
func TestRestoreStays(t *testing.T) {
	root := newDamagedRoot(t, cohort.Settings{})
	appendTo(t, root, "a", `{"run_id":"r","stage":"S","v":1}`)
	want := says(t, root, fold(t, root))
	appendTo(t, root, "a", `{"run_id":"r","stage":"S","v":2}`, `{"run_id":"new","stage":"S","v":2}`)
	saved := filepath.Join(t.TempDir(), "saved")
	if err := os.CopyFS(saved, os.DirFS(root.Cohort("a"))); err != nil {
		t.Fatal(err)
	}
	fold(t, root)
	restore(t, root, 1, RestoreOptions{Apply: true})
	for range 3 { // until the streams are gone, and those that only later folds know
		appendTo(t, root, "a", `{"run_id":"r","stage":"T"}`)
		fold(t, root)
	}
	entries, err := os.ReadDir(saved)
	if err != nil || len(entries) == 0 {
		t.Fatalf("no stream was saved: %v", err)
	}
	for _, e := range entries {
		if err := os.CopyFS(filepath.Join(root.Cohort("a"), e.Name()), os.DirFS(filepath.Join(saved, e.Name()))); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	fold(t, root)
	got := says(t, root, 0)
	delete(got, "r:T")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("after a stream came back (-want +got):\n%s", diff)
	}

	root, want = prepared(t)
	restore(t, root, 1, RestoreOptions{Apply: true})
	m, err := storeOf(t, root).Newest()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{root.Data(m.Index.Name), root.Index()} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := audit.Repair(t.Context(), compactor.Config{Root: root, KeepGenerations: keep}, audit.RepairOptions{Apply: true}); err != nil {
		t.Fatalf("Repair = %+v, %v", r, err)
	}
	fold(t, root)
	if diff := cmp.Diff(want, says(t, root, 0)); diff != "" {
		t.Fatalf("after a repair (-want +got):\n%s", diff)
	}
}

// TestRestoreSettings drops and declares columns between a generation and its restore. The rows come back, and the settings stay.
func TestRestoreSettings(t *testing.T) {
	root := newRoot(t, cohort.Settings{})
	appendTo(t, root, "a", `{"run_id":"r","stage":"S","n":1,"metrics":{"auc":0.710},"gone":"x","snapshot":{}}`)
	want := says(t, root, fold(t, root))
	appendTo(t, root, "a", `{"run_id":"r","stage":"S","n":2}`)
	fold(t, root)
	for _, change := range []compactor.ColumnChange{
		{Drop: []string{"gone"}}, {Declare: []index.Column{{Name: "n", Kind: index.String}}},
	} {
		if _, err := compactor.ChangeColumns(t.Context(), compactor.Config{Root: root, KeepGenerations: keep}, change); err != nil {
			t.Fatal(err)
		}
	}
	restore(t, root, 1, RestoreOptions{Apply: true})
	isAs(t, root, 1, want)
	m, err := storeOf(t, root).Newest()
	if err != nil || !m.Columns.Is("n") {
		t.Errorf("the columns of generation %d are %+v, %v", m.Generation, m.Columns, err)
	}
}

// TestRestoreProtected has a run that came later and is protected. It stays, and no withdrawal is written for it.
func TestRestoreProtected(t *testing.T) {
	root, want := prepared(t)
	protect, err := cohort.NewAction(cohort.Protect, cohort.Aim{RunID: "new"}, "")
	if err != nil {
		t.Fatal(err)
	}
	w, err := journal.Create(root, "a", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Append([]cohort.Record{protect}), w.Close()); err != nil {
		t.Fatal(err)
	}
	if done := restore(t, root, 1, RestoreOptions{Apply: true}); done.Withdrawn != 0 || done.Protected != 1 || done.Later != 0 {
		t.Errorf("Restore = %+v", done)
	}
	got := says(t, root, 0)
	if got["new:S"] == "" {
		t.Error("a protected run is gone")
	}
	delete(got, "new:S")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if done := restore(t, root, 1, RestoreOptions{Apply: true}); done.Written+done.Withdrawn != 0 || done.Protected != 1 {
		t.Errorf("a second Restore = %+v", done)
	}
}

// TestWithdrawnIsGone tells of rows that are gone which of them are withdrawn; a restore brings them back.
func TestWithdrawnIsGone(t *testing.T) {
	root, _ := prepared(t)
	restore(t, root, 1, RestoreOptions{Apply: true})
	d, err := Compare(t.Context(), storeOf(t, root), 2, 0, DiffOptions{Limit: 5})
	if err != nil || len(d.Rows) == 0 || d.Rows[0].Change != Gone || !d.Rows[0].Withdrawn {
		t.Errorf("Compare = %+v, %v", d, err)
	}
	want := says(t, root, 2)
	restore(t, root, 2, RestoreOptions{Apply: true})
	isAs(t, root, 2, want)
}

// TestRestoreOld restores roots of earlier versions to each generation that they have, with rows that nobody knows the time of.
func TestRestoreOld(t *testing.T) {
	for _, name := range []string{"v1", "v1-cohorts", "v2"} {
		t.Run(name, func(t *testing.T) {
			root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
			if err := os.CopyFS(string(root), os.DirFS(filepath.Join("..", "testdata", "formats", name, "root"))); err != nil {
				t.Fatal(err)
			}
			var changed []string
			for h := range says(t, root, 0) {
				runID, stage, _ := strings.Cut(string(h), ":")
				changed = append(changed, fmt.Sprintf(`{"run_id":%q,"stage":%q,"timestamp":"2026-01-01T00:00:00Z","now":"text"}`, runID, stage))
			}
			appendTo(t, root, "now", changed...)
			last := fold(t, root)
			for c, err := range storeOf(t, root).History() {
				if err != nil {
					t.Fatal(err)
				}
				if c.Generation >= last || c.Void {
					continue
				}
				want := says(t, root, c.Generation)
				restore(t, root, c.Generation, RestoreOptions{Apply: true})
				isAs(t, root, c.Generation, want)
			}
			if text := says(t, root, 0)["x:S"]; text != "" && !strings.HasPrefix(text, "0001-01-01") {
				t.Errorf("an imported row without a time is %s", text)
			}
		})
	}
}

// TestRestoreWhere restores some keys.
func TestRestoreWhere(t *testing.T) {
	root, want := prepared(t)
	now := says(t, root, 0)
	e, err := query.Parse("run_id = 'new' or v = 'text'") // as they are now
	if err != nil {
		t.Fatal(err)
	}
	some := func(ctx context.Context, files ...*index.File) iter.Seq2[index.Identity, error] {
		return query.Select(ctx, e, files...)
	}
	if done := restore(t, root, 1, RestoreOptions{Apply: true, Where: some}); done.Written != 1 || done.Withdrawn != 1 || done.Later != 0 {
		t.Errorf("Restore = %+v", done)
	}
	mixed := maps.Clone(now)
	mixed["moves:S"] = want["moves:S"]
	delete(mixed, "new:S")
	if diff := cmp.Diff(mixed, says(t, root, 0)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestRestoreRefused shows what keeps a restore from its work: then nothing is appended.
func TestRestoreRefused(t *testing.T) {
	root, _ := prepared(t)
	held, err := (file.Lock{Path: root.CompactLock(), Perm: 0o666}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if r, err := Restore(t.Context(), compactor.Config{Root: root}, 1, RestoreOptions{Apply: true}); !errors.As(err, &busy) || busy.Done || !errors.Is(err, compactor.ErrLocked) {
		t.Errorf("Restore while another compactor is at work = %+v, %v", r, err)
	}
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	if r, err := Restore(t.Context(), compactor.Config{Root: root}, 7, RestoreOptions{Apply: true}); !errors.As(err, new(*generation.NotKeptError)) {
		t.Errorf("Restore of a generation that is not there = %+v, %v", r, err)
	}

	root = newDamagedRoot(t, cohort.Settings{})
	for i := range 2 {
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"r","stage":"S","v":%d}`, i))
		fold(t, root)
	}
	m, err := storeOf(t, root).Read(1)
	if err != nil {
		t.Fatal(err)
	}
	name := root.Data(m.Snapshots[0].Name)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(data), `"v":0`, `"v":8`, 1)), 0o666); err != nil {
		t.Fatal(err)
	}
	if r, err := Restore(t.Context(), compactor.Config{Root: root}, 1, RestoreOptions{Apply: true}); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("Restore of a damaged generation = %+v, %v", r, err)
	}
	for k, text := range says(t, root, 0) {
		if !strings.Contains(text, "v=1") {
			t.Errorf("%s: %s", k, text)
		}
	}
}

// contents is every file below a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var data []byte
			data, err = os.ReadFile(path)
			out[path] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
