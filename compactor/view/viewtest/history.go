package viewtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/history"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/internal/jsonscan"
)

// event changes a root. The next sync must go that way, and write and remove so many rows; -1 for any number.
type event struct {
	name             string
	do               func(r root)
	how              view.How
	written, removed int64
}

// act takes the rows of runs out, or brings them back.
func act(a cohort.Action, runs ...string) func(root) {
	return func(r root) {
		all, err := compactor.Standings(context.Background(), r.config(), compactor.AllRows, compactor.AllRows)
		if err != nil {
			r.Fatal(err)
		}
		all = slices.DeleteFunc(all, func(s compactor.Standing) bool { return !slices.Contains(runs, s.RunID) })
		if did, err := compactor.ActAndFold(context.Background(), r.config(), a, "why", all); err != nil || did.Done != len(runs) {
			r.Fatalf("%v %v: %+v, %v", a, runs, did, err)
		}
	}
}

func columns(c compactor.ColumnChange) func(root) {
	return func(r root) {
		if _, err := compactor.ChangeColumns(context.Background(), r.config(), c); err != nil {
			r.Fatal(err)
		}
	}
}

func folds(lines ...string) func(root) { return func(r root) { r.fold(lines...) } }

// many are n records.
func many(n int, members string) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf(`{"run_id":"many-%d","stage":"T","timestamp":"2026-01-31T12:00:%02dZ"%s}`, i, i%60, members))
	}
	return lines
}

