package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// TestGroupCommit lets 64 goroutines append at once: one write and one fsync serve them all.
func TestGroupCommit(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	s := &seam{t: t}
	s.install(w)
	const callers = 64
	w.commit.Lock() // as if a group was being written
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			if err := w.Append([]cohort.Record{rec(t, n)}); err != nil {
				t.Error(err)
			}
		})
	}
	for waiting := 0; waiting < callers; runtime.Gosched() {
		w.mu.Lock()
		if w.pending != nil {
			waiting = len(w.pending.recs)
		}
		w.mu.Unlock()
	}
	w.commit.Unlock()
	wg.Wait()
	if diff := cmp.Diff([]string{"create", "write"}, s.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got := len(all(t, root)); got != callers {
		t.Errorf("%d records, want %d", got, callers)
	}
}

// TestAcknowledgedIsInTheFile reads each record back, through the file, when its Append returns.
func TestAcknowledgedIsInTheFile(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{SealBytes: 4000})
	const callers, each = 64, 4
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				recs := []cohort.Record{rec(t, c*each+i)}
				if err := w.Append(recs); err != nil {
					t.Error(err)
					return
				}
				r, err := readerOf(root, Stream{"c", recs[0].Stream}, Position{})
				if err != nil {
					t.Error(err)
					return
				}
				// Others go on meanwhile, over the zeros at its end: not all that drain compares holds still.
				if got := untilEnd(t, r); !slices.Contains(got, show(recs[0])) {
					t.Errorf("%s was acknowledged and is not in its stream", show(recs[0]))
				}
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(copies(t, root)); got != callers*each {
		t.Errorf("%d records, want %d", got, callers*each)
	}
}

// untilEnd is all records of a stream that others write to.
func untilEnd(t *testing.T, r *Reader) (all []string) {
	defer r.Close()
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Error(err)
			return all
		}
		all = append(all, show(rec))
	}
}

// TestCloseWaits shows that Close waits for an Append whose turn to write has not come yet.
func TestCloseWaits(t *testing.T) {
	root := newRoot(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t, root, Options{})
		first := rec(t, 1)
		first.ID = newULID() // as Append does
		g, leader, err := w.join([]cohort.Record{first})
		if err != nil || !leader {
			t.Fatalf("join = leader %t, %v", leader, err)
		}
		closed := false
		go func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			closed = true
		}()
		synctest.Wait()
		if closed {
			t.Error("Close returned before the Append that it found under way")
		}
		if err := w.Append([]cohort.Record{rec(t, 2)}); !errors.Is(err, ErrClosed) {
			t.Errorf("Append after the call of Close = %v, want ErrClosed", err)
		}
		w.lead(g)
		synctest.Wait()
		if !closed || g.err != nil || w.stream != nil {
			t.Errorf("closed %t, Append = %v, open stream %v", closed, g.err, w.stream)
		}
	})
	s := streams(t, root)
	if len(s) != 1 {
		t.Fatalf("streams %v", s)
	}
	if c, _ := read(t, root, s[0], Position{}); !c.sealed || len(c.runs) != 1 {
		t.Errorf("the stream holds %+v, want one run and a seal", c)
	}
}

