package compactor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// stamped is a record of run r with a place in the order.
func stamped(run string, stamp cohort.Stamp, id string) cohort.Record {
	return cohort.Record{RunID: run, Stage: "S", Stamp: stamp, ID: id}
}

// candidates are what a fold sees of records.
func candidates(form cohort.KeyForm, recs []cohort.Record) []candidate {
	all := make([]candidate, len(recs))
	for i, r := range recs {
		all[i] = candidateOf(form, r, int32(i))
	}
	return all
}

func TestFoldLastWriteWins(t *testing.T) {
	found := map[cohort.Key]index.Found{
		"old:S": {Version: cohort.Version{Stamp: 10, RecordID: "a"}},
		"new:S": {Version: cohort.Version{Stamp: 99, RecordID: "a"}},
		"eq:S":  {Version: cohort.Version{Stamp: 20, RecordID: "a"}},
	}
	recs := []cohort.Record{
		stamped("two", 31, "b"), stamped("two", 30, "z"), // the higher stamp, whatever the order
		stamped("tie", 40, "a"), stamped("tie", 40, "b"), // the higher id of one stamp
		stamped("dup", 50, "a"), stamped("dup", 50, "a"), // the same record twice
		stamped("old", 60, "b"), // replaces a row
		stamped("new", 61, "b"), // comes too late
		stamped("eq", 20, "a"),  // is the row already
	}
	got := fold(candidates(cohort.KeyForm{}, recs), found, 7)
	var puts []string
	for _, p := range got.puts {
		puts = append(puts, fmt.Sprintf("%d %s %d %s", p.Seq, p.Key, recs[p.N].Stamp, recs[p.N].ID))
	}
	want := []string{"7 two:S 31 b", "8 tie:S 40 b", "9 dup:S 50 a", "10 old:S 60 b"}
	if diff := cmp.Diff(want, puts); diff != "" {
		t.Errorf("puts (-want +got):\n%s", diff)
	}
	if got.nextSeq != 11 || got.highest != 61 || got.duplicates != 2 || got.superseded != 3 || got.replaced != 1 {
		t.Errorf("fold = next %d, highest %d, %d duplicates, %d superseded, %d replaced; want 11, 61, 2, 3, 1",
			got.nextSeq, got.highest, got.duplicates, got.superseded, got.replaced)
	}
}

func TestFoldCountsNarrowKeys(t *testing.T) {
	a, b, c := stamped("r", 1, "a"), stamped("r", 2, "b"), stamped("r", 3, "c")
	a.Target, b.Target, c.Target = "x", "y", "y"
	if got := fold(candidates(cohort.KeyForm{}, []cohort.Record{a, b, c}), nil, 1).narrow; got != 1 {
		t.Errorf("narrow = %d, want 1: only a and b differ in target", got)
	}
	found := map[cohort.Key]index.Found{"r:S": {Version: cohort.Version{Stamp: 0}, Target: "z"}}
	if got := fold(candidates(cohort.KeyForm{}, []cohort.Record{c}), found, 1).narrow; got != 1 {
		t.Errorf("narrow over the index = %d, want 1", got)
	}
	wide, err := cohort.ParseKeyForm([]string{"run_id", "phase", "target"})
	if err != nil {
		t.Fatal(err)
	}
	got := fold(candidates(wide, []cohort.Record{a, b, c}), nil, 1)
	if len(got.puts) != 2 || got.narrow != 0 {
		t.Errorf("under a wide key: %d rows, narrow %d; want 2 and 0", len(got.puts), got.narrow)
	}
}

