package compactor_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// strayed is a root with the index of another copy of it, which has a row that the newest generation lacks. It also returns the stream of that row, and what stood in it.
func strayed(t *testing.T) (root cohort.Root, name, stream string, segment []byte) {
	t.Helper()
	root = newRoot(t)
	appendTo(t, root, "c", firstLines[0])
	foldNow(t, compactor.Config{Root: root})
	other := cohort.Root(filepath.Join(t.TempDir(), "other"))
	if err := os.CopyFS(string(other), os.DirFS(string(root))); err != nil {
		t.Fatal(err)
	}
	appendTo(t, other, "c", secondLines[1])
	path := onlyStreamIn(t, other)
	segment, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	foldNow(t, compactor.Config{Root: other})
	appendTo(t, root, "c", `{"run_id":"here","stage":"S"}`)
	foldNow(t, compactor.Config{Root: root})
	return root, takeIndex(t, other, root), filepath.Base(filepath.Dir(path)), segment
}

// TestStrandedRowsHaveNoStream: an index of another copy of the root has a row that the newest generation lacks. While its stream lies anywhere,
// in quarantine/ as well, the row is not nowhere else.
func TestStrandedRowsHaveNoStream(t *testing.T) {
	root, name, stream, segment := strayed(t)

	kept := filepath.Join(root.Quarantine("c"), stream)
	if err := os.MkdirAll(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, cohort.SegmentIn(kept), segment)
	if found := strandedIn(t, root); found != 0 {
		t.Errorf("%d files have rows that are nowhere else, while their stream is in quarantine/", found)
	}
	if err := os.RemoveAll(kept); err != nil {
		t.Fatal(err)
	}
	if found := strandedIn(t, root); found != 1 {
		t.Errorf("%d files have rows that are nowhere else, want 1", found)
	}
	if err := os.Remove(root.Data(name)); err != nil { // newRoot wants a root without damage at the end
		t.Fatal(err)
	}
}

// TestStrandedWithdrawals: another copy of the root withdrew a row, and brought one that was withdrawn at once. Its files came here, its
// manifest did not. The action and the row are nowhere else: nothing is removed, by a sweep neither, and it is told.
func TestStrandedWithdrawals(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", firstLines[0])
	foldNow(t, compactor.Config{Root: root})
	other := cohort.Root(filepath.Join(t.TempDir(), "other"))
	if err := os.CopyFS(string(other), os.DirFS(string(root))); err != nil {
		t.Fatal(err)
	}
	appendTo(t, other, "c", secondLines[1], `{"action":"withdraw","run_id":"a"}`, `{"action":"withdraw","run_id":"c"}`)
	foldNow(t, compactor.Config{Root: other})
	appendTo(t, root, "c", `{"run_id":"here","stage":"S"}`)
	foldNow(t, compactor.Config{Root: root})
	m := newestOn(t, other)
	for _, f := range m.Withdrawn.Files() {
		put(t, root.Data(f.Name), read(t, other.Data(f.Name)))
	}
	found := damage(t, root)
	for _, want := range []string{
		"data/" + m.Withdrawn.Actions.Name + ": 2 actions in it are nowhere else, and their streams are gone",
		"data/" + m.Withdrawn.Index.Name + ": 1 row in it is nowhere else, and its stream is gone: two copies of this root were merged by a file tool; nothing is removed: take it in with compactd import --index, and withdraw again what it held",
	} {
		if !strings.Contains(found, want) {
			t.Errorf("check finds\n%s\nwant %q in it", found, want)
		}
	}
	said := &notices{}
	for range 3 {
		appendTo(t, root, "c", `{"run_id":"here","stage":"S"}`)
		cfg := keepFew(root, durable.OS)
		cfg.Notify = said.add
		compactor.Fold(t.Context(), cfg) // it tells, and ends with damage or not
	}
	if text := said.text(); !strings.Contains(text, "2 actions in it are nowhere else") {
		t.Errorf("folds say\n%s", text)
	}
	for _, f := range m.Withdrawn.Files() {
		if !exists(root.Data(f.Name)) {
			t.Errorf("%s is gone", f.Name)
		}
	}
}

// onlyStreamIn is the segment of the one stream under cohorts/.
func onlyStreamIn(t *testing.T, root cohort.Root) string {
	t.Helper()
	all, err := filepath.Glob(cohort.SegmentIn(filepath.Join(root.Cohorts(), "*", "*")))
	if err != nil || len(all) != 1 {
		t.Fatalf("segments %v, %v; want one", all, err)
	}
	return all[0]
}

// takeIndex puts the newest index of another copy of a root among the data files of the root.
func takeIndex(t *testing.T, from, to cohort.Root) (name string) {
	t.Helper()
	name = newestOn(t, from).Index.Name
	data, err := os.ReadFile(from.Data(name))
	if err != nil {
		t.Fatal(err)
	}
	put(t, to.Data(name), data)
	return name
}

// TestStrandedSeenLate: a machine on a share tells of rows that are nowhere else, but not of those of a file that was written a moment ago, whose stream it may not
// see yet.
func TestStrandedSeenLate(t *testing.T) {
	root, name, _, _ := strayed(t)

	cfg := compactor.Config{Root: root, FS: &durabletest.Late{FS: durable.OS}}
	if found := strandedBy(t, cfg); found != 0 {
		t.Errorf("%d files that were written a moment ago have rows that are nowhere else", found)
	}
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(root.Data(name), hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	if found := strandedBy(t, cfg); found != 1 {
		t.Errorf("%d files have rows that are nowhere else, want 1", found)
	}
	if err := os.Remove(root.Data(name)); err != nil { // newRoot wants a root without damage at the end
		t.Fatal(err)
	}
}

// strandedIn counts the index files of which Check says that rows are nowhere else.
func strandedIn(t *testing.T, root cohort.Root) int {
	return strandedBy(t, compactor.Config{Root: root})
}

func strandedBy(t *testing.T, cfg compactor.Config) (n int) {
	t.Helper()
	_, err := audit.Check(context.Background(), cfg, func(p audit.Problem) {
		if p.Damage && filepath.Dir(p.Path) == "data" {
			n++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
