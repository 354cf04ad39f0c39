package compactor_test

import (
	"context"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake"
)

// TestPrevious asks before and after the last records are folded: with Unfolded the answers are the same.
func TestPrevious(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c",
		`{"run_id":"r1","stage":"S"}`, `{"run_id":"r2","stage":"S"}`, `{"run_id":"r2","stage":"OTHER"}`, `{"run_id":"r3","stage":"S"}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "d", `{"run_id":"r4","stage":"S"}`)
	appendTo(t, root, "c", `{"run_id":"r1","stage":"S","again":true}`) // r1 now comes after r3
	for _, isFolded := range []bool{false, true} {
		if isFolded {
			foldNow(t, compactor.Config{Root: root})
		}
		for _, test := range []struct{ cohort, run, stage, want string }{
			{"c", "r3", "S", "r2:S"}, {"c", "r2", "S", ""}, {"c", "r1", "S", "r3:S"}, {"c", "new", "S", "r1:S"},
			{"c", "r2", "OTHER", ""}, {"c", "new", "OTHER", "r2:OTHER"}, {"d", "r4", "S", ""}, {"none", "r1", "S", ""},
		} {
			q := compactor.Query{cohort.ID(test.cohort), test.run, test.stage, !isFolded}
			got, ok, err := compactor.Previous(context.Background(), compactor.Config{Root: root}, q)
			if err != nil || string(got.Key) != test.want || ok != (test.want != "") {
				t.Errorf("Previous(%+v) = %q, %v, %v; want %q", q, got.Key, ok, err, test.want)
			}
			q.Unfolded = false
			got, _, err = compactor.Previous(context.Background(), compactor.Config{Root: root}, q)
			if want := map[string]string{"r1": "", "new": "r3:S"}[test.run]; err != nil || !isFolded && test.cohort == "c" && test.stage == "S" && want != "" && string(got.Key) != want {
				t.Errorf("Previous(%+v) of what is folded = %q, %v; want %q", q, got.Key, err, want)
			}
		}
	}
}

// TestPreviousInFile orders by snapshot_seq where both have one, else by timestamp, with one notice.
func TestPreviousInFile(t *testing.T) {
	const file = `{
		"r1:S": {"timestamp": "2025-01-01T00:00:00Z"},
		"r2:S": {"timestamp": "2025-01-05T00:00:00Z", "snapshot_seq": 2},
		"r3:S": {"timestamp": "2025-01-03T00:00:00Z", "snapshot_seq": 3},
		"r4:OTHER": {"timestamp": "2025-01-04T00:00:00Z"}}`
	for run, want := range map[string]string{"r3": "r2:S", "r2": "r1:S", "r1": "", "new": "r3:S"} {
		said := &notices{}
		got, ok, err := intake.PreviousInFile(strings.NewReader(file), compactor.Query{Cohort: "c", RunID: run, Stage: "S"}, said.add)
		if err != nil || ok != (want != "") || string(got.Key) != want {
			t.Errorf("PreviousInFile before %s = %q, %v; want %q", run, got.Key, err, want)
		}
		if want := "1 snapshots have no snapshot_seq: ordered by timestamp"; said.text() != want {
			t.Errorf("notices %q, want %q", said.text(), want)
		}
	}
}
