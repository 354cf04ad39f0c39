package outside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/file"
	"github.com/runfold/runfold/journal"
)

// newRoot makes a root that lasts as long as the test.
func newRoot(t *testing.T) journal.Root {
	t.Helper()
	root, created, err := journal.InitRoot(cohort.Root(filepath.Join(t.TempDir(), "runs")), cohort.Settings{}, journal.RootOptions{})
	if err != nil || !created {
		t.Fatalf("InitRoot = created %t, %v", created, err)
	}
	return root
}

// record is that of run n, with a metric.
func record(t testing.TB, n int, auc float64) cohort.Record {
	t.Helper()
	r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%02d","stage":"TRAINING","metrics":{"auc":%v}}`, n, auc), 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// appendRuns appends the records of some runs, each from a goroutine of its own, with one Writer.
func appendRuns(t *testing.T, root journal.Root, auc float64, runs ...int) {
	t.Helper()
	w, err := root.Create("churn_eu", journal.Options{Program: "outside"})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, n := range runs {
		r := record(t, n, auc)
		all.Go(func() {
			if err := w.Append([]cohort.Record{r}); err != nil {
				t.Errorf("Append of run %d: %v", n, err)
			}
		})
	}
	all.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func fold(t *testing.T, root journal.Root) compactor.Report {
	t.Helper()
	report, err := compactor.Fold(context.Background(), compactor.Config{Root: root.Dir, RootID: root.Settings.RootID})
	if err != nil || !report.Clean() {
		t.Fatalf("Fold = %+v, %v", report, err)
	}
	return report
}

func upTo(n int) []int {
	runs := make([]int, n)
	for i := range runs {
		runs[i] = i
	}
	return runs
}

// TestAppendFoldList appends from 50 goroutines, folds, and lists the runs together with what no fold has read yet.
func TestAppendFoldList(t *testing.T) {
	root := newRoot(t)
	appendRuns(t, root, 0.5, upTo(50)...)
	if r := fold(t, root); r.Records != 50 || r.Added != 50 || r.Generation != 1 {
		t.Errorf("Fold = %+v, want 50 records in generation 1", r)
	}
	appendRuns(t, root, 0.75, 7, 50) // one run again, and a new one

	cfg := compactor.Config{Root: root.Dir}
	list := func(unfolded bool) (folded, fresh []string) {
		for run, err := range compactor.Runs(context.Background(), cfg, unfolded) {
			if err != nil {
				t.Fatal(err)
			}
			if run.Record == nil {
				folded = append(folded, run.RunID)
			} else {
				fresh = append(fresh, run.RunID+" "+string(run.Record))
			}
		}
		slices.Sort(fresh)
		return folded, fresh
	}
	if folded, fresh := list(false); len(folded) != 50 || fresh != nil {
		t.Errorf("Runs = %d folded, %q", len(folded), fresh)
	}
	folded, fresh := list(true)
	want := []string{
		`r-07 {"run_id":"r-07","stage":"TRAINING","metrics":{"auc":0.75}}`,
		`r-50 {"run_id":"r-50","stage":"TRAINING","metrics":{"auc":0.75}}`,
	}
	if len(folded) != 49 || slices.Contains(folded, "r-07") || !slices.Equal(fresh, want) {
		t.Errorf("Runs with unfolded = %d folded, %q, want 49 and %q", len(folded), fresh, want)
	}

	if r := fold(t, root); r.Added != 1 || r.Replaced != 1 {
		t.Errorf("second Fold = %+v", r)
	}
	last, _ := list(false)
	q := compactor.Query{Cohort: "churn_eu", RunID: last[50], Stage: "TRAINING"}
	if run, ok, err := compactor.Previous(context.Background(), cfg, q); !ok || err != nil || run.RunID != last[49] {
		t.Errorf("Previous of %s = %v, %t, %v, want %s", last[50], run, ok, err, last[49])
	}
}

// TestStreams lists streams, reads one, goes on where it ended, and reads a copy of it that lies elsewhere.
func TestStreams(t *testing.T) {
	root := newRoot(t)
	w, err := root.Create("churn_eu", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	add := func(n int) {
		t.Helper()
		if err := w.Append([]cohort.Record{record(t, n, 0.5)}); err != nil {
			t.Fatal(err)
		}
	}
	add(1)
	add(2)
	places, unknown, err := root.Streams()
	if err != nil || len(unknown) > 0 || len(places) != 1 {
		t.Fatalf("Streams = %v, %v, %v, want one", places, unknown, err)
	}
	read := func(from journal.Position) (runs []string, to journal.Position) {
		t.Helper()
		r, err := root.Open(places[0], from)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		r.ReuseMemory()
		for {
			rec, err := r.Next()
			if errors.Is(err, io.EOF) {
				return runs, r.Position()
			}
			if err != nil {
				t.Fatal(err)
			}
			runs = append(runs, rec.RunID)
		}
	}
	runs, end := read(journal.Position{})
	if !slices.Equal(runs, []string{"r-01", "r-02"}) || end.Sealed {
		t.Errorf("read %q up to %+v", runs, end)
	}
	add(3)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if runs, end = read(end); !slices.Equal(runs, []string{"r-03"}) || !end.Sealed {
		t.Errorf("read on: %q up to %+v, want r-03 and the seal", runs, end)
	}

	data, err := os.ReadFile(cohort.SegmentIn(places[0].Dir))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(elsewhere, data, 0o644); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for e, err := range journal.Entries(elsewhere, places[0].Stream) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, e.Kind)
	}
	if want := []string{"header", "record", "record", "record", "seal"}; !slices.Equal(kinds, want) {
		t.Errorf("Entries of a copy = %q, want %q", kinds, want)
	}
}

// TestGenerations opens generations, and reads rows and snapshots.
func TestGenerations(t *testing.T) {
	root := newRoot(t)
	store, err := generation.Open(root.Dir, journal.RootOptions{ID: root.Settings.RootID})
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Newest()
	if err != nil || m.Generation != 0 {
		t.Fatalf("Newest before the first fold = %d, %v", m.Generation, err)
	}
	if data, err := store.Data(m); err != nil || data.Index != nil {
		t.Fatalf("Data before the first fold = %v, %v", data, err)
	}
	for n := range 3 {
		appendRuns(t, root, 0.5, n)
		fold(t, root)
	}
	gens, err := store.List()
	if err != nil || !slices.Equal(gens, []cohort.Generation{1, 2, 3}) {
		t.Errorf("List = %v, %v", gens, err)
	}
	for _, g := range gens {
		if m, err = store.Read(g); err != nil {
			t.Fatal(err)
		}
		data, err := store.Data(m)
		if err != nil {
			t.Fatal(err)
		}
		defer data.Close()
		if n := data.Index.NumRows(); n != int64(g) || m.Index.Rows != n {
			t.Errorf("generation %d has %d rows", g, n)
		}
	}
	data, err := store.Data(m)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	rows, ids := 0, 0
	for row, err := range data.Index.Rows() {
		if err != nil || !strings.Contains(string(row), `"metrics.auc":0.5`) {
			t.Errorf("row %s, %v", row, err)
		}
		rows++
	}
	for id, err := range data.Index.Identities() {
		if err != nil || id.Cohort != "churn_eu" || id.Seq != cohort.Seq(ids+1) {
			t.Errorf("identity %+v, %v", id, err)
		}
		ids++
	}
	if rows != 3 || ids != 3 || len(data.Index.Schema()) != 1 || data.Index.Schema()[0].Name != "metrics.auc" {
		t.Errorf("%d rows, %d identities, schema %v", rows, ids, data.Index.Schema())
	}
	snapshots := 0
	for _, file := range m.Snapshots {
		r, err := data.Snapshots(file)
		if err != nil {
			t.Fatal(err)
		}
		for s, err := range index.Snapshots(r) {
			if err != nil || s.Seq == 0 || s.Key == "" {
				t.Errorf("snapshot %+v, %v", s, err)
			}
			snapshots++
		}
		if err := errors.Join(r.Close(), store.CheckFile(file.DataFile)); err != nil {
			t.Error(err)
		}
	}
	if shown, err := store.IsPublished(m); !shown || err != nil || snapshots != 3 {
		t.Errorf("IsPublished = %t, %v; %d snapshots", shown, err, snapshots)
	}
}

// TestAudit checks, dumps and looks at a root, and finds what was damaged in it.
func TestAudit(t *testing.T) {
	root := newRoot(t)
	appendRuns(t, root, 0.5, 1, 2)
	fold(t, root)
	appendRuns(t, root, 0.5, 3)
	ctx, cfg := context.Background(), compactor.Config{Root: root.Dir}
	if done, err := audit.Check(ctx, cfg, func(p audit.Problem) { t.Error(p) }); err != nil || done.Rows != 2 || done.Unfolded != 1 {
		t.Errorf("Check = %+v, %v", done, err)
	}
	if s, err := audit.ReadStatus(ctx, cfg); err != nil || s.RootID != root.Settings.RootID || s.Rows != 2 || s.Cohorts[0].UnfoldedRecords != 1 {
		t.Errorf("ReadStatus = %+v, %v", s, err)
	}
	for _, path := range []string{root.Dir.Index(), root.Dir.Snapshots(), root.Dir.Settings(), root.Dir.Manifest(1)} {
		var out bytes.Buffer
		if err := audit.Dump(path, &out); err != nil || out.Len() == 0 {
			t.Errorf("Dump(%s) = %d bytes, %v", path, out.Len(), err)
		}
	}
	if r, err := audit.Repair(ctx, cfg, audit.RepairOptions{}); err != nil || !r.Whole() || !r.Lossless() {
		t.Errorf("Repair = %+v, %v, want nothing to do", r, err)
	}

	store, err := generation.Open(root.Dir, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	damage(t, root.Dir.Data(m.Index.Name), 100)
	if err := store.CheckFile(m.Index); !generation.IsDamage(err) {
		t.Errorf("CheckFile of a damaged file = %v", err)
	}
	found := 0
	if done, err := audit.Check(ctx, cfg, func(audit.Problem) { found++ }); err != nil || done.Problems == 0 || found == 0 {
		t.Errorf("Check of a damaged file = %+v, %v", done, err)
	}
	if _, err := compactor.Fold(ctx, cfg); !generation.IsDamage(err) {
		t.Errorf("Fold of a damaged index = %v", err)
	}
	if r, err := audit.Repair(ctx, cfg, audit.RepairOptions{Apply: true}); err != nil || !r.Applied || !r.Lossless() {
		t.Errorf("Repair = %+v, %v", r, err)
	}
}

// damage flips a bit of a file, which may be read-only.
func damage(t *testing.T, path string, at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		data[at] ^= 1
		err = errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, data, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestImport takes in a snapshots file, and asks it for the run before one.
func TestImport(t *testing.T) {
	root := newRoot(t)
	const old = `{"a:TRAINING": {"snapshot_seq": 4, "n": 1}, "b:TRAINING": {"snapshot_seq": 9, "n": 2}}`
	var told []string
	cfg := compactor.Config{Root: root.Dir, Notify: func(n compactor.Notice) { told = append(told, fmt.Sprintf("%T", n)) }}
	report, err := intake.Import(context.Background(), cfg, intake.Source{Snapshots: []intake.SnapshotsFile{{Data: strings.NewReader(old)}}, Cohort: "churn_eu"})
	if err != nil || report.Taken != 2 || !slices.Contains(told, "generation.Published") {
		t.Errorf("Import = %+v, %v, told %q", report, err, told)
	}
	q := compactor.Query{Cohort: "churn_eu", RunID: "b", Stage: "TRAINING"}
	run, ok, err := intake.PreviousInFile(strings.NewReader(old), q, nil)
	if !ok || err != nil || run.RunID != "a" || run.Seq != 4 {
		t.Errorf("PreviousInFile = %v, %t, %v", run, ok, err)
	}
	if run, ok, err = compactor.Previous(context.Background(), cfg, q); !ok || err != nil || run.RunID != "a" || run.Seq != 4 {
		t.Errorf("Previous = %v, %t, %v", run, ok, err)
	}
	r := record(t, 1, 0.5)
	r.Cohort = "churn_eu"
	if done, err := compactor.Import(context.Background(), cfg, []compactor.Imported{{Record: r, Seq: 20}}, false); err != nil || done.Taken != 1 {
		t.Errorf("compactor.Import = %+v, %v", done, err)
	}
}

// busy is a Locker of a program's own: somebody else always has the lock.
type busy struct{}

func (busy) Lock(context.Context) (lock.Held, error) { return nil, compactor.ErrLocked }

// TestLocks meets a lock that another one holds: a lock file, and a Locker of the program.
func TestLocks(t *testing.T) {
	root := newRoot(t)
	held, err := file.Lock{Path: root.Dir.CompactLock()}.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root.Dir}); !errors.Is(err, compactor.ErrLocked) {
		t.Errorf("Fold while another holds the lock = %v", err)
	}
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root.Dir, Lock: busy{}}); !errors.Is(err, compactor.ErrLocked) {
		t.Errorf("Fold with a Locker that is busy = %v", err)
	}
	fold(t, root)
}

