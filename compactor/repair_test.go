package compactor_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
)

// spoil flips a bit in the middle of the index, the snapshots or the manifest of a generation. The files
// have no write permission, which does not stop damage.
func spoil(t *testing.T, root cohort.Root, what string, g cohort.Generation) {
	t.Helper()
	path := root.Manifest(g)
	if what != "manifest" {
		h, err := manifest(durable.OS, root, g)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]string{"index": h.Index.Name, "snapshots": h.Snapshots[0].Name}
		if h.Withdrawn != nil {
			names["withdrawn snapshots"] = h.Withdrawn.Snapshots[0].Name
		}
		path = root.Data(names[what])
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change(t, path, flip(len(data)/2))
}

// spoiled is a root of two generations whose newest one has a damaged file.
func spoiled(what string) func(t *testing.T) cohort.Root {
	return func(t *testing.T) cohort.Root {
		root := preparedIn(t, newDamagedRoot(t))
		foldNow(t, compactor.Config{Root: root})
		spoil(t, root, what, 2)
		return root
	}
}

// TestRepairTellsFirst: without Apply nothing is written, whatever is damaged.
func TestRepairTellsFirst(t *testing.T) {
	for _, what := range []string{"index", "snapshots", "manifest"} {
		root := spoiled(what)(t)
		before := tree(t, root)
		r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{})
		if err != nil || r.Whole() || !r.Lossless() || r.Newest != 2 || r.Good != 1 || len(r.Damaged) != 1 {
			t.Errorf("%s: Repair = %+v, %v", what, r, err)
		}
		after := tree(t, root)
		if len(before) != len(after) {
			t.Errorf("%s: %d files became %d", what, len(before), len(after))
		}
		for name, data := range before {
			if after[name] != data {
				t.Errorf("%s: %s changed", what, name)
			}
		}
	}
}

// TestRepairNeverGivesASeqTwice shows that the seqs of the lost generation are not assigned again.
func TestRepairNeverGivesASeqTwice(t *testing.T) {
	for what, want := range map[string]cohort.Seq{"index": 5, "manifest": 3 + 1<<32} {
		root := spoiled(what)(t)
		if _, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: true}); err != nil {
			t.Fatal(err)
		}
		if got := damage(t, root); got != "" {
			t.Errorf("%s: check finds %s", what, got)
		}
		first := cohort.Seq(0)
		for row := range publishedRows(t, durable.OS, root) {
			if strings.Contains(row, `"_key":"b:S"`) {
				first = seqOf(t, row)
			}
		}
		if first != want {
			t.Errorf("%s: the first seq after the repair is %d, want %d", what, first, want)
		}
	}
}

func seqOf(t *testing.T, row string) cohort.Seq {
	t.Helper()
	var fields struct {
		Seq cohort.Seq `json:"snapshot_seq"`
	}
	if err := json.Unmarshal([]byte(row), &fields); err != nil {
		t.Fatal(err)
	}
	return fields.Seq
}

// TestRepairTakesStreamsOfABackup: two generations are damaged, and what the older one folded is deleted. The backup was made before
// that fold, so it has the stream.
func TestRepairTakesStreamsOfABackup(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"b","stage":"S","v":2}`, `{"run_id":"c","stage":"S","v":2}`)
	backup := copyRoot(t, root, false)
	before := tree(t, backup)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"d","stage":"S","v":3}`)
	foldNow(t, compactor.Config{Root: root})
	spoil(t, root, "index", 3)
	spoil(t, root, "snapshots", 2)
	for from, lossless := range map[string]bool{"": false, string(backup): true} {
		r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{From: from})
		if err != nil || r.Good != 1 || r.Lossless() != lossless || (len(r.Lost) == 0) != lossless {
			t.Errorf("from %q: Repair = %+v, %v", from, r, err)
		}
	}
	r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{From: string(backup), Apply: true})
	if err != nil || !r.Lossless() {
		t.Errorf("Repair = %+v, %v", r, err)
	}
	want := map[string]string{"a:S": "1", "b:S": "2", "c:S": "2", "d:S": "3"}
	if diff := cmp.Diff(want, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := damage(t, root); got != "" {
		t.Errorf("check finds %s", got)
	}
	if diff := cmp.Diff(before, tree(t, backup)); diff != "" {
		t.Errorf("the backup changed:\n%s", diff)
	}
}
