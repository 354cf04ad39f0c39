package compactor

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// stopped is a root with one stream whose writer is taken for dead although it lives: the stream lies in
// reaped/ and was folded there. It returns its segment in reaped/ and the bytes of another record
// that the writer could still have written.
func stopped(t *testing.T, root cohort.Root) (segment string, late []byte) {
	t.Helper()
	w := openWriter(t, root, "c")
	t.Cleanup(func() { w.Close() })
	appendLines(t, w, firstLines[0], firstLines[1])
	s := listed(t, root)[0]
	path := root.Segment(s.Cohort, s.ID)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := lastEntry(t, path, s)
	change(t, path, func(b []byte) []byte { return b[:cut] })
	foldNow(t, Config{Root: root})
	if r := foldNow(t, Config{Root: root, DeadAfter: -1}); r.Reaped != 1 {
		t.Fatalf("%d streams were reaped, want 1", r.Reaped)
	}
	return cohort.SegmentIn(root.Reaped(s.Cohort, s.ID)), whole[cut:]
}

func lastEntry(t *testing.T, path string, s journal.Stream) (offset int64) {
	t.Helper()
	for e, err := range journal.Entries(durable.OS, path, s) {
		if err != nil {
			t.Fatal(err)
		}
		offset = e.Offset
	}
	return offset
}

func extend(t *testing.T, path string, with []byte) {
	t.Helper()
	change(t, path, func(b []byte) []byte { return append(bytes.Clone(b), with...) })
}

// TestReapReadsWhatComesLate: a writer whose view of its path is old acknowledges a record behind the move. It
// is folded, and the grace begins anew with it.
func TestReapReadsWhatComesLate(t *testing.T) {
	root := newRoot(t)
	segment, late := stopped(t, root)
	extend(t, segment, late)
	foldNow(t, Config{Root: root, ReapGrace: time.Hour})
	if diff := cmp.Diff(map[string]string{"a:S": "1", "b:S": "1"}, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestReapKeepsWhatGrew: a stream that grew behind the last look is not deleted, however long the grace
// is over; it is read first.
func TestReapKeepsWhatGrew(t *testing.T) {
	root := newRoot(t)
	segment, late := stopped(t, root)
	cfg := Config{Root: root, ReapGrace: -1}
	prev := newestOn(t, root)
	appendTo(t, root, "d", secondLines[1])
	next := foldWithout(t, root)
	extend(t, segment, late) // between the scan of next and its sweep
	f, err := newFolder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.emptyReaped(prev, next, f.now(next))
	if _, err := os.Stat(segment); err != nil {
		t.Fatalf("the stream is gone, and a record with it: %v", err)
	}
	foldNow(t, cfg)
	if diff := cmp.Diff(map[string]string{"a:S": "1", "b:S": "1", "c:S": "2"}, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// newestOn is the newest manifest of a root.
func newestOn(t *testing.T, root cohort.Root) head {
	t.Helper()
	h, err := latest(durable.OS, root)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// foldWithout folds with a grace that nothing outlives.
func foldWithout(t *testing.T, root cohort.Root) head {
	t.Helper()
	foldNow(t, Config{Root: root, ReapGrace: time.Hour})
	return newestOn(t, root)
}

// TestReapWaits: neither the age nor the grace is over, so the stream stays where it is.
func TestReapWaits(t *testing.T) {
	root := newRoot(t)
	segment := abandoned(t, root, "c", firstLines...)
	for range 3 {
		appendTo(t, root, "d", secondLines...)
		foldNow(t, Config{Root: root, DeadAfter: time.Hour})
	}
	if _, err := os.Stat(segment); err != nil {
		t.Errorf("a stream that grew within the hour: %v", err)
	}
	foldNow(t, Config{Root: root, DeadAfter: -1})
	reaped := strings.Replace(segment, "cohorts", "reaped", 1)
	for range 3 {
		appendTo(t, root, "d", secondLines...)
		foldNow(t, Config{Root: root, DeadAfter: -1, ReapGrace: time.Hour})
	}
	if _, err := os.Stat(reaped); err != nil {
		t.Errorf("a reaped stream within its grace: %v", err)
	}
	for range 2 {
		appendTo(t, root, "d", secondLines...)
		foldNow(t, Config{Root: root, DeadAfter: -1, ReapGrace: -1})
	}
	if _, err := os.Stat(filepath.Dir(reaped)); !os.IsNotExist(err) {
		t.Errorf("a reaped stream behind its grace: %v", err)
	}
}

// TestReapNeedsTwoLooks: a stream that no manifest has seen yet is never reaped, whatever the ages are.
func TestReapNeedsTwoLooks(t *testing.T) {
	root := newRoot(t)
	segment := abandoned(t, root, "c", firstLines...)
	foldNow(t, Config{Root: root, DeadAfter: -1, ReapGrace: -1})
	if _, err := os.Stat(segment); err != nil {
		t.Error(err)
	}
}

// TestStreamInTwoPlaces: somebody copied a reaped stream back. Its place in the cohort is the one that
// counts, and nothing is deleted for it.
func TestStreamInTwoPlaces(t *testing.T) {
	root := newRoot(t)
	segment, late := stopped(t, root)
	s, err := streamAt(filepath.Dir(segment))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(root.Stream(s.Cohort, s.ID), os.DirFS(filepath.Dir(segment))); err != nil {
		t.Fatal(err)
	}
	extend(t, root.Segment(s.Cohort, s.ID), late)
	for range 3 {
		appendTo(t, root, "d", secondLines[1])
		foldNow(t, Config{Root: root, DeadAfter: -1, ReapGrace: time.Hour})
	}
	if diff := cmp.Diff(map[string]string{"a:S": "1", "b:S": "1", "c:S": "2"}, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