var events = []event{
	{"never folded", func(root) {}, view.Whole, 0, 0},
	{"nothing new before the first fold", func(root) {}, "", 0, 0},
	{"the first fold", folds(
		`{"run_id":"a","stage":"T","lr":0.5,"n":7,"ok":true,"note":"x","list":[1, 2],"metrics":{"auc":0.71,"m":"failed"},"snapshot":{"w":[1.0, 2]}}`,
		`{"run_id":"b","stage":"T","n":9007199254740993,"note":"quote ' and \" é \u0001","timestamp":"2026-01-31T12:00:00.1+01:00","record_id":"id-b"}`,
		`{"run_id":"c","stage":"T","ok":false,"note":5,"lr":1e-300,"tags":{"owner":"o"},"big":99999999999999999999}`,
		`{"run_id":"d","stage":"T","MiXed":1,"with space":2,"with.dot":3,"with\"quote":4,"sélect":"sélect"}`), view.Since, 4, 0},
	{"nothing new", func(root) {}, "", 0, 0},
	{"new and replaced rows", folds(`{"run_id":"a","stage":"T","n":8}`, `{"run_id":"e","stage":"T","n":1}`, `{"run_id":"e","stage":"U","n":1}`), view.Since, 3, 0},
	{"the same record again", folds(`{"run_id":"b","stage":"T","n":9007199254740993,"note":"quote ' and \" é \u0001","timestamp":"2026-01-31T12:00:00.1+01:00","record_id":"id-b"}`), view.Since, 0, 0},
	{"generations skipped", func(r root) {
		for i := range 3 {
			r.fold(fmt.Sprintf(`{"run_id":"skip-%d","stage":"T","n":%d}`, i, i), fmt.Sprintf(`{"run_id":"skip","stage":"T","n":%d}`, i))
		}
	}, view.Since, 4, 0},
	{"a new column", folds(`{"run_id":"f","stage":"T","fresh":"y"}`), view.Since, 1, 0},
	{"a new column for values that stood in _extra", folds(`{"run_id":"g","stage":"T","big":"text"}`), view.Whole, -1, 0},
	{"a widened column", folds(`{"run_id":"h","stage":"T","n":0.25}`), view.Whole, -1, 0},
	{"many rows", folds(many(700, "")...), view.Since, 700, 0},
	{"withdrawn rows", act(cohort.Withdraw, "f", "g", "many-0"), view.Since, 0, 3},
	{"a withdrawn row comes back", act(cohort.Undo, "g"), view.Since, 1, 0},
	{"withdrawn, and appended again to another key", func(r root) {
		act(cohort.Withdraw, "h")(r)
		r.fold(`{"run_id":"i","stage":"T","n":5}`)
	}, view.Since, 1, 1},
	{"restored to an earlier generation", func(r root) {
		_, err := history.Restore(context.Background(), r.config(), 3, history.RestoreOptions{Apply: true})
		if err != nil {
			r.Fatal(err)
		}
	}, view.Since, -1, -1},
	{"erased", func(r root) {
		if _, err := compactor.Erase(context.Background(), r.config(), compactor.Erasure{RunID: "a", Apply: true}); err != nil {
			r.Fatal(err)
		}
	}, view.Compared, 0, 1},
	{"after the erasure", folds(`{"run_id":"after","stage":"T"}`), view.Since, 1, 0},
	{"imported", func(r root) {
		rec, err := cohort.ParseRecord([]byte(`{"run_id":"old","stage":"T","n":1}`), 0)
		if err != nil {
			r.Fatal(err)
		}
		rec.Cohort = "old"
		if _, err := compactor.Import(context.Background(), r.config(), []compactor.Imported{{Record: rec}}, false); err != nil {
			r.Fatal(err)
		}
	}, view.Compared, 1, 0},
	{"a repair that went back", func(r root) {
		r.fold(`{"run_id":"lost?","stage":"T"}`)
		repairBack(r)
	}, view.Compared, -1, -1},
	{"the generation of the view is swept", func(r root) {
		for i := range 2 {
			r.fold(fmt.Sprintf(`{"run_id":"swept-%d","stage":"T"}`, i))
		}
		m := r.newest().Generation
		for g := cohort.Generation(1); g < m; g++ {
			if err := os.Remove(r.dir.Manifest(g)); err != nil && !errors.Is(err, os.ErrNotExist) {
				r.Fatal(err)
			}
		}
	}, view.Compared, 2, 0},
	{"a retyped column", columns(compactor.ColumnChange{Declare: []index.Column{{Name: "note", Kind: index.Int}}}), view.Whole, -1, 0},
	{"a declared column without values", columns(compactor.ColumnChange{Declare: []index.Column{{Name: "declared", Kind: index.Bool}}}), view.Since, 0, 0},
	{"a dropped column", columns(compactor.ColumnChange{Drop: []string{"lr"}}), view.Whole, -1, 0},
	{"columns that changed there and back", func(r root) {
		columns(compactor.ColumnChange{Declare: []index.Column{{Name: "fresh", Kind: index.Int}}})(r)
		columns(compactor.ColumnChange{Declare: []index.Column{{Name: "fresh", Kind: index.String}}})(r)
	}, view.Whole, -1, 0},
	{"erased where columns have changed", func(r root) {
		if _, err := compactor.Erase(context.Background(), r.config(), compactor.Erasure{RunID: "swept-0", Apply: true}); err != nil {
			r.Fatal(err)
		}
	}, view.Whole, -1, 1},
}

// repairBack damages the newest index, and goes back to the generation before.
func repairBack(r root) {
	name := r.dir.Data(r.newest().Index.Name)
	data, err := os.ReadFile(name)
	if err == nil {
		data[len(data)/2] ^= 1
		err = errors.Join(os.Chmod(name, 0o644), os.WriteFile(name, data, 0o644), os.Chmod(r.dir.Index(), 0o644), os.WriteFile(r.dir.Index(), data, 0o644))
	}
	if err != nil {
		r.Fatal(err)
	}
	before := r.newest().Generation
	done, err := audit.Repair(context.Background(), r.config(), audit.RepairOptions{Apply: true})
	if err != nil || r.newest().Generation <= before {
		r.Fatalf("Repair = %+v, %v", done, err)
	}
}

// testHistory does one thing after the other with a root, and syncs a view after each.
func testHistory(t *testing.T, place func(testing.TB) Place) {
	r, p := newRoot(t, cohort.Settings{}), place(t)
	late := place(t) // is synced at the end only
	for _, e := range events {
		e.do(r)
		report := r.sync(p)
		if report.How != e.how || e.written >= 0 && report.Written != e.written || e.removed >= 0 && report.Removed != e.removed || len(report.LeftOut) > 0 {
			t.Errorf("%s: %+v, want %q with %d written and %d removed", e.name, report, e.how, e.written, e.removed)
		}
		if t.Failed() {
			t.Fatalf("after: %s", e.name)
		}
	}
	r.sync(late)
}

