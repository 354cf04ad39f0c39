package compactor_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestRebuildNeedsWithdrawn: the manifests of generations 3 and 4 are gone. An index is taken only with its withdrawn rows, their snapshots and
// its actions; else the index before, and where that lacks them as well, the last generation that has a manifest, and that is told.
func TestRebuildNeedsWithdrawn(t *testing.T) {
	gone := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			for _, name := range names {
				if strings.HasPrefix(filepath.Base(path), name) || filepath.Ext(path) == name {
					remove(t, path)
					return
				}
			}
		}
	}
	nothing := func(*testing.T, string) {}
	for name, test := range map[string]struct {
		three, four func(*testing.T, string) // what happens to each data file of a generation beside the index and its snapshots
		good        cohort.Generation
		want        map[string]string
	}{
		"all there":               {nothing, nothing, 4, allFour},
		"no actions":              {nothing, gone("actions-"), 3, allFour},
		"no withdrawn rows":       {nothing, gone(".parquet"), 3, allFour},
		"no withdrawn snapshots":  {nothing, gone(".json"), 3, allFour},
		"none of 4":               {nothing, gone("actions-", "withdrawn-"), 3, allFour},
		"no actions of 3 and 4":   {gone("actions-"), gone("actions-"), 2, withoutThree},
		"none of 3 and 4":         {gone("actions-", "withdrawn-"), gone("actions-", "withdrawn-"), 2, withoutThree},
		"a flipped withdrawn row": {nothing, harmIf(".parquet", flip(4096+82)), 3, allFour},
		"actions cut after a line": {nothing, harmIf(".ndjson", func(b []byte) []byte {
			return b[:bytes.IndexByte(b, '\n')+1]
		}), 3, allFour},
		"no action": {nothing, harmIf(".ndjson", func([]byte) []byte { return nil }), 3, allFour},
	} {
		for _, per := range []cohort.Settings{{}, {Snapshots: cohort.PerCohort}} {
			t.Run(name, func(t *testing.T) {
				root := fourFolds(t, per)
				for g, harm := range map[cohort.Generation]func(*testing.T, string){3: test.three, 4: test.four} {
					for _, path := range dataOf(root, g)[2:] {
						harm(t, path)
					}
					remove(t, root.Manifest(g))
				}
				if found := damage(t, root); !strings.Contains(found, "manifests are missing") {
					t.Errorf("check finds %q", found)
				}
				r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: true})
				if err != nil || r.Good != test.good || r.Rebuilt != (test.good > 2) || r.Lossless() && test.good != 4 {
					t.Errorf("Repair = %+v, %v: want generation %d", r, err, test.good)
				}
				if diff := cmp.Diff(test.want, values(t, root)); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
				// Of rows that only the index of generation 3 has, check goes on to tell.
				if got := damage(t, root); got != "" && (test.good > 2 || strings.Contains(got, "\n") || !strings.Contains(got, "nowhere else")) {
					t.Errorf("after the repair, check finds %s", got)
				}
			})
		}
	}
}

// harmIf overwrites the files with this ending.
func harmIf(ending string, by func([]byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		if filepath.Ext(path) == ending {
			overwrite(t, path, by)
		}
	}
}

// TestWithdrawnTellOfMissingManifests: of a generation whose manifest is lost only the actions are left, or only the withdrawn rows. Their stream
// is deleted, so it was committed: a fold stops, and does not begin a history without them. Rows that move have streams that are gone for long,
// which says nothing.
func TestWithdrawnTellOfMissingManifests(t *testing.T) {
	for left, want := range map[string]string{"actions-": "has actions of stream", "withdrawn-": "has rows of stream"} {
		root := newDamagedRoot(t)
		appendTo(t, root, "c", firstLines[0])
		foldNow(t, compactor.Config{Root: root})
		appendTo(t, root, "c", secondLines[1], `{"action":"withdraw","run_id":"c"}`)
		foldNow(t, compactor.Config{Root: root})
		for range 2 {
			appendTo(t, root, "c", firstLines[1])
			foldNow(t, compactor.Config{Root: root})
		}
		for g := cohort.Generation(2); g <= 4; g++ {
			for _, path := range dataOf(root, g) {
				if g > 2 || !strings.HasPrefix(filepath.Base(path), left) || filepath.Ext(path) == ".json" {
					remove(t, path)
				}
			}
			remove(t, root.Manifest(g))
		}
		unpublish(t, root)
		if found := damage(t, root); !strings.Contains(found, want) {
			t.Errorf("only %s: check finds\n%s\nwant %q in it", left, found, want)
		}
		if report, err := compactor.Fold(t.Context(), compactor.Config{Root: root}); !generation.IsDamage(err) {
			t.Errorf("only %s: Fold = %+v, %v, want damage", left, report, err)
		}
	}
	root := newRoot(t) // a fold that withdraws an old row and is killed before its commit
	appendTo(t, root, "c", firstLines...)
	for range 3 {
		foldNow(t, compactor.Config{Root: root})
		appendTo(t, root, "c", secondLines...)
	}
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"action":"withdraw","run_id":"a"}`)
	dead := false
	killed := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
		if dead = dead || op == "create" && strings.HasPrefix(root.Rel(name), "manifests"); dead {
			return durabletest.ErrStopped
		}
		return nil
	}}
	if _, err := compactor.Fold(t.Context(), compactor.Config{Root: root, FS: killed}); err == nil {
		t.Error("the fold was not stopped")
	}
	if files, err := filepath.Glob(root.Data("withdrawn-*.parquet")); err != nil || len(files) != 1 {
		t.Errorf("it left %v, %v: want the withdrawn rows", files, err)
	}
	if found := damage(t, root); found != "" {
		t.Errorf("after a fold that was killed, check finds %s", found)
	}
	foldNow(t, compactor.Config{Root: root})
}
