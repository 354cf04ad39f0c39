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

// saying is a record with other bytes, so that it is another write also under the same id.
func saying(r cohort.Record, v int) cohort.Record {
	r.JSON = fmt.Appendf(nil, `{"v":%d}`, v)
	return r
}

// candidates are what a fold sees of records.
func candidates(form cohort.KeyForm, recs []cohort.Record) []candidate {
	all := make([]candidate, len(recs))
	for i, r := range recs {
		all[i] = candidateOf(form, r, int32(i), nil)
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
	got := fold(candidates(cohort.KeyForm{}, recs), found, nil, nil, nil, 7)
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
	got := fold(candidates(cohort.KeyForm{}, []cohort.Record{c, b, a}), nil, nil, nil, nil, 1).narrow
	want := Narrowing{1, []string{"target"}, []Narrowed{{"r:S", []cohort.Difference{{Field: "target", Gone: "x", Stays: "y"}}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("only a and b differ in target (-want +got):\n%s", diff)
	}
	found := map[cohort.Key]index.Found{"r:S": {Version: cohort.Version{Stamp: 0}, Facets: cohort.Facets{Cohort: "old", Target: "y"}}}
	got = fold(candidates(cohort.KeyForm{}, []cohort.Record{c}), found, nil, nil, nil, 1).narrow
	want = Narrowing{1, []string{"cohort_id"}, []Narrowed{{"r:S", []cohort.Difference{{Field: "cohort_id", Gone: "old"}}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a row of another cohort (-want +got):\n%s", diff)
	}
	found["r:S"] = index.Found{Version: cohort.Version{Stamp: 9}, Facets: cohort.Facets{Target: "z"}}
	if got := fold(candidates(cohort.KeyForm{}, []cohort.Record{a, b, c}), found, nil, nil, nil, 1).narrow; got.Narrow != 3 || len(got.NarrowExamples) != 1 {
		t.Errorf("three records that come too late = %+v", got)
	}
	wide, err := cohort.ParseKeyForm([]string{"run_id", "phase", "target"})
	if err != nil {
		t.Fatal(err)
	}
	out := fold(candidates(wide, []cohort.Record{a, b, c}), nil, nil, nil, nil, 1)
	if len(out.puts) != 2 || out.narrow.Narrow != 0 {
		t.Errorf("under a wide key: %d rows, narrow %d; want 2 and 0", len(out.puts), out.narrow.Narrow)
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
			r := stamped(fmt.Sprint("r", rnd.IntN(8)), cohort.Stamp(1+rnd.IntN(20)), fmt.Sprint("i", rnd.IntN(3)))
			recs = append(recs, saying(r, rnd.IntN(3)))
		}
		want := winners(t, recs, len(recs)+1, rnd)
		highest := map[cohort.Key]cohort.Version{} // the rule in one line
		for _, r := range recs {
			if k := (cohort.KeyForm{}).Of(r); r.Version().Compare(highest[k]) > 0 {
				highest[k] = r.Version()
			}
		}
		if diff := cmp.Diff(highest, want); diff != "" {
			t.Fatalf("the winners are not the highest versions (-highest +winners):\n%s", diff)
		}
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
		out := fold(candidates(cohort.KeyForm{}, rest[:n]), found, nil, nil, nil, next)
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

// TestFoldRepeats: the same id and bytes are the same write, with other bytes it is another one. Of a row that says nothing of its
// bytes the id decides, and that is counted.
func TestFoldRepeats(t *testing.T) {
	first := saying(stamped("r", 10, "job"), 1)
	again, other := saying(stamped("r", 20, "job"), 1), saying(stamped("r", 20, "job"), 2)
	row := func(v cohort.Version) map[cohort.Key]index.Found {
		return map[cohort.Key]index.Found{"r:S": {Version: v}}
	}
	old := cohort.Version{Stamp: 10, RecordID: "job"} // of an older program
	type counts struct{ puts, raised, repeats, byID, replaced, superseded, duplicates int }
	for name, test := range map[string]struct {
		recs  []cohort.Record
		found map[cohort.Key]index.Found
		want  counts
	}{
		"a repeat":                           {[]cohort.Record{again}, row(first.Version()), counts{raised: 1, repeats: 1}},
		"a repeat in one batch":              {[]cohort.Record{first, again}, nil, counts{puts: 1, repeats: 1}},
		"other bytes":                        {[]cohort.Record{other}, row(first.Version()), counts{puts: 1, replaced: 1}},
		"other bytes in one batch":           {[]cohort.Record{first, other}, nil, counts{puts: 1, superseded: 1}},
		"other bytes that come too late":     {[]cohort.Record{first}, row(other.Version()), counts{superseded: 1}},
		"back to the first bytes":            {[]cohort.Record{first, saying(stamped("r", 15, "job"), 2), again}, nil, counts{puts: 1, superseded: 2}},
		"a row of an older program":          {[]cohort.Record{other}, row(old), counts{raised: 1, repeats: 1, byID: 1}},
		"the record of such a row, again":    {[]cohort.Record{first}, row(old), counts{duplicates: 1}},
		"another id over such a row":         {[]cohort.Record{saying(stamped("r", 20, "new"), 1)}, row(old), counts{puts: 1, replaced: 1}},
		"an earlier record of the id of one": {[]cohort.Record{saying(stamped("r", 5, "job"), 1)}, row(old), counts{superseded: 1}},
	} {
		out := fold(candidates(cohort.KeyForm{}, test.recs), test.found, nil, nil, nil, 7)
		got := counts{len(out.puts), len(out.raised), out.repeats, out.byID, out.replaced, out.superseded, out.duplicates}
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
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
			r = saying(r, rnd.IntN(3))
			r.Target = string(rune('x' + rnd.IntN(2)))
			recs, distinct[cohort.KeyForm{}.Of(r)] = append(recs, r), true
		}
		got := fold(candidates(cohort.KeyForm{}, recs), found, nil, nil, nil, 5)
		if sum := len(got.puts) + got.superseded + got.duplicates + got.repeats; sum != len(recs) {
			t.Fatalf("%d puts, %d superseded, %d duplicates, %d repeats: %d of %d records", len(got.puts), got.superseded, got.duplicates, got.repeats, sum, len(recs))
		}
		if got.narrow.Narrow > got.superseded+got.replaced || got.replaced > len(got.puts) || len(got.puts) > len(distinct) {
			t.Fatalf("%d narrow, %d superseded, %d replaced, %d puts of %d keys", got.narrow.Narrow, got.superseded, got.replaced, len(got.puts), len(distinct))
		}
		for i, p := range got.puts {
			if p.Seq != cohort.Seq(5+i) {
				t.Fatalf("put %d has seq %d", i, p.Seq)
			}
		}
	}
}