// testRoots has two roots in one place, whose columns differ.
func testRoots(t *testing.T, place func(testing.TB) Place) {
	a, b, p := newRoot(t, cohort.Settings{}), newRoot(t, cohort.Settings{Snapshots: cohort.PerCohort}), place(t)
	a.fold(`{"run_id":"r","stage":"T","n":1,"only_a":true}`)
	b.append("d", `{"run_id":"r","stage":"T","only_b":"x"}`)
	b.fold(`{"run_id":"s","stage":"T","lr":0.5}`)
	for range 3 {
		a.sync(p)
		b.sync(p)
		a.shows(p)
		a.fold(`{"run_id":"r2","stage":"T","n":2,"lr":0.25}`)
		b.fold(`{"run_id":"r","stage":"T","n":3}`)
	}
	a.sync(p)
	columns(compactor.ColumnChange{Drop: []string{"only_b", "lr"}})(b)
	b.sync(p)
	a.shows(p)
	a.sync(p)
	v := p.Open(t, free)
	defer v.Close()
	if err := v.Drop(context.Background(), a.id()); err != nil {
		t.Fatal(err)
	}
	b.shows(p)
	if left := p.Cells(t, a.id()); len(left) > 0 {
		t.Errorf("after the drop of one root there is %v", left)
	}
	a.sync(p)
}

// testLeftOut has two roots with a column of one name and two types: it stays as the first root has it.
func testLeftOut(t *testing.T, place func(testing.TB) Place) {
	a, b, p := newRoot(t, cohort.Settings{}), newRoot(t, cohort.Settings{}), place(t)
	a.fold(`{"run_id":"r","stage":"T","v":1}`)
	b.fold(`{"run_id":"r","stage":"T","v":"text","list":[1]}`, `{"run_id":"s","stage":"T","v":1.50}`, `{"run_id":"u","stage":"T"}`)
	if report := a.sync(p); len(report.LeftOut) > 0 {
		t.Errorf("the first root: %v", report.LeftOut)
	}
	for i := range 2 {
		report := b.sync(p, "v")
		if len(report.LeftOut) != 1 || report.LeftOut[0].Column != "v" || report.LeftOut[0].Why == "" {
			t.Errorf("left out: %v, want v", report.LeftOut)
		}
		b.fold(fmt.Sprintf(`{"run_id":"t-%d","stage":"T","v":"other"}`, i))
	}
	a.shows(p)
	b.fold(`{"run_id":"w","stage":"T","n":5}`)
	a.fold(`{"run_id":"r","stage":"T","v":0.5}`) // widened: only this root has it
	b.sync(p, "v")
	a.sync(p)
	b.shows(p, "v")
	columns(compactor.ColumnChange{Drop: []string{"v"}})(a)
	a.sync(p)
	b.fold(`{"run_id":"x","stage":"T","v":"later"}`)
	b.sync(p, "v") // older rows have it in _extra
	v := p.Open(t, free)
	defer v.Close()
	if err := v.Drop(context.Background(), a.id()); err != nil {
		t.Fatal(err)
	}
	if err := v.Drop(context.Background(), b.id()); err != nil {
		t.Fatal(err)
	}
	if report := b.sync(p); len(report.LeftOut) > 0 {
		t.Errorf("alone: %v", report.LeftOut)
	}
}

// testAwkwardNames has names that mean something to a database, in a table that is made with them, and in one that gets them later.
func testAwkwardNames(t *testing.T, place func(testing.TB) Place) {
	names := []string{"rowid", "OID", "_rowid_", "select", "table", "constraint", "sqlite_x", "null", "true", "a\"b", "a'b", "a;b", "--x", "/*x", "[z]", "?1", ":n", "$1", "%s",
		"back\\slash", "a.b.c", " lead", "trail ", "e\u0301", "-", "*", "()", "{}", "1", "ctid", "xmin", "user", strings.Repeat("x", 63), strings.Repeat("y", 64)}
	for _, later := range []bool{false, true} {
		r, p := newRoot(t, cohort.Settings{}), place(t)
		if later {
			r.fold(`{"run_id":"first","stage":"T"}`)
			r.sync(p)
		}
		var lines []string
		for i, name := range names {
			lines = append(lines, fmt.Sprintf(`{"run_id":"r-%d","stage":"T",%s:%d}`, i, jsonscan.Quote(name), i+1))
		}
		r.fold(lines...)
		v := p.Open(t, free)
		defer v.Close()
		if _, err := view.Sync(context.Background(), r.store(), v, view.Options{}); err != nil {
			t.Errorf("later %v: %v", later, err)
			continue
		}
		r.check(v)
	}
}

