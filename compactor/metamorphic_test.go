package compactor_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/journal"
)

// chains are runs of writes to one key each: what one writer appends in this order. Chains of one key
// do not exist, as two writers are ordered no finer than the file system's clock.
func chains(rnd *rand.Rand, n int) [][]string {
	var out [][]string
	for i := range n {
		var chain []string
		for try := range 1 + rnd.IntN(3) {
			chain = append(chain, fmt.Sprintf(`{"run_id":"r-%[1]d","stage":"S","timestamp":"2026-01-01T00:00:00Z","record_id":"w-%[2]d","try":%[2]d,"metrics":{"auc":%[3]s},"f%[4]d":%[5]s}`,
				i, try, [...]string{"1", "0.5", `"n/a"`, "null", "1e3"}[rnd.IntN(5)],
				rnd.IntN(4), [...]string{"true", "7", `"x"`, "[1]"}[rnd.IntN(4)]))
			for rnd.IntN(4) == 0 { // an acknowledgement was lost
				chain = append(chain, chain[len(chain)-1])
			}
		}
		out = append(out, chain)
	}
	return out
}

// TestMetamorphic is the product in one test: one set of records, any split into streams, processes'
// Writers, folds and batches, gives the same rows.
func TestMetamorphic(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 1))
	t.Logf("-seed %d", *seed)
	rounds, keys := 12, 60
	switch {
	case testing.Short():
		rounds, keys = 3, 20
	case sparse > 1:
		rounds = 3
	}
	set := chains(rnd, keys)
	plain := newRoot(t)
	for _, chain := range set {
		appendTo(t, plain, "c", chain...)
	}
	foldNow(t, compactor.Config{Root: plain})
	want := rows(t, plain)
	if len(want) != len(set) {
		t.Fatalf("%d rows of %d keys", len(want), len(set))
	}
	for round := range rounds {
		root := newRoot(t)
		scatter(t, rnd, root, set)
		foldNow(t, compactor.Config{Root: root, Lock: yes{}})
		if diff := cmp.Diff(want, rows(t, root)); diff != "" {
			t.Fatalf("round %d: rows depend on the split (-plain +split):\n%s", round, diff)
		}
		if n := streamsLeft(t, root); n != 0 {
			t.Errorf("round %d: %d streams are left", round, n)
		}
	}
}

// scatter appends each chain in order, through writers and with folds chosen at random.
func scatter(t *testing.T, rnd *rand.Rand, root cohort.Root, set [][]string) {
	t.Helper()
	writers := make([]*journal.Writer, 1+rnd.IntN(6))
	for i := range writers {
		w, err := journal.Create(root, "c", journal.Options{SealBytes: int64(300 + rnd.IntN(3000))})
		if err != nil {
			t.Fatal(err)
		}
		writers[i] = w
	}
	at := make([]int, len(set))
	for left := len(set); left > 0; {
		i := rnd.IntN(len(set))
		if at[i] == len(set[i]) {
			continue
		}
		appendLines(t, writers[i%len(writers)], set[i][at[i]])
		if at[i]++; at[i] == len(set[i]) {
			left--
		}
		if rnd.IntN(12) == 0 {
			foldNow(t, compactor.Config{Root: root, BatchBytes: int64(500 + rnd.IntN(5000)), KeepAge: -1})
		}
	}
	for _, w := range writers {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