// everything is each way into a root.
func everything(dir cohort.Root, id string) map[string]error {
	ctx, cfg := context.Background(), compactor.Config{Root: dir, RootID: id}
	out := map[string]error{}
	_, out["journal.OpenRoot"] = journal.OpenRoot(dir, journal.RootOptions{ID: id})
	_, out["journal.Create"] = journal.Create(dir, "c", journal.Options{RootID: id})
	_, out["compactor.Fold"] = compactor.Fold(ctx, cfg)
	for _, err := range compactor.Runs(ctx, cfg, true) {
		out["compactor.Runs"] = err
	}
	_, out["compactor.Look"] = compactor.Look(ctx, cfg, true)
	_, out["compactor.LookAt"] = compactor.LookAt(cfg, 1)
	_, _, out["compactor.Previous"] = compactor.Previous(ctx, cfg, compactor.Query{})
	_, out["generation.Open"] = generation.Open(dir, journal.RootOptions{ID: id})
	_, out["audit.Check"] = audit.Check(ctx, cfg, func(audit.Problem) {})
	_, out["audit.ReadStatus"] = audit.ReadStatus(ctx, cfg)
	_, out["audit.Repair"] = audit.Repair(ctx, cfg, audit.RepairOptions{})
	_, out["intake.Import"] = intake.Import(ctx, cfg, intake.Source{Snapshots: []intake.SnapshotsFile{{Data: strings.NewReader("{}")}}})
	return out
}

