package compactor_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/doctor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
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
	foldNow(t, compactor.Config{Root: root})
	if r := foldNow(t, compactor.Config{Root: root, DeadAfter: -1}); r.Reaped != 1 {
		t.Fatalf("%d streams were reaped, want 1", r.Reaped)
	}
	return cohort.SegmentIn(root.Reaped(s.Cohort, s.ID)), whole[cut:]
}

func lastEntry(t *testing.T, path string, s journal.Stream) (offset int64) {
	t.Helper()
	for e, err := range journal.Entries(path, s) {
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

// TestReapReadsWhatComesLate: a writer that sees an old state of its path acknowledges a record after the move. The record
// is folded, and the grace begins again.
func TestReapReadsWhatComesLate(t *testing.T) {
	root := newRoot(t)
	segment, late := stopped(t, root)
	extend(t, segment, late)
	foldNow(t, compactor.Config{Root: root, ReapGrace: time.Hour})
	if diff := cmp.Diff(map[string]string{"a:S": "1", "b:S": "1"}, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestReapKeepsWhatGrew: a stream that grew after the last look is not deleted, even if the grace has long been
// over. It is read first.
func TestReapKeepsWhatGrew(t *testing.T) {
	root := newRoot(t)
	segment, late := stopped(t, root)
	cfg := compactor.Config{Root: root, ReapGrace: -1}
	prev := newestOn(t, root)
	appendTo(t, root, "d", secondLines[1])
	next := foldWithout(t, root)
	extend(t, segment, late) // between the scan of next and its sweep
	keepsLate(t, cfg, prev, next, segment)
}

// keepsLate makes sure that a sweep leaves a stream in reaped/ that has grown, and that its late record is folded.
func keepsLate(t *testing.T, cfg compactor.Config, prev, next generation.Manifest, segment string) {
	t.Helper()
	if err := compactor.EmptyReaped(cfg, prev, next); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(segment); err != nil {
		t.Fatalf("the stream is gone, and a record with it: %v", err)
	}
	foldNow(t, cfg)
	if diff := cmp.Diff(map[string]string{"a:S": "1", "b:S": "1", "c:S": "2"}, values(t, cfg.Root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// newestOn is the newest manifest of a root.
func newestOn(t *testing.T, root cohort.Root) generation.Manifest {
	t.Helper()
	h, err := newest(durable.OS, root)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// foldWithout folds with a grace of an hour, which does not end during a test.
func foldWithout(t *testing.T, root cohort.Root) generation.Manifest {
	t.Helper()
	foldNow(t, compactor.Config{Root: root, ReapGrace: time.Hour})
	return newestOn(t, root)
}

// TestReapWaits: while the age or the grace is not over, the stream stays in its place.
func TestReapWaits(t *testing.T) {
	root := newRoot(t)
	segment := abandoned(t, root, "c", firstLines...)
	for range 3 {
		appendTo(t, root, "d", secondLines...)
		foldNow(t, compactor.Config{Root: root, DeadAfter: time.Hour})
	}
	if _, err := os.Stat(segment); err != nil {
		t.Errorf("a stream that grew within the hour: %v", err)
	}
	foldNow(t, compactor.Config{Root: root, DeadAfter: -1})
	reaped := strings.Replace(segment, "cohorts", "reaped", 1)
	for range 3 {
		appendTo(t, root, "d", secondLines...)
		foldNow(t, compactor.Config{Root: root, DeadAfter: -1, ReapGrace: time.Hour})
	}
	if _, err := os.Stat(reaped); err != nil {
		t.Errorf("a reaped stream within its grace: %v", err)
	}
	for range 2 {
		appendTo(t, root, "d", secondLines...)
		foldNow(t, compactor.Config{Root: root, DeadAfter: -1, ReapGrace: -1})
	}
	if _, err := os.Stat(filepath.Dir(reaped)); !os.IsNotExist(err) {
		t.Errorf("a reaped stream after its grace: %v", err)
	}
}

// TestReapNeedsTwoLooks: a stream that no manifest has seen yet is never reaped, with any age.
func TestReapNeedsTwoLooks(t *testing.T) {
	root := newRoot(t)
	segment := abandoned(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root, DeadAfter: -1, ReapGrace: -1})
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
		foldNow(t, compactor.Config{Root: root, DeadAfter: -1, ReapGrace: time.Hour})
	}
	if diff := cmp.Diff(map[string]string{"a:S": "1", "b:S": "1", "c:S": "2"}, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestReapByLock: a free lock proves a dead writer only where that was measured.
func TestReapByLock(t *testing.T) {
	root := newRoot(t)
	if _, local, err := doctor.IsLocal(string(root)); err != nil || !local {
		t.Skipf("the directory for temporary files is on no file system that is known to be local: %v", err)
	}
	live := abandoned(t, root, "c", firstLines[0]) // its lock is held by this process
	appendTo(t, root, "d", firstLines[1])
	for _, s := range listed(t, root) {
		if s.Cohort == "d" { // as if its writer had been killed before the seal
			path := root.Segment(s.Cohort, s.ID)
			cut := lastEntry(t, path, s)
			change(t, path, func(b []byte) []byte { return b[:cut] })
		}
	}
	foldNow(t, compactor.Config{Root: root})
	locks := doctor.Check{Name: doctor.FileLocks, Result: "no"}
	for _, verdict := range []*doctor.Verdict{nil, {Version: 1, Local: true, Checks: []doctor.Check{locks}}, {Version: 1}} {
		if verdict != nil {
			saveVerdict(t, root, *verdict)
		}
		if r := foldNow(t, compactor.Config{Root: root}); r.Reaped != 0 {
			t.Errorf("with %+v a free lock was believed", verdict)
		}
	}
	locks.Result = "yes"
	saveVerdict(t, root, doctor.Verdict{Version: 1, Local: true, Checks: []doctor.Check{locks}})
	said := &notices{}
	if r := foldNow(t, compactor.Config{Root: root, Notify: said.add}); r.Reaped != 1 || !strings.Contains(said.text(), "its writer has ended") {
		t.Errorf("%d streams were reaped, want 1: %s", r.Reaped, said.text())
	}
	if _, err := os.Stat(live); err != nil {
		t.Errorf("the stream of a writer that lives: %v", err)
	}
}

func saveVerdict(t *testing.T, root cohort.Root, v doctor.Verdict) {
	t.Helper()
	if err := doctor.Save(durable.OS, root, v, 0o644); err != nil {
		t.Fatal(err)
	}
}

// refusing is a file system that refuses one call on one path.
func refusing(call, path string) *durabletest.Fault {
	return &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
		if op == call && name == path {
			return fs.ErrPermission
		}
		return nil
	}}
}

// TestReapRefused: if a stream cannot be moved, each run tells that, and does not tell that it was moved. Want of permission is told once:
// see TestUnmovableIsToldOnce.
func TestReapRefused(t *testing.T) {
	root := newRoot(t)
	abandoned(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	s := listed(t, root)[0]
	refuse := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
		if op == "rename" && name == root.Reaped(s.Cohort, s.ID) {
			return syscall.EIO
		}
		return nil
	}}
	for range 2 {
		said := &notices{}
		if r := foldNow(t, compactor.Config{Root: root, DeadAfter: -1, FS: refuse, Notify: said.add}); r.Reaped != 0 {
			t.Errorf("%d streams were reaped, want 0", r.Reaped)
		}
		if want := root.Rel(root.Stream(s.Cohort, s.ID)) + ": not removed: "; !strings.HasPrefix(said.text(), want) || strings.Contains(said.text(), "\n") {
			t.Errorf("notices %q, want one that begins with %q", said.text(), want)
		}
	}
	said := &notices{}
	if r := foldNow(t, compactor.Config{Root: root, DeadAfter: -1, Notify: said.add}); r.Reaped != 1 {
		t.Errorf("%d streams were reaped, want 1", r.Reaped)
	}
	if want := "stream " + s.String() + ": it has not grown for 0s: moved to reaped/, its records are folded"; said.text() != want {
		t.Errorf("notices %q, want %q", said.text(), want)
	}
}

// TestRepairRefused is TestReapRefused for a writer that was declared dead.
func TestRepairRefused(t *testing.T) {
	root := newRoot(t)
	abandoned(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	s := listed(t, root)[0]
	refuse := refusing("rename", root.Reaped(s.Cohort, s.ID))
	said := &notices{}
	cfg := compactor.Config{Root: root, FS: refuse, Notify: said.add}
	if _, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{Apply: true, Dead: []journal.Stream{s}}); err != nil {
		t.Fatal(err)
	}
	if want := root.Rel(root.Stream(s.Cohort, s.ID)) + ": not removed: "; !strings.HasPrefix(said.text(), want) || strings.Contains(said.text(), "\n") {
		t.Errorf("notices %q, want one that begins with %q", said.text(), want)
	}
}

// TestSweptCountsWhatIsGone: a manifest that could not be removed is not counted as swept.
func TestSweptCountsWhatIsGone(t *testing.T) {
	root := newRoot(t)
	for range 4 {
		appendTo(t, root, "c", firstLines...)
		foldNow(t, compactor.Config{Root: root})
	}
	refuse := refusing("remove", root.Manifest(1))
	if r := foldNow(t, compactor.Config{Root: root, FS: refuse, KeepGenerations: 1, KeepAge: -1}); r.SweptGens != 1 {
		t.Errorf("%d generations were swept, want 1 of 2", r.SweptGens)
	}
}