// testOwnNames has fields with the names of columns that every view has.
func testOwnNames(t *testing.T, place func(testing.TB) Place) {
	r, p := newRoot(t, cohort.Settings{}), place(t)
	r.fold(`{"run_id":"a","stage":"T","snapshot":"file.bin","root_id":"x","_key_digest":5}`, `{"run_id":"b","stage":"T","snapshot":{"w":1}}`)
	if report := r.sync(p, "snapshot", "root_id", "_key_digest"); len(report.LeftOut) != 3 {
		t.Errorf("left out: %v", report.LeftOut)
	}
}

// testAhead restores a root from a backup: the view is refused, and stays as it is.
func testAhead(t *testing.T, place func(testing.TB) Place) {
	r, p := newRoot(t, cohort.Settings{}), place(t)
	r.fold(`{"run_id":"a","stage":"T"}`)
	backup := r.copied()
	r.fold(`{"run_id":"b","stage":"T"}`)
	r.sync(p)
	v := p.Open(t, free)
	defer v.Close()
	refused := func(from root) {
		t.Helper()
		_, err := view.Sync(context.Background(), from.store(), v, view.Options{})
		var ahead *view.AheadError
		if !errors.Is(err, view.ErrAhead) || !errors.As(err, &ahead) || ahead.Holds.Generation != 2 {
			t.Errorf("Sync with the backup: %v, want ErrAhead", err)
		}
		r.shows(p)
		if _, err := view.Check(context.Background(), from.store(), v); !errors.Is(err, view.ErrAhead) {
			t.Errorf("Check with the backup: %v, want ErrAhead", err)
		}
	}
	refused(backup)
	other := backup.copied()
	other.fold(`{"run_id":"other","stage":"T"}`) // has another generation 2
	refused(other)
	for _, from := range []root{other, backup, r} { // a cache goes where it is told to
		report, err := view.Sync(context.Background(), from.store(), v, view.Options{Replace: true})
		if err != nil || report.How == "" {
			t.Errorf("Sync with Replace: %+v, %v", report, err)
		}
		from.shows(p)
		from.check(v)
	}
	if err := v.Drop(context.Background(), r.id()); err != nil {
		t.Fatal(err)
	}
	other.sync(p)
}

// testRestored goes on with a root that was restored from a backup until it is past the view: its rows have seqs that others had.
func testRestored(t *testing.T, place func(testing.TB) Place) {
	r, p := newRoot(t, cohort.Settings{}), place(t)
	r.fold(`{"run_id":"a","stage":"T"}`)
	backup := r.copied()
	r.fold(`{"run_id":"b","stage":"T","n":1}`, `{"run_id":"same","stage":"T","n":1}`, `{"run_id":"gone","stage":"T"}`)
	r.sync(p)
	backup.fold(`{"run_id":"c","stage":"T","n":1}`)
	backup.fold(`{"run_id":"same","stage":"T","n":2}`)
	if report := backup.sync(p); report.How != view.Compared || report.Written != 2 || report.Removed != 3 {
		t.Errorf("%+v, want 2 written and 3 removed", report)
	}
}