// TestCloseOfMovedStream: a fold may take a stream away as soon as it has read the seal. That is no error of Close.
func TestCloseOfMovedStream(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	appendRuns(t, w, 1, 1)
	s := streams(t, root)[0]
	moved := root.Reaped(s.Cohort, s.ID)
	if err := errors.Join(os.MkdirAll(filepath.Dir(moved), 0o755), os.Rename(root.Stream(s.Cohort, s.ID), moved)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := os.Rename(moved, root.Stream(s.Cohort, s.ID)); err != nil {
		t.Fatal(err)
	}
	if c, _ := read(t, root, s, Position{}); !c.sealed || len(c.runs) != 1 {
		t.Errorf("the stream holds %+v, want one run and a seal", c)
	}
}

func TestCloseTwice(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	appendRuns(t, w, 1, 1)
	for range 2 {
		if err := w.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if got := len(streams(t, root)); got != 1 {
		t.Errorf("%d streams", got)
	}
}

func TestRollByAge(t *testing.T) {
	root := newRoot(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t, root, Options{SealAge: time.Hour})
		appendRuns(t, w, 1, 2)
		time.Sleep(59 * time.Minute) // of the clock of this test
		appendRuns(t, w, 3, 3)
		time.Sleep(2 * time.Minute)
		appendRuns(t, w, 4, 4)
	})
	list := inOrder(t, root)
	if len(list) != 2 {
		t.Fatalf("streams %v, want 2", list)
	}
	for i, want := range []content{{runs: runs(1, 3), sealed: true}, {runs: runs(4, 4), sealed: true}} {
		got, _ := read(t, root, list[i], Position{})
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(content{})); diff != "" {
			t.Errorf("stream %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestRollAtTheAge sets the Writer's time. The first append at or after the age seals the stream, and no
// other append does. The result does not depend on any goroutine or timer that runs in between.
func TestRollAtTheAge(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{SealAge: time.Hour})
	var age time.Duration
	w.clock.since = func(time.Time) time.Duration { return age }
	var got []int // of which stream each record is
	seen := map[cohort.StreamID]int{}
	for n, at := range []time.Duration{0, time.Hour - 1, time.Hour, 0, time.Hour + 1, 100 * time.Hour} {
		age = at
		recs := []cohort.Record{rec(t, n)}
		if err := w.Append(recs); err != nil {
			t.Fatal(err)
		}
		if _, ok := seen[recs[0].Stream]; !ok {
			seen[recs[0].Stream] = len(seen) + 1
		}
		got = append(got, seen[recs[0].Stream])
	}
	if diff := cmp.Diff([]int{1, 1, 2, 2, 3, 4}, got); diff != "" {
		t.Errorf("stream of each record (-want +got):\n%s", diff)
	}
}

// TestManyProcesses lets 20 processes make streams in one cohort at once.
func TestManyProcesses(t *testing.T) {
	n := 20
	if testing.Short() {
		n = 4
	}
	root := newRoot(t)
	gate, open, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var acked []string
	for range n {
		cmd := child("many", root)
		cmd.Stdin = gate
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			text, err := io.ReadAll(out)
			if err = errors.Join(err, cmd.Wait()); err != nil {
				t.Errorf("child: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			acked = append(acked, strings.Fields(string(text))...)
		})
	}
	if err := errors.Join(gate.Close(), open.Close()); err != nil { // the race begins
		t.Fatal(err)
	}
	wg.Wait()
	got := all(t, root)
	slices.Sort(acked)
	slices.Sort(got)
	if diff := cmp.Diff(acked, got); diff != "" || len(got) != 10*n {
		t.Errorf("%d records, want %d (-acknowledged +found):\n%s", len(got), 10*n, diff)
	}
}

// TestRecordsTheRootRefuses appends a record that the root's key cannot tell apart, and one that is too large.
func TestRecordsTheRootRefuses(t *testing.T) {
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	form, err := cohort.ParseKeyForm([]string{"run_id", "phase", "cohort_id", "target", "fold"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := InitRoot(root, cohort.Settings{Key: form, MaxRecord: 256}, RootOptions{}); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, root, Options{})
	for want, json := range map[string]string{
		"":                          `{"run_id":"r","stage":"T","target":"x"}`,
		"over the limit of 256":     `{"run_id":"r","stage":"T","target":"x","x":"` + strings.Repeat("x", 300) + `"}`,
		"which separates the parts": `{"run_id":"r","stage":"T","target":"a:b"}`,
		"fold is a double":          `{"run_id":"r","stage":"T","fold":1.0}`,
	} {
		r, err := cohort.ParseRecord([]byte(json), 0)
		if err != nil {
			t.Fatal(err)
		}
		var parser cohort.Parser // its records carry no sum, and are parsed again
		again, err := parser.Parse([]byte(json), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Append([]cohort.Record{again}); want != "" && !strings.Contains(message(err), want) {
			t.Errorf("Append of %s from a Parser = %v, want %q", json, err, want)
		}
		if err := w.Append([]cohort.Record{r}); (err == nil) != (want == "") || !strings.Contains(message(err), want) {
			t.Errorf("Append of %s = %v, want %q", json, err, want)
		}
	}
	if got := len(all(t, root)); got != 2 {
		t.Errorf("%d records were written, want 2", got)
	}
}
