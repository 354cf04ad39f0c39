package compactor_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/intake"
)

func importNow(t *testing.T, root cohort.Root, snapshots string, edit func(*intake.Source)) (intake.Report, string) {
	t.Helper()
	src := intake.Source{Snapshots: []intake.SnapshotsFile{{Data: strings.NewReader(snapshots)}}, Cohort: "old"}
	if edit != nil {
		edit(&src)
	}
	said := &notices{}
	report, err := intake.Import(context.Background(), compactor.Config{Root: root, Notify: said.add}, src)
	if err != nil {
		t.Fatalf("Import: %v", err)
	}
	return report, said.text()
}

// seqs are the published rows as "seq key", in file order.
func seqs(t *testing.T, root cohort.Root) []string {
	t.Helper()
	var out []string
	store := generation.New(generation.Store{Root: root})
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.Data(m)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for h, err := range d.Index.Identities() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h.Seq.String()+" "+string(h.Key))
	}
	return out
}

// old has keys of every form, with and without snapshot_seq.
const old = `{
	"plain": {"stage": "TRAINING", "snapshot_seq": 4, "timestamp": "2025-01-04T00:00:00", "auc": 0.5},
	"run:with:colons:TRAINING": {"run_id": "run:with:colons", "stage": "TRAINING", "snapshot_seq": 7.0, "auc": 0.25},
	"r-1:TRAINING": {"timestamp": "2025-01-02 00:00:00", "auc": NaN},
	"r-1:RANKING:fwd:5m:EURUSD": {"timestamp": "2025-01-01T00:00:00+01:00"},
	"r-1:RANKING:fwd:5m:EURUSD:2": {"timestamp": "2025-01-03T00:00:00Z", "note": "second attempt"}
}`