// testVoid has a view of a generation that is still there by its number, and is no ancestor: a compactor that slept committed it too late.
func testVoid(t *testing.T, place func(testing.TB) Place) {
	r, p := newRoot(t, cohort.Settings{}), place(t)
	r.fold(`{"run_id":"a","stage":"T"}`)
	other := r.copied()
	r.fold(`{"run_id":"void","stage":"T"}`)
	r.sync(p)
	other.fold(`{"run_id":"b","stage":"T"}`)
	other.fold(`{"run_id":"c","stage":"T"}`)
	data, err := os.ReadFile(r.dir.Manifest(2))
	if err == nil {
		err = errors.Join(os.Remove(other.dir.Manifest(2)), os.WriteFile(other.dir.Manifest(2), data, 0o444))
	}
	if err != nil {
		t.Fatal(err)
	}
	if report := other.sync(p); report.How != view.Compared {
		t.Errorf("%+v, want all rows compared", report)
	}
}

// testCheck changes rows behind the view's back: Check finds it.
func testCheck(t *testing.T, place func(testing.TB) Place) {
	p := place(t)
	r := newRoot(t, cohort.Settings{})
	v := p.Open(t, free)
	defer v.Close()
	if _, err := view.Check(context.Background(), r.store(), v); !errors.Is(err, view.ErrNone) {
		t.Errorf("Check of nothing: %v, want ErrNone", err)
	}
	r.fold(many(3, `,"n":1`)...)
	r.sync(p)
	s, ok := p.(interface{ Spoil(testing.TB, string) })
	if !ok {
		t.Skip("this kind of view has no Spoil")
	}
	for _, what := range []string{"a cell", "a snapshot", "a row less", "_extra"} {
		t.Run(what, func(t *testing.T) {
			s.Spoil(t, what)
			if done, err := view.Check(context.Background(), r.store(), v); err != nil || done.Same {
				t.Errorf("Check = %+v, %v, want a difference", done, err)
			}
			if err := v.Drop(context.Background(), r.id()); err != nil {
				t.Fatal(err)
			}
			root{t, r.dir}.sync(p)
		})
	}
	held := r.newest()
	r.fold(`{"run_id":"x","stage":"T"}`)
	r.check(v) // its own generation is kept
	if err := os.Remove(r.dir.Manifest(held.Generation)); err != nil {
		t.Fatal(err)
	}
	var gone *generation.NotKeptError
	if _, err := view.Check(context.Background(), r.store(), v); !errors.As(err, &gone) {
		t.Errorf("Check of a generation that is gone: %v", err)
	}
}

// testDrop drops what there is, and what there is not.
func testDrop(t *testing.T, place func(testing.TB) Place) {
	r, p := newRoot(t, cohort.Settings{}), place(t)
	v := p.Open(t, free)
	defer v.Close()
	for range 2 {
		if err := v.Drop(context.Background(), r.id()); err != nil {
			t.Fatalf("Drop of nothing: %v", err)
		}
		if s, err := v.State(context.Background(), r.id()); err != nil || !s.IsNone() {
			t.Errorf("State = %+v, %v, want none", s, err)
		}
		r.fold(`{"run_id":"a","stage":"T"}`)
		r.sync(p)
		if err := v.Drop(context.Background(), r.id()); err != nil {
			t.Fatal(err)
		}
		if left := p.Cells(t, r.id()); len(left) > 0 {
			t.Errorf("after Drop there is %v", left)
		}
	}
}

// stated gives a view the newest generation, and a state that the test has changed.
func (r root) stated(p Place, change func(*view.State)) error {
	r.Helper()
	v := p.Open(r.TB, free)
	defer v.Close()
	tx, err := v.Begin(context.Background(), r.id())
	if err != nil {
		r.Fatal(err)
	}
	defer tx.Rollback()
	m := r.newest()
	data, err := r.store().Data(m)
	if err != nil {
		r.Fatal(err)
	}
	defer data.Close()
	next := view.State{RootID: r.id(), Generation: m.Generation, Token: m.Token, NextSeq: m.NextSeq, Rows: m.Index.Rows, Schema: data.Index.Schema(),
		Form: view.Form{View: 1, Index: data.Index.Version()}}
	change(&next)
	if _, err := tx.Apply(context.Background(), view.Change{How: view.Whole, Manifest: m, Data: data, Next: next}); err != nil {
		r.Fatal(err)
	}
	return tx.Commit(context.Background(), next)
}

