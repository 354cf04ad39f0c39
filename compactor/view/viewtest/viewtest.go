// Package viewtest holds the tests that every view passes.
//
//	func TestView(t *testing.T) { viewtest.Test(t, func(t testing.TB) viewtest.Place { ... }) }
package viewtest

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/journal"
)

// million makes the test of a large root one of a million rows. It is no part of the gate.
var million = flag.Bool("million", false, "sync a root of a million rows")

// Place is where a view is, such as a file or a schema of a database. Each test has places of its own.
type Place interface {
	// Open opens the view. All its calls go through step; see Connector. A change waits for others for no more than a moment.
	Open(t testing.TB, step Step) view.View
	// Cells reads all rows of a root past the view, as Want has them.
	Cells(t testing.TB, rootID string) Cells
}

// Cells are rows by key, and of each the values by name, as JSON: those of the columns of the index but _stamp, and snapshot. NULL is left out.
type Cells map[string]map[string]string

// Test runs all tests. place makes an empty place.
func Test(t *testing.T, place func(t testing.TB) Place) {
	for _, part := range []struct {
		name string
		test func(*testing.T, func(testing.TB) Place)
	}{
		{"History", testHistory}, {"Roots", testRoots}, {"LeftOut", testLeftOut}, {"Ahead", testAhead}, {"Restored", testRestored}, {"Void", testVoid}, {"Check", testCheck},
		{"Drop", testDrop}, {"Killed", testKilled}, {"Interleaved", testInterleaved}, {"AtOnce", testAtOnce}, {"FoldedMeanwhile", testFoldedMeanwhile}, {"Back", testBack}, {"Random", testRandom}, {"OwnNames", testOwnNames}, {"AwkwardNames", testAwkwardNames}, {"Form", testForm}, {"Damaged", testDamaged}, {"Meddled", testMeddled}, {"Foreign", testForeign}, {"Needed", testNeeded}, {"Large", testLarge},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, place) })
	}
}

// free makes every call.
func free(string) error { return nil }

// root is a root of a test.
type root struct {
	testing.TB
	dir cohort.Root
}

