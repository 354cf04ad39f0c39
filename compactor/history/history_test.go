package history

import (
	"context"
	"flag"
	"path/filepath"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/journal"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0 chooses one")

// newRoot makes a root in which check finds no damage at the end of the test.
func newRoot(t *testing.T, s cohort.Settings) cohort.Root {
	t.Helper()
	root := newDamagedRoot(t, s)
	t.Cleanup(func() {
		_, err := audit.Check(context.Background(), compactor.Config{Root: root}, func(p audit.Problem) {
			if p.Damage {
				t.Errorf("at the end of the test, check finds %v", p)
			}
		})
		if err != nil {
			t.Errorf("Check: %v", err)
		}
	})
	return root
}

// newDamagedRoot is newRoot for tests that damage their root.
func newDamagedRoot(t *testing.T, s cohort.Settings) cohort.Root {
	t.Helper()
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := journal.InitRoot(root, s, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	return root
}

func appendTo(t *testing.T, root cohort.Root, id cohort.ID, lines ...string) {
	t.Helper()
	w, err := journal.Create(root, id, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var recs []cohort.Record
	for _, line := range lines {
		r, err := cohort.ParseRecord([]byte(line), 0)
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, r)
	}
	if err := w.Append(recs); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// keep keeps all generations.
const keep = 1 << 20

func fold(t *testing.T, root cohort.Root) cohort.Generation {
	t.Helper()
	r, err := compactor.Fold(t.Context(), compactor.Config{Root: root, KeepGenerations: keep})
	if err != nil || !r.Clean() {
		t.Fatalf("Fold = %+v, %v", r, err)
	}
	return r.Generation
}

func storeOf(t *testing.T, root cohort.Root) *generation.Store {
	t.Helper()
	store, err := generation.Open(root, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return store
}
