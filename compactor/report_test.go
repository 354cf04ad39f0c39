package compactor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// beforeChange is a file system that does something once, right before the first call of this name on a path that begins so.
func beforeChange(call, path string, do func() error) *durabletest.Fault {
	done := false
	return &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
		if done || op != call || !strings.HasPrefix(name, path) {
			return nil
		}
		done = true
		return do()
	}}
}

// ofEach is a root in which the next fold has something to count of each kind that a commit brings.
func ofEach(t *testing.T) cohort.Root {
	t.Helper()
	root := newDamagedRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1,"target":"x"}`)
	torn := abandoned(t, root, "c", `{"run_id":"b","stage":"S","v":1,"record_id":"one"}`, `{"run_id":"lost","stage":"S"}`)
	change(t, torn, func(b []byte) []byte { return b[:len(b)-9] })
	foldNow(t, compactor.Config{Root: root})
	s, err := streamAt(filepath.Dir(torn))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Dir(torn), root.Reaped(s.Cohort, s.ID)); err != nil { // by a fold that ended there
		t.Fatal(err)
	}
	appendTo(t, root, "e", `{"run_id":"e","stage":"S","v":1}`, `{"run_id":"damaged","stage":"S","v":1}`)
	for _, s := range listed(t, root) {
		if s.Cohort == "e" {
			flipEntryOf(t, root.Segment(s.Cohort, s.ID), 2)
		}
	}
	appendTo(t, root, "d", `{"run_id":"a","stage":"S","v":1.5,"target":"y"}`, `{"run_id":"b","stage":"S","v":1,"record_id":"one"}`,
		`{"run_id":"f","stage":"S","v":"text"}`, `{"run_id":"f","stage":"S","v":"text","new":true}`)
	return root
}

// committed is the part of a report that comes with a commit. Of the bytes that were written only whether there are any.
func committed(r compactor.Report) compactor.Report {
	r.Written = min(r.Written, 1)
	return compactor.Report{
		Commits: r.Commits, Records: r.Records, Added: r.Added, Replaced: r.Replaced, Superseded: r.Superseded,
		Duplicates: r.Duplicates, Repeated: r.Repeated, ByID: r.ByID, Narrowing: r.Narrowing, Extra: r.Extra, Rewrites: r.Rewrites,
		Merged: r.Merged, TornTails: r.TornTails, Damage: r.Damage,
	}
}

// ofEachCounted is what the fold of ofEach counts.
var ofEachCounted = compactor.Report{
	Commits: 1, Records: 5, Added: 2, Replaced: 1, Superseded: 1, Repeated: 1, Narrowing: ofEachNarrow, Extra: 1, Rewrites: 1,
	Merged: generation.Merged{GroupsWritten: 1, RowsWritten: 4, Bytes: generation.Bytes{Written: 1}}, TornTails: 1, Damage: 1,
}

var ofEachNarrow = compactor.Narrowing{Narrow: 1, NarrowFields: []string{"cohort_id", "target"}, NarrowExamples: []compactor.Narrowed{
	{Key: "a:S", Differs: []cohort.Difference{{Field: "cohort_id", Gone: "c", Stays: "d"}, {Field: "target", Gone: "x", Stays: "y"}}},
}}

// TestReportOfALostCommit: of two compactors that fold the same, one commits. Its report counts all, that of the other one
// nothing, and the other one does not tell that rows were written again.
func TestReportOfALostCommit(t *testing.T) {
	root := ofEach(t)
	var won compactor.Report
	fsys := beforeChange("link", root.Manifests(), func() error {
		won = foldNow(t, compactor.Config{Root: root, Lock: yes{}})
		return nil
	})
	said := &notices{}
	lost := foldNow(t, compactor.Config{Root: root, Lock: yes{}, FS: fsys, Notify: said.add})
	if lost.Conflicts != 1 {
		t.Fatalf("%d conflicts, want 1", lost.Conflicts)
	}
	if diff := cmp.Diff(ofEachCounted, committed(won)); diff != "" {
		t.Errorf("the one that committed counts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(compactor.Report{}, committed(lost)); diff != "" {
		t.Errorf("the one that lost counts (-want +got):\n%s", diff)
	}
	if strings.Contains(said.text(), "written again") {
		t.Errorf("the one that lost says:\n%s", said.text())
	}
}

// TestReportOfARefusedCommit: a fold that could not commit counts nothing, and tells of no rows that were written.
func TestReportOfARefusedCommit(t *testing.T) {
	root := ofEach(t)
	said := &notices{}
	fsys := beforeChange("link", root.Manifests(), func() error { return syscall.EIO })
	report, err := compactor.Fold(context.Background(), compactor.Config{Root: root, FS: fsys, Notify: said.add})
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("Fold = %v, want EIO", err)
	}
	if diff := cmp.Diff(compactor.Report{}, committed(report)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if strings.Contains(said.text(), "written again") {
		t.Errorf("notices:\n%s", said.text())
	}
}

// TestReportOfAnUnpublishedCommit: what was committed counts, although it could not be published.
func TestReportOfAnUnpublishedCommit(t *testing.T) {
	root := ofEach(t)
	fsys := beforeChange("rename", root.Index(), func() error { return syscall.EIO })
	report, err := compactor.Fold(context.Background(), compactor.Config{Root: root, FS: fsys})
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("Fold = %v, want EIO", err)
	}
	if diff := cmp.Diff(ofEachCounted, committed(report)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if report.Generation != 2 || report.Rows != 4 {
		t.Errorf("generation %d with %d rows, want 2 with 4", report.Generation, report.Rows)
	}
}

// TestNoConflictWithOneself: a data file vanishes between our own commit and its publishing. Nobody else committed, and
// nobody is said to have.
func TestNoConflictWithOneself(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", firstLines...)
	said := &notices{}
	fsys := beforeChange("link", filepath.Join(string(root), ".index.parquet"), func() error {
		return os.Remove(root.Data(newestOn(t, root).Index.Name))
	})
	report, err := compactor.Fold(context.Background(), compactor.Config{Root: root, FS: fsys, Notify: said.add})
	if err == nil || report.Conflicts != 0 || said.text() != "" {
		t.Errorf("Fold = %v with %d conflicts, and says %q; want an error and neither", err, report.Conflicts, said.text())
	}
}

const oldOnes = `{"x:S": {"snapshot_seq": 8, "v": 3}, "y:S": {"v": 3.5}, "a:S": {"snapshot_seq": 1, "v": 3}}`

// importNarrow is what importOn finds of the key: a row of another cohort.
var importNarrow = compactor.Narrowing{Narrow: 1, NarrowFields: []string{"cohort_id"}, NarrowExamples: []compactor.Narrowed{
	{Key: "a:S", Differs: []cohort.Difference{{Field: "cohort_id", Gone: "old", Stays: "c"}}},
}}

func importOn(root cohort.Root, fsys durable.FS, said *notices) (intake.Report, error) {
	src := intake.Source{Snapshots: []intake.SnapshotsFile{{Data: strings.NewReader(oldOnes)}}, Cohort: "old"}
	return intake.Import(context.Background(), compactor.Config{Root: root, Lock: yes{}, FS: fsys, Notify: said.add}, src)
}

// TestImportReportOfALostCommit: another import of the same takes its place. What is reported is the attempt that came
// after, and each notice is given once.
func TestImportReportOfALostCommit(t *testing.T) {
	root := prepared(t)
	fsys := beforeChange("link", root.Manifests(), func() error {
		_, err := importOn(root, durable.OS, &notices{})
		return err
	})
	said := &notices{}
	got, err := importOn(root, fsys, said)
	if err != nil {
		t.Fatal(err)
	}
	want := intake.Report{Snapshots: 3, Known: 2, Newer: 1, Fallback: 1, Generation: 2, Narrowing: importNarrow}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	wantSaid := "1 snapshots have no snapshot_seq: ordered by timestamp\nanother compactor committed generation 2 first: folding again\n" +
		compactor.NarrowKey{Narrowing: importNarrow}.String()
	if diff := cmp.Diff(wantSaid, said.text()); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
}

// TestImportReportOfARefusedCommit: an import that could not commit took nothing.
func TestImportReportOfARefusedCommit(t *testing.T) {
	root := prepared(t)
	said := &notices{}
	got, err := importOn(root, beforeChange("link", root.Manifests(), func() error { return syscall.EIO }), said)
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("Import = %v, want EIO", err)
	}
	if diff := cmp.Diff(intake.Report{Snapshots: 3, Fallback: 1, Generation: 1}, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if strings.Contains(said.text(), "written again") {
		t.Errorf("notices:\n%s", said.text())
	}
}

// TestImportReportOfAnUnpublishedCommit: it took what it committed, although that could not be published.
func TestImportReportOfAnUnpublishedCommit(t *testing.T) {
	root := preparedIn(t, newDamagedRoot(t))
	got, err := importOn(root, beforeChange("rename", root.Index(), func() error { return syscall.EIO }), &notices{})
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("Import = %v, want EIO", err)
	}
	if diff := cmp.Diff(intake.Report{Snapshots: 3, Taken: 2, Newer: 1, Fallback: 1, Generation: 2, Narrowing: importNarrow}, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

// TestNarrowKeyOfAFoldThatFails: what gave way in a batch that was committed is told, although a later one could not be.
func TestNarrowKeyOfAFoldThatFails(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","target":"x"}`, `{"run_id":"a","stage":"S","target":"y"}`)
	appendTo(t, root, "c", `{"run_id":"b","stage":"S","target":"x"}`, `{"run_id":"b","stage":"S","target":"y"}`)
	commits := 0
	fsys := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
		if op != "link" || !strings.HasPrefix(name, root.Manifests()) {
			return nil
		}
		if commits++; commits > 2 { // each has one record: the second replaces the row of the first
			return syscall.EIO
		}
		return nil
	}}
	said := &notices{}
	report, err := compactor.Fold(t.Context(), compactor.Config{Root: root, FS: fsys, BatchBytes: 1, Notify: said.add})
	if !errors.Is(err, syscall.EIO) || report.Commits != 2 {
		t.Fatalf("Fold = %v after %d commits, want EIO after two", err, report.Commits)
	}
	if report.Narrow == 0 || !strings.Contains(said.text(), (compactor.NarrowKey{Narrowing: report.Narrowing}).String()) {
		t.Errorf("%d gave way, says %q", report.Narrow, said.text())
	}
}
