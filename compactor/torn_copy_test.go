package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// pieces are what a program that copies a root takes one after the other, in any order.
var pieces = []string{"manifests", "data", "cohorts", "reaped", "published"}

// moments are copies of one root, each made in one moment: before two folds, between them, and after them. acked are the rows
// that were acknowledged before the first of them.
func moments(t *testing.T) (at []cohort.Root, acked map[string]string) {
	t.Helper()
	root := newDamagedRoot(t)
	w := openWriter(t, root, "live")
	t.Cleanup(func() { w.Close() })
	appendLines(t, w, `{"run_id":"l","stage":"S","v":1}`)
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"d","stage":"S","v":1}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", secondLines...)
	acked = map[string]string{"a:S": "1", "b:S": "2", "c:S": "2", "d:S": "1", "l:S": "1"}
	at = append(at, copyRoot(t, root, true))
	foldNow(t, compactor.Config{Root: root})
	at = append(at, copyRoot(t, root, true))
	appendLines(t, w, `{"run_id":"m","stage":"S","v":5}`)
	for n := range 3 { // the sweep takes what was deleted of the streams, and old generations
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"n%d","stage":"S","v":5}`, n))
		foldNow(t, compactor.Config{Root: root, KeepAge: -1, KeepGenerations: 2})
	}
	return append(at, copyRoot(t, root, true)), acked
}

// takePiece copies a part of a root.
func takePiece(t *testing.T, piece string, from, to cohort.Root) {
	t.Helper()
	names := []string{piece}
	if piece == "published" {
		names = []string{"index.parquet", "snapshot_index.json"}
	}
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(string(from), name), func(path string, e fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil {
				return err
			}
			target := filepath.Join(string(to), from.Rel(path))
			if e.IsDir() {
				return os.MkdirAll(target, 0o755)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, data, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestTornCopies copies a root while it is folded: each directory as it was in one of three moments. Then a fold gives all rows that were
// acknowledged before the copy began, or somebody is told. Only where everything that was copied is of one generation, and the
// streams after it are in no directory, nothing can tell. A fold, and a repair that says that nothing is lost, never gives
// fewer rows than the copy published.
func TestTornCopies(t *testing.T) {
	at, acked := moments(t)
	count := 1
	for range pieces {
		count *= len(at)
	}
	t.Logf("figure: %d copies that were made while folds went on", count)
	for n := range count {
		if n%sparse != 0 || testing.Short() && n%17 != 0 {
			continue
		}
		of := map[string]int{}
		name := ""
		for i, rest := 0, n; i < len(pieces); i, rest = i+1, rest/len(at) {
			of[pieces[i]] = rest % len(at)
			name += fmt.Sprintf("%s%d ", pieces[i], rest%len(at))
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			make := func() cohort.Root {
				root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
				if err := os.Mkdir(string(root), 0o755); err != nil {
					t.Fatal(err)
				}
				data, err := os.ReadFile(at[0].Settings())
				if err != nil {
					t.Fatal(err)
				}
				put(t, root.Settings(), data)
				for _, piece := range pieces {
					takePiece(t, piece, at[of[piece]], root)
				}
				return root
			}
			oneGeneration := of["manifests"] == of["data"] && of["manifests"] == of["published"]
			root := make()
			published := values(t, root)
			found := damage(t, root)
			report, err := compactor.Fold(context.Background(), compactor.Config{Root: root})
			told := found != "" || err != nil || !report.Clean()
			now := values(t, root)
			if err != nil && !generation.IsDamage(err) {
				t.Errorf("Fold = %v, want damage", err)
			}
			if lost := lacks(now, published); len(lost) > 0 {
				t.Errorf("the copy published %v, and after a fold (%+v, %v) %v is not there", published, report, err, lost)
			}
			if lost := lacks(now, acked); len(lost) > 0 && !told && !oneGeneration {
				t.Errorf("%v is not there after a fold, and nobody was told", lost)
			}

			root = make()
			before := tree(t, root)
			r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: true})
			if errors.Is(err, audit.ErrNoGeneration) && of["manifests"] == 2 && of["data"] < 2 && of["published"] < 2 {
				after := tree(t, root)
				delete(after, "compact.lock")
				delete(after, "compact.lock.holder")
				if len(after) != len(before) { // what the manifests say is in no file, and nothing is begun
					t.Errorf("Repair = %v, and files changed", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Repair = %+v, %v", r, err)
			}
			if lost := lacks(values(t, root), published); len(lost) > 0 {
				t.Errorf("the copy published %v, and after a repair (%+v) %v is not there", published, r, lost)
			}
			if got := damage(t, root); got != "" {
				t.Errorf("after a repair (%+v), check finds %s", r, got)
			}
			if _, err := newest(durable.OS, root); err != nil {
				t.Error(err)
			}
		})
	}
}

// lacks are the keys of want that are not there, or have another value.
func lacks(have, want map[string]string) (lost []string) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if v, ok := have[key]; !ok || v < want[key] {
			lost = append(lost, key)
		}
	}
	return lost
}
