package compactor_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// chains are runs of writes to one key each: what one writer appends in this order. Chains of one key
// do not exist, as two writers are ordered no finer than the file system's clock.
//
// Some writes are there again, as after an acknowledgement that was lost: the one before, or an earlier one. Some have the id of the
// one before and say something else, as of a job that was started anew under its id.
func chains(rnd *rand.Rand, n int) [][]string {
	var out [][]string
	for i := range n {
		var chain []string
		id := 0
		for try := range 1 + rnd.IntN(4) {
			if rnd.IntN(2) == 0 {
				id = try
			}
			chain = append(chain, fmt.Sprintf(`{"run_id":"r-%[1]d","stage":"S","timestamp":"2026-01-01T00:00:00Z","record_id":"w-%[6]d","try":%[2]d,"metrics":{"auc":%[3]s},"f%[4]d":%[5]s}`,
				i, try, [...]string{"1", "0.5", `"n/a"`, "null", "1e3"}[rnd.IntN(5)],
				rnd.IntN(4), [...]string{"true", "7", `"x"`, "[1]"}[rnd.IntN(4)], id))
			for rnd.IntN(4) == 0 {
				chain = append(chain, chain[len(chain)-1])
			}
			if rnd.IntN(6) == 0 {
				chain = append(chain, chain[rnd.IntN(len(chain))])
			}
		}
		out = append(out, chain)
	}
	return out
}

// lastTries is the try of the last write of each chain: what a row must say.
func lastTries(t *testing.T, set [][]string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, chain := range set {
		last := parse(t, chain[len(chain)-1])
		out[last.RunID+":S"] = cohort.FieldText(last.JSON, "try")
	}
	return out
}

// tries are the rows of a root by their try.
func tries(rows map[string]string) map[string]string {
	out := map[string]string{}
	for key, row := range rows {
		out[key] = cohort.FieldText([]byte(row), "try")
	}
	return out
}

// TestMetamorphic is the product in one test: one set of records, any split into streams, processes'
// Writers, folds, batches and folds that are killed, gives the same rows: those of the last writes.
func TestMetamorphic(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(*seed, 1))
	t.Logf("-seed %d", *seed)
	rounds, keys := 12, 60
	switch {
	case testing.Short():
		rounds, keys = 3, 20
	case sparse > 1:
		rounds = 2
	}
	set := chains(rnd, keys)
	plain := newRoot(t)
	for _, chain := range set {
		appendTo(t, plain, "c", chain...)
	}
	foldNow(t, compactor.Config{Root: plain})
	want := rows(t, plain)
	if diff := cmp.Diff(lastTries(t, set), tries(want)); diff != "" {
		t.Fatalf("rows are not those of the last writes (-last +rows):\n%s", diff)
	}
	killed, whole := 0, 0
	defer func() { t.Logf("figure: %d folds were killed among appends, %d others ended before", killed, whole) }()
	for round := range rounds {
		root := newRoot(t)
		scatter(t, rnd, root, set, &killed, &whole)
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
func scatter(t *testing.T, rnd *rand.Rand, root cohort.Root, set [][]string, killed, whole *int) {
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
		cfg := compactor.Config{Root: root, Lock: yes{}, BatchBytes: int64(500 + rnd.IntN(5000)), KeepAge: -1}
		switch rnd.IntN(24) {
		case 0:
			foldNow(t, cfg)
		case 1: // one that is killed before some change of the disk
			cfg.FS = &durabletest.Fault{FS: durable.OS, Hook: durabletest.StopAt(rnd.IntN(40))}
			if _, err := compactor.Fold(t.Context(), cfg); err == nil {
				*whole++
			} else {
				*killed++
			}
		}
	}
	for _, w := range writers {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