func newRoot(t testing.TB, s cohort.Settings) root {
	t.Helper()
	dir := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := journal.InitRoot(dir, s, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	return root{t, dir}
}

// NewRoot makes an empty root and opens it, for tests of one view alone.
func NewRoot(t testing.TB) (cohort.Root, *generation.Store) {
	t.Helper()
	r := newRoot(t, cohort.Settings{})
	return r.dir, r.store()
}

// Fold appends records, which are JSON, and folds them.
func Fold(t testing.TB, dir cohort.Root, lines ...string) {
	t.Helper()
	root{t, dir}.fold(lines...)
}

// copied is the root as it is now, in another directory.
func (r root) copied() root {
	r.Helper()
	dir := filepath.Join(r.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(string(r.dir))); err != nil {
		r.Fatal(err)
	}
	return root{r.TB, cohort.Root(dir)}
}

func (r root) config() compactor.Config { return compactor.Config{Root: r.dir, KeepGenerations: 1000} }

func (r root) append(id cohort.ID, lines ...string) {
	r.Helper()
	w, err := journal.Create(r.dir, id, journal.Options{})
	if err != nil {
		r.Fatal(err)
	}
	var recs []cohort.Record
	for _, line := range lines {
		rec, err := cohort.ParseRecord([]byte(line), 0)
		if err != nil {
			r.Fatalf("%s: %v", line, err)
		}
		recs = append(recs, rec)
	}
	if err := w.Append(recs); err != nil {
		r.Fatal(err)
	}
	if err := w.Close(); err != nil {
		r.Fatal(err)
	}
}

// fold appends lines and folds them.
func (r root) fold(lines ...string) {
	r.Helper()
	if len(lines) > 0 {
		r.append("c", lines...)
	}
	if _, err := compactor.Fold(context.Background(), r.config()); err != nil {
		r.Fatal(err)
	}
}

func (r root) store() *generation.Store {
	r.Helper()
	s, err := generation.Open(r.dir, journal.RootOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return s
}

func (r root) id() string { return r.store().Settings.RootID }

func (r root) newest() generation.Manifest {
	r.Helper()
	m, err := r.store().Newest()
	if err != nil {
		r.Fatal(err)
	}
	return m
}

// want is what a view of the newest generation holds. left are the columns whose values stand in _extra.
func (r root) want(left ...string) Cells {
	r.Helper()
	cells := Cells{}
	m := r.newest()
	data, err := r.store().Data(m)
	if err != nil {
		r.Fatal(err)
	}
	defer data.Close()
	if data.Index == nil {
		return cells
	}
	bySeq := map[string]map[string]string{}
	for line, err := range data.Index.Rows() {
		if err != nil {
			r.Fatal(err)
		}
		row := map[string]string{}
		for member := range jsonscan.EachMember(line) {
			if name := string(member.Name); name != "_stamp" {
				row[name] = string(member.Value)
			}
		}
		for _, name := range left {
			if v, has := row[name]; has {
				delete(row, name)
				row["_extra"] = withExtra(row["_extra"], name, v)
			}
		}
		bySeq[row["snapshot_seq"]] = row
		cells[jsonscan.Text([]byte(row["_key"]))] = row
	}
	for _, f := range m.Snapshots {
		file, err := data.Snapshots(f)
		if err != nil {
			r.Fatal(err)
		}
		for s, err := range index.Snapshots(file) {
			if err != nil {
				r.Fatal(err)
			}
			bySeq[s.Seq.String()]["snapshot"] = string(s.Value)
		}
		file.Close()
	}
	return cells
}

// withExtra adds a member at the end of an object, if it is not there.
func withExtra(extra, name, value string) string {
	if extra == "" {
		return fmt.Sprintf("{%q:%s}", name, value)
	}
	for m := range jsonscan.EachMember([]byte(extra)) {
		if string(m.Name) == name {
			return extra
		}
	}
	return fmt.Sprintf("%s,%q:%s}", strings.TrimSuffix(extra, "}"), name, value)
}

// alike has the JSON of cells in the canonical form of a place, if it has one.
func alike(p Place, all Cells) Cells {
	c, has := p.(interface{ Canonical([]byte) []byte })
	if !has {
		return all
	}
	for _, row := range all {
		for _, name := range []string{"_extra", "snapshot"} {
			if v, is := row[name]; is {
				row[name] = string(c.Canonical([]byte(v)))
			}
		}
	}
	return all
}

// differences says how cells differ; empty if they do not.
func differences(want, got Cells) string {
	var out []string
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		switch w, g := want[key], got[key]; {
		case w == nil:
			out = append(out, fmt.Sprintf("%s is not in the generation: %v", key, g))
		case g == nil:
			out = append(out, fmt.Sprintf("%s is missing", key))
		case !maps.Equal(w, g):
			out = append(out, fmt.Sprintf("%s is\n  %v, want\n  %v", key, g, w))
		}
	}
	return strings.Join(out, "\n")
}

// shows fails the test if a place does not hold the newest generation of a root.
func (r root) shows(p Place, left ...string) {
	r.Helper()
	if diff := differences(alike(p, r.want(left...)), alike(p, p.Cells(r.TB, r.id()))); diff != "" {
		r.Errorf("the view is not generation %d:\n%s", r.newest().Generation, diff)
	}
}

// sync makes the view the newest generation, and looks at it.
func (r root) sync(p Place, left ...string) view.Report {
	r.Helper()
	v := p.Open(r.TB, free)
	defer v.Close()
	report, err := view.Sync(context.Background(), r.store(), v, view.Options{})
	if err != nil {
		r.Fatalf("Sync: %v", err)
	}
	if m := r.newest(); report.To != m.Generation || report.Rows != m.Index.Rows {
		r.Errorf("Sync says generation %d with %d rows, want %d with %d", report.To, report.Rows, m.Generation, m.Index.Rows)
	}
	r.shows(p, left...)
	r.check(v)
	return report
}

// check expects that Check finds nothing.
func (r root) check(v view.View) {
	r.Helper()
	done, err := view.Check(context.Background(), r.store(), v)
	if err != nil || !done.Same || done.Rows != done.Expected {
		r.Errorf("Check = %+v, %v", done, err)
	}
}