func TestImportOldKeys(t *testing.T) {
	root := newRoot(t)
	report, said := importNow(t, root, old, nil)
	want := intake.Report{Snapshots: 5, Taken: 4, Newer: 1, Fallback: 3, Generation: 1, NonFinite: 1, Zoned: 2}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if want := "3 snapshots have no snapshot_seq: ordered by timestamp\n1 values are NaN or infinite: they were read as missing\n" +
		"2 timestamps have no zone: read as UTC; name another with --assume-zone"; said != want {
		t.Errorf("notices %q, want %q", said, want)
	}
	// The two without a seq that are left lie below the lowest given one, by timestamp.
	if diff := cmp.Diff([]string{"2 r-1:TRAINING", "3 r-1:RANKING", "4 plain:TRAINING", "7 run:with:colons:TRAINING"}, seqs(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	got := rows(t, root)
	for key, want := range map[string]string{
		"plain:TRAINING": `{"auc":0.5,"cohort_id":"old","phase":"TRAINING","run_id":"plain","timestamp":"2025-01-04T00:00:00.000000Z"}`,
		"r-1:RANKING":    `{"attempt":"2","cohort_id":"old","note":"second attempt","phase":"RANKING","run_id":"r-1","symbol":"EURUSD","target":"fwd","timestamp":"2025-01-03T00:00:00.000000Z","view":"5m"}`,
	} {
		if diff := cmp.Diff(want, got[key]); diff != "" {
			t.Errorf("row %s (-want +got):\n%s", key, diff)
		}
	}
	appendTo(t, root, "c", firstLines[0])
	foldNow(t, compactor.Config{Root: root})
	if got := seqs(t, root); got[len(got)-1] != "8 a:S" {
		t.Errorf("next_seq does not go on above the imported ones: %v", got)
	}
}

func TestImportAgain(t *testing.T) {
	root := newRoot(t)
	importNow(t, root, old, nil)
	before := seqs(t, root)
	report, _ := importNow(t, root, old, nil)
	if report.Taken != 0 || report.Known != 4 || report.Generation != 1 {
		t.Errorf("importing again takes %d, knows %d, generation %d; want 0, 4, 1", report.Taken, report.Known, report.Generation)
	}
	if diff := cmp.Diff(before, seqs(t, root)); diff != "" {
		t.Errorf("rows changed (-before +after):\n%s", diff)
	}
}

func TestImportDryRun(t *testing.T) {
	root := newRoot(t)
	report, _ := importNow(t, root, old, func(s *intake.Source) { s.DryRun = true })
	if report.Taken != 4 || report.Generation != 0 {
		t.Errorf("dry run takes %d, generation %d; want 4 and 0", report.Taken, report.Generation)
	}
	if entries, err := os.ReadDir(root.DataDir()); err != nil || len(entries) != 0 {
		t.Errorf("a dry run leaves %v, %v in data/", entries, err)
	}
}

// TestImportNeverBeatsAnAppend shows that a row from the future of another clock loses against a record
// that was appended.
func TestImportNeverBeatsAnAppend(t *testing.T) {
	const future = `{"a:S": {"run_id": "a", "stage": "S", "snapshot_seq": 900, "timestamp": "2099-01-01T00:00:00Z", "v": 7}}`
	for _, importFirst := range []bool{true, false} {
		root := newRoot(t)
		if importFirst {
			importNow(t, root, future, nil)
		}
		appendTo(t, root, "c", firstLines[0])
		foldNow(t, compactor.Config{Root: root})
		if !importFirst {
			if report, _ := importNow(t, root, future, nil); report.Newer != 1 || report.Taken != 0 {
				t.Errorf("import over an append takes %d, %d newer; want 0 and 1", report.Taken, report.Newer)
			}
		}
		if diff := cmp.Diff(map[string]string{"a:S": "1"}, values(t, root)); diff != "" {
			t.Errorf("import first: %v: rows (-want +got):\n%s", importFirst, diff)
		}
	}
}

// TestImportDistantSeqs: seqs that are further apart than an int of 32 bits can tell stay in their order.
func TestImportDistantSeqs(t *testing.T) {
	root := newRoot(t)
	importNow(t, root, `{"x:S": {"snapshot_seq": 4000000000}, "y:S": {"snapshot_seq": 1}, "z:S": {"snapshot_seq": 9000000000000000}}`, nil)
	if diff := cmp.Diff([]string{"1 y:S", "4000000000 x:S", "9000000000000000 z:S"}, seqs(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestImportRenumbersTakenSeqs(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	report, _ := importNow(t, root, `{"x:S": {"snapshot_seq": 2}, "y:S": {"snapshot_seq": 9}}`, nil)
	if report.Renumbered != 1 || report.Taken != 2 {
		t.Errorf("%d renumbered, %d taken; want 1 and 2", report.Renumbered, report.Taken)
	}
	if diff := cmp.Diff([]string{"1 a:S", "2 b:S", "9 y:S", "10 x:S"}, seqs(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestImportLeavesOutWithReason(t *testing.T) {
	root := newRoot(t)
	report, said := importNow(t, root, `{
		"a:S": {"cohort_id": "../x"}, "b:S": [1], "c:S": {"snapshot_seq": "x"}, "d:S": {"snapshot_seq": -1},
		"ok": {"timestamp": "last tuesday"}, ":S": {"v": 1}}`, nil)
	if report.Left != 5 || report.Taken != 1 {
		t.Errorf("%d left out, %d taken; want 5 and 1; notices:\n%s", report.Left, report.Taken, said)
	}
	for _, want := range []string{
		`snapshot "a:S" left out: cohort name "../x" starts with a dot`, `snapshot "b:S" left out: is not an object`,
		`snapshot "c:S" left out: snapshot_seq "x" is not a whole number`, `snapshot "d:S" left out: snapshot_seq -1 is not`,
		`snapshot ":S" left out: run_id is missing`,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("notices:\n%s\nwant %q", said, want)
		}
	}
	// A plain key without a stage gets UNKNOWN, and a time that cannot be read stays in the record.
	if got := rows(t, root)["ok:UNKNOWN"]; !strings.Contains(got, `"imported_timestamp":"last tuesday"`) {
		t.Errorf("row ok:UNKNOWN = %s", got)
	}
	if _, err := intake.Import(context.Background(), compactor.Config{Root: root}, intake.Source{Snapshots: []intake.SnapshotsFile{{Data: strings.NewReader(`{"a": {`)}}, Cohort: "old"}); err == nil {
		t.Error("Import of a file that is cut off = nil, want an error")
	}
	if report, _ := importNow(t, newRoot(t), `{"a:S": {}}`, func(s *intake.Source) { s.Cohort = "" }); report.Left != 1 {
		t.Errorf("a row without a cohort: %d left out, want 1", report.Left)
	}
}

// TestImportOwnFiles takes both published files of one root into another: a row finds its snapshot, and
// nothing is lost on the way.
func TestImportOwnFiles(t *testing.T) {
	from := newRoot(t)
	appendTo(t, from, "c", `{"run_id":"a","stage":"S","timestamp":"2026-01-01T00:00:00Z","v":1,"deep":{"x":[1,2]},"snapshot":{"f":25000.0}}`,
		`{"run_id":"b","stage":"S","timestamp":"2026-01-02T00:00:00Z","v":"text","metrics":{"auc":0.5},"tags":{"t":true}}`)
	foldNow(t, compactor.Config{Root: from})
	ix, err := os.Open(from.Index())
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	info, err := ix.Stat()
	if err != nil {
		t.Fatal(err)
	}
	snapshots, err := os.ReadFile(from.Snapshots())
	if err != nil {
		t.Fatal(err)
	}
	to := newRoot(t)
	report, _ := importNow(t, to, string(snapshots), func(s *intake.Source) { s.Indexes, s.Cohort = []intake.IndexFile{{Data: ix, Size: info.Size()}}, "" })
	if report.Rows != 2 || report.Snapshots != 2 || report.Taken != 2 || report.Left != 0 {
		t.Errorf("report %+v", report)
	}
	if diff := cmp.Diff(seqs(t, from), seqs(t, to)); diff != "" {
		t.Errorf("seqs (-from +to):\n%s", diff)
	}
	if diff := cmp.Diff(rows(t, from), rows(t, to)); diff != "" {
		t.Errorf("rows (-from +to):\n%s", diff)
	}
	after, err := os.ReadFile(to.Snapshots())
	if err != nil || !strings.Contains(string(after), `"f":25000.0`) {
		t.Errorf("snapshots of the new root, %v:\n%s", err, after)
	}
}
