package compactor_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake"
)

// newKeyRoot is newRoot with another key.
func newKeyRoot(t *testing.T, absent string, fields ...string) cohort.Root {
	t.Helper()
	form, err := cohort.ParseKeyForm(append([]string{"run_id", "phase"}, fields...))
	if err == nil {
		form, err = form.SpellAbsent(absent)
	}
	if err != nil {
		t.Fatal(err)
	}
	return audited(t, newRootWith(t, cohort.Settings{Key: form}))
}

// withIndex makes an import read an index, too.
func withIndex(t *testing.T, path string) func(*intake.Source) {
	t.Helper()
	return func(src *intake.Source) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		src.Indexes, src.Cohort = []intake.IndexFile{{Data: f, Size: info.Size()}}, ""
	}
}

func fileText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestWidenAKey imports a root into one with a wider key. What is in its newest files comes along, with its snapshots
// and nothing more in them. What gave way there is said to be gone, and comes from an older file of data/ as long as that is kept.
func TestWidenAKey(t *testing.T) {
	narrow := newRoot(t)
	appendTo(t, narrow, "mnist", `{"run_id":"1","stage":"S","v":1,"model_family":"cnn","snapshot":{"w":[1, 2]}}`, `{"run_id":"2","stage":"S","v":1}`)
	foldNow(t, compactor.Config{Root: narrow})
	before := narrow.Data(newestOn(t, narrow).Index.Name)
	appendTo(t, narrow, "cifar", `{"run_id":"1","stage":"S","v":2,"snapshot":{"w" : "x"}}`, `{"run_id":"3","stage":"S","v":2}`)
	if r := foldNow(t, compactor.Config{Root: narrow}); r.Narrow != 1 {
		t.Fatalf("%d rows gave way, want 1", r.Narrow)
	}

	wide := newKeyRoot(t, "", "cohort_id", "model_family")
	report, said := importNow(t, wide, fileText(t, narrow.Snapshots()), withIndex(t, narrow.Index()))
	want := intake.Report{Rows: 3, Snapshots: 3, Joined: 3, Taken: 3, Rekeyed: 3, Generation: 1}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if want := (intake.Rekeyed{Count: 3}).String(); said != want {
		t.Errorf("says %q, want %q", said, want)
	}
	if diff := cmp.Diff([]string{"2 2:S:mnist:", "3 1:S:cifar:", "4 3:S:cifar:"}, seqs(t, wide)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := fileText(t, wide.Snapshots()); !strings.Contains(got, `"snapshot_seq":3,"w":"x"}`) {
		t.Errorf("snapshots are\n%s", got)
	}

	report, said = importNow(t, wide, `{}`, withIndex(t, before))
	if report.Taken != 1 || report.Known != 1 {
		t.Errorf("an older file brings %d rows, and %d are known; want 1 and 1: %s", report.Taken, report.Known, said)
	}
	if diff := cmp.Diff([]string{"1 1:S:mnist:cnn", "2 2:S:mnist:", "3 1:S:cifar:", "4 3:S:cifar:"}, seqs(t, wide)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}

	// Back into a narrow one: the last write wins again, and it is told.
	back := newRoot(t)
	report, said = importNow(t, back, fileText(t, wide.Snapshots()), withIndex(t, wide.Index()))
	if report.Taken != 3 || report.Newer != 1 || report.Narrow != 1 || !strings.Contains(said, `"1:S" (cohort_id "mnist" gave way to "cifar", model_family "cnn" gave way to none)`) {
		t.Errorf("back in a narrow root: %+v, says %s", report, said)
	}
}

// TestImportKeysOfOurForms: what a key says is taken for the field that it is, or left out; never for another one.
func TestImportKeysOfOurForms(t *testing.T) {
	for _, test := range []struct {
		fields, absent string
		file           string
		want           string // rows, or why one is left out
	}{
		{"symbol", "", `{"r:S:DE": {"run_id": "r", "stage": "S"}}`, `r:S:DE {"cohort_id":"old","phase":"S","run_id":"r","symbol":"DE"}`},
		{"symbol", "", `{"r:S:DE": {"run_id": "r", "symbol": "DE"}}`, `r:S:DE {"cohort_id":"old","phase":"S","run_id":"r","symbol":"DE"}`},
		{"", "", `{"r:S:DE": {"run_id": "r", "stage": "S"}}`, `has more parts than run_id and stage`},
		{"symbol", "", `{"r:S:DE": {"run_id": "r", "stage": "S", "symbol": "FR"}}`, `has more parts than run_id and stage`},
		{"symbol", "", `{"a:b:S": {"run_id": "a:b", "stage": "S"}}`, `a:b:S: {"cohort_id":"old","phase":"S","run_id":"a:b"}`},
		{"cohort_id,fold", "", `{"r:S:churn:7": {"run_id": "r", "fold": 7}}`, `r:S:churn:7 {"cohort_id":"churn","fold":7,"phase":"S","run_id":"r"}`},
		{"cohort_id", "", `{"r:S": {"run_id": "r", "cohort_id": "churn"}}`, `r:S:churn {"cohort_id":"churn","phase":"S","run_id":"r"}`},
		{"target,view,symbol", "NONE", `{"r:S:NONE:v:NONE": {}}`, `r:S:NONE:v:NONE {"cohort_id":"old","phase":"S","run_id":"r","view":"v"}`},
		{"target,view,symbol,attempt", "NONE", `{"r:S:NONE:v:NONE:2": {}}`, `r:S:NONE:v:NONE:2 {"attempt":"2","cohort_id":"old","phase":"S","run_id":"r","view":"v"}`},
		{"target,view,symbol", "", `{"r:S:NONE:v:NONE": {}}`, `r:S::v: {"cohort_id":"old","phase":"S","run_id":"r","view":"v"}`},
		{"target", "NONE", `{"r:S": {"target": "NONE"}}`, `target "NONE" is how this root's key spells an absent target: leave it out`},
		{"target", "", `{"r:S": {"target": ["x"]}}`, `target is an array`},
		{"", "", `{"r:S:NONE:v:NONE": {}}`, `r:S {"cohort_id":"old","phase":"S","run_id":"r","view":"v"}`},
	} {
		var fields []string
		if test.fields != "" {
			fields = strings.Split(test.fields, ",")
		}
		root := newKeyRoot(t, test.absent, fields...)
		_, said := importNow(t, root, test.file, nil)
		got := said
		for key, row := range maybeRows(t, root) {
			got += "\n" + key + " " + strings.NewReplacer(`"timestamp":"",`, "").Replace(row)
		}
		if !slices.ContainsFunc(strings.Split(got, "\n"), func(line string) bool {
			return line == test.want || strings.Contains(line, "left out: ") && strings.Contains(line, test.want)
		}) {
			t.Errorf("%s with the key (%s): got\n%s\nwant %s", test.file, test.fields, got, test.want)
		}
	}
}

// maybeRows are the rows of a root that may have none.
func maybeRows(t *testing.T, root cohort.Root) map[string]string {
	t.Helper()
	if newestOn(t, root).Generation == 0 {
		return nil
	}
	return rows(t, root)
}

// TestWidenAKeyThatOnlyTheIndexTells: only the keys of the snapshots say anything of the fold, and that they are of this field only
// the rows say. Each finds its own, also one that says another target than its row.
func TestWidenAKeyThatOnlyTheIndexTells(t *testing.T) {
	from := newKeyRoot(t, "", "fold")
	appendTo(t, from, "c", `{"run_id":"r","stage":"S","fold":1,"target":"t","snapshot":{"w":"one","target":"inner"}}`, `{"run_id":"r","stage":"S","fold":2,"snapshot":{"w":"two"}}`)
	foldNow(t, compactor.Config{Root: from})
	to := newKeyRoot(t, cohort.AbsentNone, "cohort_id", "target", "fold")
	report, said := importNow(t, to, fileText(t, from.Snapshots()), withIndex(t, from.Index()))
	if report.Taken != 2 || report.Joined != 2 || report.Left != 0 {
		t.Errorf("report %+v, says %s", report, said)
	}
	got := fileText(t, to.Snapshots())
	for _, want := range []string{`"r:S:c:t:1":{"run_id":"r","stage":"S",`, `"snapshot_seq":1,"w":"one","target":"inner"}`, `"r:S:c:NONE:2":{"run_id":"r","stage":"S",`, `"snapshot_seq":2,"w":"two"}`} {
		if !strings.Contains(got, want) {
			t.Errorf("snapshots have no %s:\n%s", want, got)
		}
	}
}
