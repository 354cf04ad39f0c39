package compactor

import (
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// folded is what one batch of records changes.
type folded struct {
	puts    []index.Put // in seq order
	nextSeq cohort.Seq
	highest cohort.Stamp

	duplicates int // equal (stamp, record id): the same record again
	superseded int // an older write of a key that has a newer one
	replaced   int // puts that replace a row of the index
	narrow     int // superseded or replaced, and different in target, view or symbol
}

// fold is the heart: last write wins. Of all records of a key, in the batch and in the index, the one
// with the highest (stamp, record id) stays; each new winner gets the next seq, in stamp order.
//
// It is pure: no I/O, no clock, and the same winners for every order of recs and every way to split
// them into batches. found holds what the index has under the batch's keys. recs is sorted in place.
func fold(form cohort.KeyForm, recs []cohort.Record, found map[cohort.Key]index.Found, next cohort.Seq) folded {
	slices.SortStableFunc(recs, func(a, b cohort.Record) int { return a.Version().Compare(b.Version()) })
	out := folded{nextSeq: next}
	last := make(map[cohort.Key]int, len(recs)) // index into recs of the last write
	for i, r := range recs {
		key := form.Of(r)
		if j, ok := last[key]; ok {
			out.drop(facets(r), facets(recs[j]), r.Version() == recs[j].Version())
		}
		last[key] = i
		out.highest = max(out.highest, r.Stamp)
	}
	for i, r := range recs {
		key := form.Of(r)
		if last[key] != i {
			continue
		}
		old, ok := found[key]
		if ok && old.Compare(r.Version()) >= 0 {
			out.drop(facetsOf(old), facets(r), old.Version == r.Version())
			continue
		}
		if ok {
			out.replaced++
			out.countNarrow(facets(r), facetsOf(old))
		}
		out.puts = append(out.puts, index.Put{Key: key, Seq: out.nextSeq, Record: r})
		out.nextSeq++
	}
	return out
}

// facet is what tells results apart that share a run and a stage.
type facet struct{ target, view, symbol string }

func facets(r cohort.Record) facet { return facet{r.Target, r.View, r.Symbol} }
func facetsOf(f index.Found) facet { return facet{f.Target, f.View, f.Symbol} }
func (f *folded) countNarrow(a, b facet) {
	if a != b {
		f.narrow++
	}
}

// drop counts a record that lost against another one of its key.
func (f *folded) drop(winner, loser facet, same bool) {
	if same {
		f.duplicates++
		return
	}
	f.superseded++
	f.countNarrow(winner, loser)
}
