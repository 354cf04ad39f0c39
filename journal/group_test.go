package journal

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// TestLargeGroup appends more at once than a stream may hold. The records go to as many streams as are needed. Each is
// sealed and within the limit, except for a stream with one record that is larger than the limit.
func TestLargeGroup(t *testing.T) {
	const limit = 2000
	root := newRoot(t)
	w := newWriter(t, root, Options{SealBytes: limit})
	recs := make([]cohort.Record, 100)
	for i := range recs {
		recs[i] = rec(t, i+1)
	}
	large, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-101","stage":"T","x":%q}`, strings.Repeat("x", 3*limit)), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(append(recs, large, rec(t, 102))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(runs(1, 102), all(t, root)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	over := 0
	for _, s := range streams(t, root) {
		info, err := os.Stat(root.Segment(s.Cohort, s.ID))
		if err != nil {
			t.Fatal(err)
		}
		c, _ := read(t, root, s, Position{})
		if !c.sealed {
			t.Errorf("stream %v is not sealed", s)
		}
		if info.Size() > limit+500 { // its header and seal come on top
			over++
		}
	}
	if over != 1 {
		t.Errorf("%d streams are over the limit of %d bytes, want the one with the large record", over, limit)
	}
}

// TestLargeGroupFails lets the second part of a group fail for good: the first one stays what it is, and the
// Writer is dead.
func TestLargeGroupFails(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{SealBytes: 1})
	create, n := w.create, 0
	w.create = func() (*stream, error) {
		if n++; n > 1 {
			return nil, errors.New("no more")
		}
		return create()
	}
	recs := []cohort.Record{rec(t, 1), rec(t, 2), rec(t, 3)}
	err := w.Append(recs)
	if err == nil || n != 3 {
		t.Errorf("Append = %v after %d streams, want an error after 3", err, n)
	}
	if again := w.Append(recs); again != err {
		t.Errorf("Append to a dead Writer = %v, want %v", again, err)
	}
	if diff := cmp.Diff(runs(1, 1), all(t, root)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for i, r := range recs {
		if r.ID == "" {
			t.Errorf("record %d has no id to be appended again with", i+1)
		}
	}
}

// TestHandmadeRecords refuses records whose JSON a reader would refuse, or would read as another record.
func TestHandmadeRecords(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	good := rec(t, 1)
	change := func(f func(r *cohort.Record)) cohort.Record {
		r := good
		f(&r)
		return r
	}
	for name, bad := range map[string]cohort.Record{
		"no JSON":           change(func(r *cohort.Record) { r.JSON = nil }),
		"not JSON":          change(func(r *cohort.Record) { r.JSON = []byte(`{"run_id":"r-1",`) }),
		"no object":         change(func(r *cohort.Record) { r.JSON = []byte(`[1]`) }),
		"zeros":             change(func(r *cohort.Record) { r.JSON = make([]byte, 100) }),
		"another run":       change(func(r *cohort.Record) { r.RunID = "r-2" }),
		"another stage":     change(func(r *cohort.Record) { r.Stage = "EVAL" }),
		"another timestamp": change(func(r *cohort.Record) { r.Timestamp = "2026-01-31T12:00:00Z" }),
		"another symbol":    change(func(r *cohort.Record) { r.Symbol = "EURUSD" }),
		"another family":    change(func(r *cohort.Record) { r.ModelFamily = "lgbm" }),
		"a sequence number": change(func(r *cohort.Record) {
			r.JSON = []byte(`{"run_id":"r-1","stage":"TRAINING","snapshot_seq":7}`)
		}),
	} {
		err := w.Append([]cohort.Record{good, bad})
		var re *RecordError
		if !errors.As(err, &re) || re.Index != 1 {
			t.Errorf("%s: Append = %v, want a RecordError about the second", name, err)
		}
	}
	if list := streams(t, root); len(list) > 0 {
		t.Errorf("refused records made the streams %v", list)
	}
	appendRuns(t, w, 1, 1)
}

// TestLinkedCohort refuses to append where readers do not look: they follow no links.
func TestLinkedCohort(t *testing.T) {
	root, elsewhere := newRoot(t), t.TempDir()
	w := newWriter(t, root, Options{})
	if err := os.Symlink(elsewhere, root.Cohort("c")); err != nil {
		t.Skipf("no links here: %v", err)
	}
	if _, err := Create(root, "c", Options{}); err == nil || !strings.Contains(err.Error(), "nothing outside the root is touched") {
		t.Errorf("Create = %v, want an error about links", err)
	}
	if err := w.Append([]cohort.Record{rec(t, 1)}); err == nil {
		t.Error("Append to a linked cohort succeeds")
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) > 0 {
		t.Errorf("through the link are %v, %v", entries, err)
	}
}

// TestIDs makes many ids. Each is new, and valid as the name of a stream.
func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		id := newULID()
		if _, err := cohort.ParseStreamID(id); err != nil || seen[id] {
			t.Fatalf("newULID = %q: %v, seen before: %v", id, err, seen[id])
		}
		seen[id] = true
	}
}

// TestCacheIsEmptied shows that a stream needs the memory of one group, however large the stream becomes. The library itself
// would keep all that it wrote. If this fails after an update of the library, the library works in a way that we
// do not know, which costs only memory.
func TestCacheIsEmptied(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	large := fmt.Appendf(nil, `{"run_id":"large","stage":"T","x":"%0*d"}`, 2*maxCache, 7)
	for i := range 300 {
		appendRuns(t, w, i, i)
		if i == 100 {
			r, err := cohort.ParseRecord(large, 0)
			if err == nil {
				err = w.Append([]cohort.Record{r})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	seg := w.stream.seg.(*walSegment)
	if seg.cache == nil {
		t.Fatalf("the library's cache is not known: %q", MemoryNote())
	}
	data, places := *seg.cache.data, seg.cache.places
	if len(data) != 0 || cap(data) == 0 || cap(data) > 64<<10 {
		t.Errorf("the bytes in the cache have length %d and capacity %d after 300 small appends and a large one", len(data), cap(data))
	}
	if places.Len() != 0 || places.Cap() == 0 || places.Cap() > 64<<10 {
		t.Errorf("the places in the cache have length %d and capacity %d", places.Len(), places.Cap())
	}
	if got := len(all(t, root)); got != 301 {
		t.Errorf("%d records are there, want 301", got)
	}
}
