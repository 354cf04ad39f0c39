package journal

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// TestWritten appends with a wall clock that goes back, has a zone or is not set. The record has its time when Append
// returns, every reader finds the same time, and the stamps do not depend on it.
func TestWritten(t *testing.T) {
	root := newRoot(t)
	var now time.Time
	w := newWriter(t, root, Options{Now: func() time.Time { return now }})
	clocks := []time.Time{
		time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC),
		time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 9*3600)),
		time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC),
		{},
		time.Date(2026, 3, 1, 12, 0, 1, 0, time.UTC),
	}
	want := []string{"2026-03-01T12:00:00.123456789Z", "2026-03-01T03:00:00Z", "2001-01-01T00:00:00Z", "", "", "2026-03-01T12:00:01Z"}

	var appended []string
	var stamps []cohort.Stamp
	for i, clock := range clocks {
		now = clock
		recs := []cohort.Record{rec(t, i)}
		if err := w.Append(recs); err != nil {
			t.Fatal(err)
		}
		appended, stamps = append(appended, instant(recs[0].Written)), append(stamps, recs[0].Stamp)
	}
	if diff := cmp.Diff(want, appended); diff != "" {
		t.Errorf("after Append (-want +got):\n%s", diff)
	}
	if !slices.IsSorted(stamps) {
		t.Errorf("stamps %v are not in the order of the appends", stamps)
	}

	s := streams(t, root)[0]
	for name, borrow := range map[string]bool{"Reader": false, "borrowing Reader": true} {
		r := opened(t, root, s)
		if borrow {
			r.ReuseMemory()
		}
		var next, again []string
		for {
			rec, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			next = append(next, instant(rec.Written))
			if rec, err = r.Reread(r.Ref()); err != nil {
				t.Fatal(err)
			}
			again = append(again, instant(rec.Written))
		}
		for call, got := range map[string][]string{"Next": next, "Reread": again} {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s of a %s (-want +got):\n%s", call, name, diff)
			}
		}
	}
	var entries []string
	for e, err := range Entries(root.Segment(s.Cohort, s.ID), s) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, instant(e.Written))
	}
	if diff := cmp.Diff(slices.Concat([]string{""}, want), entries); diff != "" {
		t.Errorf("Entries, a header first (-want +got):\n%s", diff)
	}
}

// opened is a Reader of a whole stream.
func opened(t testing.TB, root cohort.Root, s Stream) *Reader {
	t.Helper()
	in, err := OpenRoot(root, RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := in.Open(in.InCohort(s), Position{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// instant is a time as text; empty if it is not known.
func instant(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Format(time.RFC3339Nano)
}

// TestWrittenTwice: a record that is appended again, to a second stream, keeps the time of its append.
func TestWrittenTwice(t *testing.T) {
	root := newRoot(t)
	hours := 0
	w := newWriter(t, root, Options{Now: func() time.Time {
		hours++
		return time.Date(2026, 3, 1, hours, 0, 0, 0, time.UTC)
	}})
	appendRuns(t, w, 1, 1)
	w.stream.seg.close() // the next write fails
	appendRuns(t, w, 2, 2)
	if got := len(streams(t, root)); got != 2 {
		t.Fatalf("%d streams, want a second one", got)
	}
	got := map[string]string{}
	for _, s := range streams(t, root) {
		r := opened(t, root, s)
		for rec, err := r.Next(); err == nil; rec, err = r.Next() {
			got[rec.RunID] = instant(rec.Written)
		}
	}
	if diff := cmp.Diff(map[string]string{"r-1": "2026-03-01T01:00:00Z", "r-2": "2026-03-01T02:00:00Z"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWrittenOfAction: an action has the time of its append, in Next and among the entries.
func TestWrittenOfAction(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{Now: func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }})
	act, err := cohort.NewAction(cohort.Withdraw, cohort.Aim{RunID: "r"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append([]cohort.Record{act}); err != nil {
		t.Fatal(err)
	}
	s := streams(t, root)[0]
	rec, err := opened(t, root, s).Next()
	if err != nil {
		t.Fatal(err)
	}
	got := []string{instant(rec.Written)}
	for e, err := range Entries(root.Segment(s.Cohort, s.ID), s) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Kind+" "+instant(e.Written))
	}
	if diff := cmp.Diff([]string{"2026-03-01T12:00:00Z", "header ", "action 2026-03-01T12:00:00Z"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