// testForm has views that other versions made, or that were made of an index of another version.
func testForm(t *testing.T, place func(testing.TB) Place) {
	r, p := newRoot(t, cohort.Settings{}), place(t)
	r.fold(`{"run_id":"a","stage":"T"}`)
	if err := r.stated(p, func(s *view.State) { s.Form.Index = 1 }); err != nil {
		t.Fatal(err)
	}
	if report := r.sync(p); report.How != view.Whole {
		t.Errorf("of an older index: %+v, want all rows again", report)
	}
	if err := r.stated(p, func(s *view.State) { s.Form.View = 1 << 20 }); err != nil {
		t.Fatal(err)
	}
	v := p.Open(t, free)
	defer v.Close()
	for range 2 {
		if _, err := view.Sync(context.Background(), r.store(), v, view.Options{}); !errors.Is(err, cohort.ErrNewer) {
			t.Errorf("Sync of a view of a later version: %v, want ErrNewer", err)
		}
		r.fold(`{"run_id":"b","stage":"T"}`)
	}
}

// testBack commits an earlier generation: the view refuses, whatever the publisher has found before.
func testBack(t *testing.T, place func(testing.TB) Place) {
	r, p := newRoot(t, cohort.Settings{}), place(t)
	r.fold(`{"run_id":"a","stage":"T"}`)
	old := r.copied()
	r.fold(`{"run_id":"b","stage":"T"}`)
	r.sync(p)
	if err := old.stated(p, func(*view.State) {}); err == nil {
		t.Error("a commit of an earlier generation is no error")
	}
	r.shows(p)
}

// testLarge syncs many rows, then some new ones: what is not new is not written.
func testLarge(t *testing.T, place func(testing.TB) Place) {
	n := 3000
	if *million {
		n = 1_000_000
	}
	r, p := newRoot(t, cohort.Settings{}), place(t)
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf(`{"run_id":"run-%07d","stage":"T","timestamp":"2026-01-31T12:00:00Z","n":%d,"lr":%g,"note":"note %d"}`, i, i, float64(i)/7, i%100))
		if len(lines) == 50_000 || i == n-1 {
			r.append(cohort.ID(fmt.Sprint("c", i%3)), lines...)
			lines = lines[:0]
		}
	}
	r.fold()
	v := p.Open(t, free)
	defer v.Close()
	sync := func(how view.How, written int64) {
		t.Helper()
		report, err := view.Sync(context.Background(), r.store(), v, view.Options{})
		if err != nil || report.How != how || report.Written != written {
			t.Errorf("Sync = %+v, %v, want %s with %d rows", report, err, how, written)
		}
	}
	sync(view.Whole, int64(n))
	r.fold(`{"run_id":"run-0000000","stage":"T","n":-1}`, `{"run_id":"new","stage":"T"}`)
	sync(view.Since, 2)
	r.check(v)
	if !*million {
		r.shows(p)
	}
}

// testDamaged has data files with a bit that flipped: a sync says that the root is damaged, and not what the database makes of rows that end too early.
func testDamaged(t *testing.T, place func(testing.TB) Place) {
	r := newRoot(t, cohort.Settings{})
	var lines []string
	for i := range 5000 {
		lines = append(lines, fmt.Sprintf(`{"run_id":"r-%d","stage":"T","n":%d,"text":"%x"}`, i, i, sha256.Sum256([]byte{byte(i), byte(i >> 8)})))
	}
	r.fold(lines...)
	p, found := place(t), 0
	for _, name := range []string{r.newest().Index.Name, r.newest().Snapshots[0].Name} {
		path := r.dir.Data(name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for eighth := 1; eighth < 8; eighth++ {
			bad := bytes.Clone(data)
			bad[len(bad)*eighth/8] ^= 1
			if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, bad, 0o644)); err != nil {
				t.Fatal(err)
			}
			v := p.Open(t, free)
			_, err := view.Sync(context.Background(), r.store(), v, view.Options{})
			if err != nil {
				found++
			}
			if err != nil && !generation.IsDamage(err) {
				t.Errorf("%s, a bit at %d of 8: %v", name, eighth, err)
			}
			if err := errors.Join(v.Drop(context.Background(), r.id()), v.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no bit was found")
	}
	r.sync(p)
}
