package compactor_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/journal"
)

// foundBy is what check says of a root.
func foundBy(t *testing.T, root cohort.Root) (out []string) {
	t.Helper()
	_, err := audit.Check(context.Background(), compactor.Config{Root: root}, func(p audit.Problem) {
		out = append(out, p.String())
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestZerosAreTheEnd: the zeros that a writer has put ahead are no damage, no torn bytes and no growth for folds, status, check and dump, wherever
// the stream lies. Its writer was killed, so it is reaped and deleted as any other.
func TestZerosAreTheEnd(t *testing.T) {
	root := newRoot(t)
	segment := abandoned(t, root, "c", firstLines[0])
	want, err := dumped(t, segment)
	if err != nil {
		t.Fatal(err)
	}
	extend(t, segment, make([]byte, 100_000))
	looks := func(when string) {
		t.Helper()
		if got, err := dumped(t, segment); err != nil || got != want {
			t.Errorf("%s: dump says %v\n%s\nwant\n%s", when, err, got, want)
		}
		if found := foundBy(t, root); len(found) > 0 {
			t.Errorf("%s: check finds %q", when, found)
		}
		s, err := audit.ReadStatus(context.Background(), compactor.Config{Root: root})
		if err != nil || s.Cohorts[0].TornBytes != 0 || s.Cohorts[0].Damaged+s.Cohorts[0].Unreadable != 0 || s.Cohorts[0].UnfoldedBytes > 1000 {
			t.Errorf("%s: status says %+v, %v", when, s.Cohorts, err)
		}
	}
	looks("before a fold")
	foldNow(t, compactor.Config{Root: root})
	looks("after a fold")
	if got, _ := unsealedOf(t, compactor.Config{Root: root}); !slices.Equal(got, []string{"c " + string(compactor.MayLive)}) {
		t.Errorf("before it is reaped, status says %q", got)
	}
	// A writer that goes on puts more zeros there. That alone is no sign of life.
	extend(t, segment, make([]byte, 50_000))
	if r := foldNow(t, compactor.Config{Root: root, DeadAfter: -1}); r.Reaped != 1 || r.TornTails != 0 {
		t.Errorf("%d streams were reaped, want 1; %d torn", r.Reaped, r.TornTails)
	}
	s := inReaped(t, root, "c")[0]
	segment = cohort.SegmentIn(root.Reaped(s.Cohort, s.ID))
	looks("in reaped/")
	for i := range 3 {
		appendTo(t, root, "other", thirdLines[i%len(thirdLines)])
		if r := foldNow(t, compactor.Config{Root: root, ReapGrace: -1}); r.TornTails+r.Damage != 0 {
			t.Errorf("a fold found %d torn tails and %d damaged places", r.TornTails, r.Damage)
		}
	}
	if n := len(inReaped(t, root, "c")); n != 0 {
		t.Errorf("%d streams are in reaped/ after the grace, want none", n)
	}
	if _, err := os.Stat(root.Quarantine("c")); err == nil {
		t.Error("something was quarantined")
	}
}

// TestTornInFrontOfZeros: of a dead stream only what is no zero is kept as its torn end.
func TestTornInFrontOfZeros(t *testing.T) {
	root := newDamagedRoot(t)
	segment := abandoned(t, root, "c", firstLines...)
	var cut []byte
	change(t, segment, func(b []byte) []byte {
		cut = b[:len(b)-9]
		return append(bytes.Clone(cut), make([]byte, 70_000)...)
	})
	foldNow(t, compactor.Config{Root: root})
	s, err := audit.ReadStatus(context.Background(), compactor.Config{Root: root})
	end := lastEntryOf(t, cut, segment)
	if err != nil || s.Cohorts[0].TornBytes != int64(len(cut))-end {
		t.Errorf("status says %+v, %v, want %d torn bytes", s.Cohorts, err, int64(len(cut))-end)
	}
	foldNow(t, compactor.Config{Root: root, DeadAfter: -1})
	if m := newestOn(t, root).Streams[0]; m.Torn != int64(len(cut))-end || m.Size() != int64(len(cut)) || m.Reaped == 0 {
		t.Errorf("watermark %+v, want %d torn bytes", m, int64(len(cut))-end)
	}
	for range 3 {
		appendTo(t, root, "other", thirdLines[0])
		foldNow(t, compactor.Config{Root: root, ReapGrace: -1})
	}
	if n := len(inReaped(t, root, "c")); n != 0 {
		t.Errorf("%d streams are in reaped/ after the grace, want none", n)
	}
	kept, err := filepath.Glob(filepath.Join(root.Quarantine("c"), "*.json"))
	if err != nil || len(kept) != 1 {
		t.Errorf("kept %q, %v", kept, err)
	}
}

// lastEntryOf is where the last whole entry of these bytes ends.
func lastEntryOf(t *testing.T, data []byte, segment string) (end int64) {
	t.Helper()
	s, err := streamAt(filepath.Dir(segment))
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "seg")
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for e, err := range journal.Entries(copied, s) {
		if err == nil {
			end = e.Offset + e.Size
		}
	}
	return end
}

// TestGrownOverZeros: a writer that was taken for dead writes over its zeros between the last look and the sweep, so the size of its segment stays.
// It is not deleted. The next fold reads what came.
func TestGrownOverZeros(t *testing.T) {
	root := newRoot(t)
	segment, late := stopped(t, root)
	size := 0
	change(t, segment, func(b []byte) []byte {
		size = len(b)
		return append(bytes.Clone(b), make([]byte, 10_000)...)
	})
	prev := newestOn(t, root)
	appendTo(t, root, "d", secondLines[1])
	next := foldWithout(t, root)
	change(t, segment, func(b []byte) []byte {
		copy(b[size:], late)
		return b
	})
	keepsLate(t, compactor.Config{Root: root, ReapGrace: -1}, prev, next, segment)
}
