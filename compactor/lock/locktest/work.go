package locktest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// work is a root that several compactors fold, and a second one with the same records for the reference fold.
type work struct {
	testing.TB
	dir, reference cohort.Root

	mu      sync.Mutex // guards version
	version int
}

func newWork(t testing.TB) *work {
	t.Helper()
	base := t.TempDir()
	w := &work{TB: t, dir: cohort.Root(filepath.Join(base, "runs")), reference: cohort.Root(filepath.Join(base, "reference"))}
	for _, dir := range []cohort.Root{w.dir, w.reference} {
		if _, _, err := journal.InitRoot(dir, cohort.Settings{}, journal.RootOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// append appends a new record of each run. Any number of goroutines may call it, of different runs.
func (w *work) append(runs ...string) {
	w.Helper()
	var records []cohort.Record
	for _, run := range runs {
		w.mu.Lock()
		w.version++
		line := fmt.Sprintf(`{"run_id":%q,"stage":"S","v":%d}`, run, w.version)
		w.mu.Unlock()
		r, err := cohort.ParseRecord([]byte(line), 1<<20)
		if err != nil {
			w.Fatal(err)
		}
		records = append(records, r)
	}
	for _, dir := range []cohort.Root{w.dir, w.reference} {
		stream, err := journal.Create(dir, "c", journal.Options{})
		if err != nil {
			w.Fatal(err)
		}
		for _, r := range records {
			if err := stream.Append([]cohort.Record{r}); err != nil {
				w.Fatal(err)
			}
		}
		if err := stream.Close(); err != nil {
			w.Fatal(err)
		}
	}
}

// commits are those of all generations that are kept.
func (w *work) commits() iter.Seq[generation.Commit] {
	return func(yield func(generation.Commit) bool) {
		store, err := generation.Open(w.dir, journal.RootOptions{})
		if err != nil {
			w.Fatal(err)
		}
		for c, err := range store.History() {
			if err != nil || c.Err != nil {
				w.Fatal(err, c.Err)
			}
			if !yield(c) {
				return
			}
		}
	}
}

// isReference folds what is left, and compares all rows with those of a fold that nobody disturbed. It returns how many are others, or are missing. Nothing may be
// damaged, and no stream be left.
func (w *work) isReference(when string) (wrong int) {
	w.Helper()
	for _, dir := range []cohort.Root{w.dir, w.reference} {
		for range 2 { // the second one finishes what was left to a later fold
			if _, err := compactor.Fold(context.Background(), compactor.Config{Root: dir, KeepAge: -1, KeepGenerations: 1}); err != nil {
				w.Fatalf("%s: the last fold: %v", when, err)
			}
		}
	}
	want, got := w.rows(w.reference), w.rows(w.dir)
	for key := range maps.Keys(got) {
		if _, there := want[key]; !there {
			wrong++
		}
	}
	for key, row := range want {
		if got[key] != row {
			wrong++
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("%s: rows (-reference +got):\n%s", when, diff)
	}
	if _, err := audit.Check(context.Background(), compactor.Config{Root: w.dir}, func(p audit.Problem) {
		if p.Damage {
			w.Errorf("%s: check finds %v", when, p)
		}
	}); err != nil {
		w.Errorf("%s: Check: %v", when, err)
	}
	if left, err := filepath.Glob(filepath.Join(string(w.dir), "cohorts", "*", "*")); err != nil || len(left) > 0 {
		w.Errorf("%s: these streams are left: %v, %v", when, left, err)
	}
	return wrong
}

// rows are the published rows by key, without what each fold and each append makes anew.
func (w *work) rows(dir cohort.Root) map[string]string {
	w.Helper()
	data, err := os.Open(dir.Index())
	if err != nil {
		w.Fatal(err)
	}
	defer data.Close()
	info, err := data.Stat()
	if err != nil {
		w.Fatal(err)
	}
	ix, err := index.Open(data, info.Size())
	if err != nil {
		w.Fatal(err)
	}
	out := map[string]string{}
	for row, err := range ix.Rows() {
		var fields map[string]json.RawMessage
		if err == nil {
			err = json.Unmarshal(row, &fields)
		}
		if err != nil {
			w.Fatal(err)
		}
		key := string(fields["_key"])
		if _, twice := out[key]; twice {
			w.Errorf("key %s stands twice", key)
		}
		if len(fields["v"]) == 0 {
			w.Fatalf("row %s has no column v", row)
		}
		out[key] = string(fields["run_id"]) + " " + string(fields["v"])
	}
	return out
}