// TestFoldAnySplit is the metamorphic property on the pure function: any order and any split into
// batches gives the same winners, with unique and increasing seqs.
func TestFoldAnySplit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*Seed, 0))
	t.Logf("-seed %d", *Seed)
	for range 300 {
		var recs []cohort.Record
		for range rnd.IntN(40) {
			recs = append(recs, stamped(fmt.Sprint("r", rnd.IntN(8)), cohort.Stamp(1+rnd.IntN(20)), fmt.Sprint("i", rnd.IntN(3))))
		}
		want := winners(t, recs, len(recs)+1, rnd)
		for range 3 {
			rnd.Shuffle(len(recs), func(i, j int) { recs[i], recs[j] = recs[j], recs[i] })
			if diff := cmp.Diff(want, winners(t, recs, 1+rnd.IntN(10), rnd)); diff != "" {
				t.Fatalf("winners depend on order or split (-whole +split):\n%s", diff)
			}
		}
	}
}

// winners folds batches of at most size one after the other.
func winners(t *testing.T, recs []cohort.Record, size int, rnd *rand.Rand) map[cohort.Key]cohort.Version {
	t.Helper()
	found := map[cohort.Key]index.Found{}
	next, last := cohort.Seq(1), cohort.Seq(0)
	for rest := slices.Clone(recs); len(rest) > 0; {
		n := min(1+rnd.IntN(size), len(rest))
		if size > len(recs) {
			n = len(rest)
		}
		out := fold(candidates(cohort.KeyForm{}, rest[:n]), found, next)
		for _, p := range out.puts {
			if p.Seq <= last {
				t.Errorf("seq %d after %d", p.Seq, last)
			}
			last = p.Seq
			found[p.Key] = index.Found{Version: raised(rest[p.N], out.later[p.N]).Version(), Seq: p.Seq}
		}
		for _, p := range out.raised {
			f := found[p.Key]
			if p.Seq != f.Seq || p.Record.Stamp <= f.Stamp || !p.Raise {
				t.Errorf("%+v is raised to %+v", f, p)
			}
			f.Stamp = p.Record.Stamp
			found[p.Key] = f
		}
		next, rest = out.nextSeq, rest[n:]
	}
	got := map[cohort.Key]cohort.Version{}
	for k, f := range found {
		got[k] = f.Version
	}
	return got
}

// TestFoldCountsEachRecordOnce: every record is a put, or lost to a later one, or was there already.
func TestFoldCountsEachRecordOnce(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*Seed, 5))
	t.Logf("-seed %d", *Seed)
	for range 300 {
		found := map[cohort.Key]index.Found{}
		for r := range rnd.IntN(8) {
			found[cohort.Key(fmt.Sprintf("r%d:S", r))] = index.Found{Version: cohort.Version{Stamp: cohort.Stamp(rnd.IntN(20)), RecordID: "i0"}}
		}
		var recs []cohort.Record
		distinct := map[cohort.Key]bool{}
		for range rnd.IntN(40) {
			r := stamped(fmt.Sprint("r", rnd.IntN(8)), cohort.Stamp(1+rnd.IntN(20)), fmt.Sprint("i", rnd.IntN(3)))
			r.Target = string(rune('x' + rnd.IntN(2)))
			recs, distinct[cohort.KeyForm{}.Of(r)] = append(recs, r), true
		}
		got := fold(candidates(cohort.KeyForm{}, recs), found, 5)
		if sum := len(got.puts) + got.superseded + got.duplicates + got.repeats; sum != len(recs) {
			t.Fatalf("%d puts, %d superseded, %d duplicates, %d repeats: %d of %d records", len(got.puts), got.superseded, got.duplicates, got.repeats, sum, len(recs))
		}
		if got.narrow > got.superseded+got.replaced || got.replaced > len(got.puts) || len(got.puts) > len(distinct) {
			t.Fatalf("%d narrow, %d superseded, %d replaced, %d puts of %d keys", got.narrow, got.superseded, got.replaced, len(got.puts), len(distinct))
		}
		for i, p := range got.puts {
			if p.Seq != cohort.Seq(5+i) {
				t.Fatalf("put %d has seq %d", i, p.Seq)
			}
		}
	}
}
