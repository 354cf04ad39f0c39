package compactor_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// heap is a file system that notes the most memory that is in use, garbage left out, when a fold has read a batch and begins
// to write: no other goroutine runs then, so the figure is the same each time.
type heap struct {
	durable.FS
	base, most int64
}

func newHeap() *heap {
	h := &heap{base: inUse()}
	h.FS = &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
		if op == "create" && strings.Contains(name, "/.index-") {
			h.most = max(h.most, inUse()-h.base)
		}
		return nil
	}}
	return h
}

func inUse() int64 {
	runtime.GC()
	runtime.GC() // what lies in a sync.Pool outlives the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// appendWide appends records of 32 fields until they take so many bytes, some streams of 4 MiB. It returns how many.
func appendWide(t testing.TB, root cohort.Root, bytes int, runID string, name func(run, field int) string) (runs int) {
	t.Helper()
	w, err := journal.Create(root, "c", journal.Options{SealBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for bytes > 0 {
		var recs []cohort.Record
		for range 500 {
			line := fmt.Sprintf(`{"run_id":"%s%d","stage":"S"`, runID, runs)
			for f := range 32 {
				line += fmt.Sprintf(`,"%s":%d`, name(runs, f), f)
			}
			recs = append(recs, parse(t, line+"}"))
			bytes -= len(line) + 1
			runs++
		}
		if err := w.Append(recs); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return runs
}

// TestMemoryOfShapes: what records look like counts against the budget. Where each has fields of its own, as a program
// that makes the names of fields out of data writes them, more commits are made instead of a larger one.
func TestMemoryOfShapes(t *testing.T) {
	if sparse > 1 {
		t.Skip("it measures memory, of which the race detector takes more: make test-places runs it")
	}
	const budget = 4 << 20
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // so many streams are read side by side, each with its share
	size := 20 << 20
	if testing.Short() {
		size = 8 << 20
	}
	tests := []struct {
		name  string
		runID string
		field func(run, field int) string
	}{
		{"the same names", "r", func(_, field int) string { return fmt.Sprintf("name_%09d", field) }},
		{"names of its own", "r", func(run, field int) string { return fmt.Sprintf("name_%09d", run*32+field) }},
		{"the same names in other orders", "r", func(run, field int) string { return fmt.Sprintf("name_%09d", (run*7+field*(run%31*2+1))%500) }},
		{"long keys", strings.Repeat("r", 1000), func(_, field int) string { return fmt.Sprintf("name_%09d", field) }},
	}
	usual := 0 // commits where shapes and keys take nothing to speak of
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := newRoot(t)
			runs := appendWide(t, root, size, test.runID, test.field)
			h := newHeap()
			report := foldNow(t, compactor.Config{Root: root, FS: h, BatchBytes: budget})
			t.Logf("figure: %d commits under a budget of 4 MiB; at most %d KiB in use after a batch was read", report.Commits, h.most>>10)
			if report.Added != runs {
				t.Errorf("%d of %d records were folded", report.Added, runs)
			}
			if h.most > 2*budget {
				t.Errorf("%d bytes are in use when a batch is read, more than twice the budget of %d", h.most, budget)
			}
			if i == 0 {
				usual = report.Commits
			} else if report.Commits <= usual {
				t.Errorf("%d commits, want more than the usual %d", report.Commits, usual)
			}
		})
	}
}

// TestShareOfShapes: a stream uses up its share of what shapes may take while the batch has room. The rest of it is folded in
// the same run.
func TestShareOfShapes(t *testing.T) {
	root := newRoot(t)
	runs := appendWide(t, root, 1<<20, "r", func(run, field int) string { return fmt.Sprintf("name_%09d", run*32+field) })
	appendTo(t, root, "d", firstLines[0])
	appendTo(t, root, "e", firstLines[1])
	report := foldNow(t, compactor.Config{Root: root, BatchBytes: 3 << 20})
	if report.Added != runs+2 || report.Commits != 2 {
		t.Errorf("%d of %d records were folded in %d commits, want all in 2", report.Added, runs+2, report.Commits)
	}
}
