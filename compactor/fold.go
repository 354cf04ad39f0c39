package compactor

import (
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// folded is what one batch of records changes.
type folded struct {
	puts    []index.Put // in seq order
	raised  []index.Put // rows that stay as they are but for their stamp
	nextSeq cohort.Seq
	highest cohort.Stamp

	duplicates int // equal (stamp, record id): the same record again
	repeats    int // the record id of the write that stands, with a later stamp: appended again
	superseded int // an older write of a key that has a newer one
	replaced   int // puts that replace a row of the index
	narrow     int // superseded or replaced, and different in target, view or symbol
}

// standing is the last write of a key so far: a row of the index, or a record of the batch.
type standing struct {
	cohort.Version
	facet
	key    cohort.Key
	row    *index.Found // nil if there is none, or it was replaced
	record cohort.Record
	raised bool // by a repeat
}

// fold is the heart: last write wins. Of all records of a key, in the batch and in the index, the one
// with the highest (stamp, record id) stays; each new winner gets the next seq, in stamp order. A record
// with the id of the one that stands is that one appended again: it raises the stamp and changes nothing
// else (docs/decisions/0013).
//
// It is pure: no I/O, no clock, and the same winners for every order of recs and every way to split
// them into batches. found holds what the index has under the batch's keys. recs is sorted in place.
func fold(form cohort.KeyForm, recs []cohort.Record, found map[cohort.Key]index.Found, next cohort.Seq) folded {
	slices.SortStableFunc(recs, func(a, b cohort.Record) int { return a.Version().Compare(b.Version()) })
	out := folded{nextSeq: next}
	last := make(map[cohort.Key]*standing, len(recs))
	var order []*standing // by their first write
	for _, r := range recs {
		key := form.Of(r)
		s := last[key]
		if old, ok := found[key]; s == nil && ok {
			s = &standing{Version: old.Version, facet: facetsOf(old), key: key, row: &old}
			last[key] = s
			order = append(order, s)
		}
		if w := out.write(s, key, r); w != s {
			last[key] = w
			order = append(order, w)
		}
		out.highest = max(out.highest, r.Stamp)
	}
	for _, s := range order {
		if last[s.key] == s {
			out.keep(s)
		}
	}
	return out
}

// write applies one record to what stands, and returns what stands then.
func (f *folded) write(s *standing, key cohort.Key, r cohort.Record) *standing {
	switch {
	case s == nil:
	case s.Version == r.Version():
		f.duplicates++
		return s
	case s.Compare(r.Version()) > 0:
		f.superseded++
		f.countNarrow(s.facet, facets(r))
		return s
	case s.RecordID == r.ID:
		f.repeats++
		s.Stamp, s.raised = r.Stamp, true
		return s
	default:
		f.countNarrow(s.facet, facets(r))
		if s.row != nil {
			f.replaced++
		} else {
			f.superseded++
		}
	}
	return &standing{Version: r.Version(), facet: facets(r), key: key, record: r}
}

// keep makes a winner what the index gets.
func (f *folded) keep(s *standing) {
	switch {
	case s.row == nil:
		r := s.record
		if s.raised {
			r.Timestamp = r.TimeText() // the time of the first write
			r.Stamp = s.Stamp
		}
		f.puts = append(f.puts, index.Put{Key: s.key, Seq: f.nextSeq, Record: r})
		f.nextSeq++
	case s.raised:
		f.raised = append(f.raised, index.Put{Key: s.key, Seq: s.row.Seq, Record: cohort.Record{Stamp: s.Stamp}, Raise: true})
	}
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
