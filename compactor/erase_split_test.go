package compactor_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// selected selects the rows of some runs, as an expression would.
func selected(runs map[string]bool) func(context.Context, ...*index.File) iter.Seq2[index.Identity, error] {
	return func(_ context.Context, files ...*index.File) iter.Seq2[index.Identity, error] {
		return func(yield func(index.Identity, error) bool) {
			for _, f := range files {
				for h, err := range f.Identities() {
					if (err != nil || runs[h.RunID]) && !yield(h, err) {
						return
					}
				}
			}
		}
	}
}

// TestMetamorphicErase erases some of the runs of one set of records and actions, after any split into streams and folds, together or one after
// the other, with calls that are killed. What is left is what a root has to which those runs were never appended.
func TestMetamorphicErase(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 8))
	t.Logf("-seed %d", *seed)
	rounds, keys := 6, 30
	if testing.Short() || sparse > 1 {
		rounds, keys = 2, 15
	}
	set := withActions(rnd, chains(rnd, keys))
	victims, plain := map[string]bool{}, newRoot(t)
	var again []string
	for i, chain := range set {
		if i%3 != 0 {
			appendTo(t, plain, "c", chain...)
			continue
		}
		victims[fmt.Sprintf("r-%d", i)] = true
		if i%2 == 0 {
			again = append(again, fmt.Sprintf(`{"run_id":"r-%d","stage":"S","timestamp":"2026-02-01T00:00:00Z","try":99}`, i))
		}
	}
	appendTo(t, plain, "c", again...)
	foldNow(t, compactor.Config{Root: plain})
	want, content := standing(t, plain)
	killed, whole, cut := 0, 0, 0
	for round := range rounds {
		root := newRoot(t)
		if round%2 == 1 {
			root = newCohortsRoot(t)
		}
		cfg := compactor.Config{Root: root, Lock: yes{}}
		scatter(t, rnd, root, set, &killed, &whole)
		for _, what := range splitErasures(rnd, victims) {
			slow := cfg
			slow.FS = &durabletest.Fault{FS: durable.OS, Hook: durabletest.StopAt(rnd.IntN(120))}
			if _, err := compactor.Erase(t.Context(), slow, what); err != nil {
				cut++
			}
			if done := eraseNow(t, cfg, what); !done.IsDone() {
				t.Fatalf("round %d: left: %+v", round, done.Holding)
			}
		}
		walkOn(t, durable.OS, string(root), func(path string, data []byte) {
			for run := range victims {
				if strings.Contains(string(data), `"`+run+`"`) {
					t.Errorf("round %d: %s holds %s", round, root.Rel(path), run)
				}
			}
		})
		appendTo(t, root, "c", again...)
		foldNow(t, cfg)
		got, rows := standing(t, root)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d: where rows stand (-never appended +erased):\n%s", round, diff)
		}
		if diff := cmp.Diff(content, rows); diff != "" {
			t.Fatalf("round %d: rows (-never appended +erased):\n%s", round, diff)
		}
	}
	if cut == 0 {
		t.Error("no erasure was killed")
	}
}

// splitErasures erases some runs together and the others one by one.
func splitErasures(rnd *rand.Rand, victims map[string]bool) (all []compactor.Erasure) {
	together := map[string]bool{}
	for run := range victims {
		if rnd.IntN(3) > 0 {
			together[run] = true
			continue
		}
		all = append(all, compactor.Erasure{RunID: run, Apply: true})
	}
	all = append(all, compactor.Erasure{Select: selected(together), Apply: true})
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	// A run that has actions and no row is found by its name alone.
	for run := range together {
		all = append(all, compactor.Erasure{RunID: run, Apply: true})
	}
	return slices.Clip(all)
}