// TestNoRoot comes to places where no root is, or not the right one: each way in says so, and makes nothing.
func TestNoRoot(t *testing.T) {
	typo := cohort.Root(filepath.Join(t.TempDir(), "typo"))
	for name, err := range everything(typo, "") {
		var none *journal.NoRootError
		if !errors.Is(err, journal.ErrNoRoot) || !errors.As(err, &none) || !none.Vacant || none.Root != typo {
			t.Errorf("%s of a mistyped path = %v", name, err)
		}
	}
	if _, err := os.Stat(string(typo)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mistyped path is there: %v", err)
	}
	for name, err := range everything(newRoot(t).Dir, newRoot(t).Settings.RootID) {
		if !errors.Is(err, journal.ErrOtherRoot) {
			t.Errorf("%s of another root = %v", name, err)
		}
	}
	newer := newRoot(t).Dir
	if err := os.WriteFile(newer.Settings(), []byte(`{"version":99}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, err := range everything(newer, "") {
		if !errors.Is(err, cohort.ErrNewer) || errors.Is(err, journal.ErrNoRoot) {
			t.Errorf("%s of a root of a later version = %v", name, err)
		}
	}
}

// TestRefused appends what is not valid: nothing of it is written, and the Writer goes on.
func TestRefused(t *testing.T) {
	root := newRoot(t)
	for _, bad := range []cohort.ID{"", "../x", "a/b", ".hidden"} {
		if _, err := root.Create(bad, journal.Options{}); err == nil {
			t.Errorf("Create of cohort %q = nil", bad)
		}
	}
	for _, bad := range []string{"", "[]", `{"run_id":5,"stage":"S"}`, `{"run_id":"r"}`, `{"stage":"S"}`, `{"run_id":"r","stage":"a:b"}`} {
		r, err := cohort.ParseRecord([]byte(bad), 0)
		if err == nil {
			err = r.Validate()
		}
		if err == nil {
			t.Errorf("%s is a record", bad)
		}
	}
	w, err := root.Create("churn_eu", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	byHand := cohort.Record{RunID: "r", Stage: "S"}
	var refused *journal.RecordError
	if err := w.Append([]cohort.Record{record(t, 1, 0.5), byHand}); !errors.As(err, &refused) || refused.Index != 1 {
		t.Errorf("Append of a record that was put together by hand = %v, want a *RecordError of record 1", err)
	}
	if err := w.Append([]cohort.Record{record(t, 2, 0.5)}); err != nil {
		t.Errorf("Append after that = %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Append([]cohort.Record{record(t, 3, 0.5)}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Append after Close = %v", err)
	}
	if r := fold(t, root); r.Records != 1 {
		t.Errorf("%d records are folded, want 1", r.Records)
	}
}

// TestDamagedStream reads a stream with a flipped bit: its place is told, and what stands after it is read.
func TestDamagedStream(t *testing.T) {
	root := newRoot(t)
	w, err := root.Create("churn_eu", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	recs := []cohort.Record{record(t, 1, 0.5), record(t, 2, 0.5)}
	if err := errors.Join(w.Append(recs), w.Close()); err != nil {
		t.Fatal(err)
	}
	p := root.InCohort(journal.Stream{Cohort: recs[0].Cohort, ID: recs[0].Stream})
	var first journal.Entry
	for e, err := range journal.Entries(cohort.SegmentIn(p.Dir), p.Stream) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "record" {
			first = e
			break
		}
	}
	damage(t, cohort.SegmentIn(p.Dir), int(first.Offset+first.Size-2))
	r, err := root.Open(p, journal.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var place *journal.CorruptError
	if _, err := r.Next(); !errors.As(err, &place) || place.Offset != first.Offset || place.Length != first.Size || !generation.IsDamage(err) {
		t.Errorf("Next = %v, want a *CorruptError at %d", err, first.Offset)
	}
	if rec, err := r.Next(); err != nil || rec.RunID != "r-02" {
		t.Errorf("Next after the damage = %s, %v", rec.RunID, err)
	}
}

// TestSchedule folds until its context ends.
func TestSchedule(t *testing.T) {
	root := newRoot(t)
	appendRuns(t, root, 0.5, 1)
	s, err := compactor.ParseSchedule("@every 1h")
	if err != nil {
		t.Fatal(err)
	}
	if from := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC); !s.Next(from).Equal(from.Add(time.Hour)) {
		t.Errorf("Next = %v", s.Next(from))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	folds := 0
	s.Run(ctx, func(ctx context.Context) error {
		defer cancel()
		folds++
		_, err := compactor.Fold(ctx, compactor.Config{Root: root.Dir})
		return err
	}, func(err error) { t.Error(err) }, nil)
	if folds != 1 {
		t.Errorf("%d folds, want 1", folds)
	}
	if _, err := compactor.ParseSchedule("* * * *"); err == nil {
		t.Error("ParseSchedule of four fields = nil")
	}
}
