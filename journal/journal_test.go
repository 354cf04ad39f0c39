package journal

import (
	order "cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// newRoot makes a root that lasts as long as the test.
func newRoot(t testing.TB) cohort.Root {
	t.Helper()
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := InitRoot(root, cohort.Settings{}, RootOptions{}); err != nil {
		t.Fatal(err)
	}
	return root
}

// openRoot opens a root that is there.
func openRoot(t testing.TB, dir cohort.Root) Root {
	t.Helper()
	r, err := OpenRoot(dir, RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readerOf opens a stream that nobody has moved.
func readerOf(dir cohort.Root, s Stream, from Position) (*Reader, error) {
	r, err := OpenRoot(dir, RootOptions{})
	if err != nil {
		return nil, err
	}
	return r.Open(r.InCohort(s), from)
}

func newWriter(t testing.TB, root cohort.Root, o Options) *Writer {
	t.Helper()
	w, err := Create(root, "c", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// rec is the record of run n.
func rec(t testing.TB, n int) cohort.Record {
	t.Helper()
	r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"TRAINING","n":%d}`, n, n), 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func appendRuns(t testing.TB, w *Writer, first, last int) {
	t.Helper()
	for n := first; n <= last; n++ {
		if err := w.Append([]cohort.Record{rec(t, n)}); err != nil {
			t.Fatalf("Append of run %d: %v", n, err)
		}
	}
}

// content is what a Reader finds in one stream.
type content struct {
	runs   []string
	damage []string
	torn   int64
	sealed bool
}

func read(t testing.TB, root cohort.Root, s Stream, from Position) (content, Position) {
	t.Helper()
	r, err := readerOf(root, s, from)
	if err != nil {
		t.Fatalf("Open(%v): %v", s, err)
	}
	defer r.Close()
	var c content
	for {
		rec, err := r.Next()
		var damage *CorruptError
		switch {
		case err == nil:
			c.runs = append(c.runs, rec.RunID)
		case errors.As(err, &damage):
			c.damage = append(c.damage, damage.Err.Error())
		case err == io.EOF:
			c.torn, c.sealed = r.Torn(), r.Position().Sealed
			return c, r.Position()
		default:
			t.Fatalf("Next: %v", err)
		}
	}
}

func streams(t testing.TB, root cohort.Root) []Stream {
	t.Helper()
	list, unknown, err := streamsIn(durable.OS, root.Cohorts())
	if err != nil || len(unknown) > 0 {
		t.Fatalf("streams: unknown %v, error %v", unknown, err)
	}
	return list
}

// inOrder lists the streams by their headers' stamps: names made in one millisecond have no order.
func inOrder(t testing.TB, root cohort.Root) []Stream {
	t.Helper()
	list := streams(t, root)
	begin := map[Stream]cohort.Stamp{}
	for _, s := range list {
		for e, err := range Entries(root.Segment(s.Cohort, s.ID), s) {
			if err != nil {
				t.Fatal(err)
			}
			begin[s] = e.Stamp
			break
		}
	}
	slices.SortFunc(list, func(a, b Stream) int { return order.Compare(begin[a], begin[b]) })
	return list
}

// all is every run in every stream, in the order of their stamps.
func all(t testing.TB, root cohort.Root) []string {
	t.Helper()
	var recs []cohort.Record
	for _, s := range streams(t, root) {
		r, err := readerOf(root, s, Position{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		rec, err := r.Next()
		for ; err == nil; rec, err = r.Next() {
			recs = append(recs, rec)
		}
		if err != io.EOF {
			t.Errorf("stream %v: %v", s, err)
		}
	}
	slices.SortStableFunc(recs, func(a, b cohort.Record) int { return a.Version().Compare(b.Version()) })
	var runs []string
	for _, r := range recs {
		runs = append(runs, r.RunID)
	}
	return runs
}

func runs(first, last int) []string {
	var out []string
	for n := first; n <= last; n++ {
		out = append(out, fmt.Sprintf("r-%d", n))
	}
	return out
}

func TestAppendThenRead(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	recs := []cohort.Record{rec(t, 1), rec(t, 2)}
	recs[1].ID = "mine"
	if err := w.Append(recs); err != nil {
		t.Fatal(err)
	}
	appendRuns(t, w, 3, 3)
	s := streams(t, root)[0]
	if recs[0].Stream != s.ID || recs[0].Cohort != "c" || recs[0].ID == "" || recs[1].ID != "mine" {
		t.Errorf("Append filled in %+v", recs)
	}
	if recs[0].Stamp <= 0 || recs[1].Stamp <= recs[0].Stamp {
		t.Errorf("stamps %d, %d are not increasing", recs[0].Stamp, recs[1].Stamp)
	}
	got, mid := read(t, root, s, Position{})
	if diff := cmp.Diff(content{runs: runs(1, 3)}, got, cmp.AllowUnexported(content{})); diff != "" {
		t.Errorf("live stream (-want +got):\n%s", diff)
	}
	appendRuns(t, w, 4, 5)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, end := read(t, root, s, mid)
	if diff := cmp.Diff(content{runs: runs(4, 5), sealed: true}, got, cmp.AllowUnexported(content{})); diff != "" {
		t.Errorf("from the watermark on (-want +got):\n%s", diff)
	}
	if got, _ := read(t, root, s, end); got.runs != nil || !got.sealed {
		t.Errorf("after the seal: %+v", got)
	}
	if err := w.Append(recs); !errors.Is(err, ErrClosed) {
		t.Errorf("Append after Close = %v, want ErrClosed", err)
	}
}

func TestWriterThatNeverAppendsLeavesNothing(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	if err := w.Append(nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(root.Cohorts()); err != nil || len(entries) > 0 {
		t.Errorf("cohorts/ holds %v, %v", entries, err)
	}
}

func TestInvalidRecordWritesNothing(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	bad := rec(t, 2)
	bad.Stage = "a:b"
	err := w.Append([]cohort.Record{rec(t, 1), bad})
	var re *RecordError
	if !errors.As(err, &re) || re.Index != 1 {
		t.Fatalf("Append of a bad record = %v, want a RecordError with index 1", err)
	}
	appendRuns(t, w, 3, 3)
	if diff := cmp.Diff(runs(3, 3), all(t, root)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestRollBySize(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{SealBytes: 600})
	appendRuns(t, w, 1, 20)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	list := streams(t, root)
	if len(list) < 3 {
		t.Errorf("20 records of 100 bytes in %d streams of 600 bytes", len(list))
	}
	for _, s := range list {
		c, _ := read(t, root, s, Position{})
		if !c.sealed {
			t.Errorf("stream %v is not sealed", s)
		}
	}
	if diff := cmp.Diff(runs(1, 20), all(t, root)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
