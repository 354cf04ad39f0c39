package compactor_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// inReaped are the streams of a cohort that lie in reaped/.
func inReaped(t *testing.T, root cohort.Root, id cohort.ID) []journal.Stream {
	t.Helper()
	return slices.DeleteFunc(listedOn(t, durable.OS, root, true), func(s journal.Stream) bool { return s.Cohort != id })
}

// TestSharedFileIsNoSecondGeneration is R18: a commit that names the data files of the one before does not count as a second
// generation for the streams whose records these files hold. If the shared file is damaged, only the streams have its rows.
func TestSharedFileIsNoSecondGeneration(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", firstLines...)
	w := openWriter(t, root, "c")
	appendLines(t, w, secondLines...)
	foldNow(t, compactor.Config{Root: root})
	if err := w.Close(); err != nil { // a seal: it changes no row
		t.Fatal(err)
	}
	foldNow(t, compactor.Config{Root: root})
	if h := newestOn(t, root); h.Generation != 2 || !strings.HasPrefix(h.Index.Name, "index-00000000000000000001-") {
		t.Fatalf("generation %v has %s: want 2, with the files of 1", h.Generation, h.Index.Name)
	}
	if n := len(inReaped(t, root, "c")); n != 2 {
		t.Errorf("%d streams are in reaped/ after a commit that shares the files: want both", n)
	}
	saved := t.TempDir()
	if err := os.CopyFS(saved, os.DirFS(string(root))); err != nil {
		t.Fatal(err)
	}
	spoil(t, root, "index", 2)
	r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: true})
	if err != nil || !r.Lossless() {
		t.Errorf("Repair = %+v, %v, lossless %v; want no loss", r, err, r.Lossless())
	}
	if diff := cmp.Diff(bothRows, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	// If the file is whole, a generation with files of its own deletes the streams.
	whole := cohort.Root(saved)
	appendTo(t, whole, "c", thirdLines...)
	foldNow(t, compactor.Config{Root: whole})
	if n := len(inReaped(t, whole, "c")); n != 1 {
		t.Errorf("%d streams are in reaped/ after a commit with files of its own: want the last one", n)
	}
}

// TestSharedCohortIsNoSecondGeneration is R18 in a root with snapshots per cohort. A fold that changes one cohort shares the
// snapshots files of the others. So it deletes only streams of its own cohort.
func TestSharedCohortIsNoSecondGeneration(t *testing.T) {
	root := newCohortsRoot(t)
	first := map[journal.Stream]string{} // the run in a stream
	left := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, id := range []cohort.ID{"a", "b"} {
			for _, s := range inReaped(t, root, id) {
				got = append(got, first[s])
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("streams in reaped/ after %s, by their runs (-want +got):\n%s", what, diff)
		}
	}
	add := func(id cohort.ID, run string) {
		t.Helper()
		appendTo(t, root, id, `{"run_id":"`+run+`","stage":"S","v":1}`)
		for _, s := range listed(t, root) {
			if s.Cohort == id {
				first[s] = run
			}
		}
	}
	add("a", "a1")
	add("b", "b1")
	foldNow(t, compactor.Config{Root: root})
	left("the first fold", "a1", "b1")
	add("b", "b2")
	foldNow(t, compactor.Config{Root: root})
	left("a fold of b", "a1", "b2")
	add("b", "b3")
	foldNow(t, compactor.Config{Root: root})
	left("another fold of b", "a1", "b3")
	add("a", "a2")
	foldNow(t, compactor.Config{Root: root})
	left("a fold of a", "a2", "b3")
}
