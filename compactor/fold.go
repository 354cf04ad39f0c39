package compactor

import (
	"cmp"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// folded is what one batch of records changes.
type folded struct {
	sides
	later   map[int32]cohort.Stamp // by N: the stamps of puts that were appended again
	nextSeq cohort.Seq
	highest cohort.Stamp

	duplicates int       // the same write with the same stamp: the same record again
	repeats    int       // the write that stands with a later stamp: appended again
	byID       int       // of those, by the record id alone: older programs kept no digest of the row
	superseded int       // an older write of a key that has a newer one
	replaced   int       // puts that replace a row of the index
	rewritten  int       // puts of keys that were withdrawn
	narrow     Narrowing // superseded or replaced, and perhaps another result
	Withdrawing
	Erasing
}

// added counts the rows of new keys.
func (f *folded) added() int { return len(f.puts) - f.replaced - f.rewritten }

// folding is a fold under way.
type folding struct {
	folded
	recs  []candidate
	found map[cohort.Key]index.Found
	out   map[cohort.Key]index.Found // the withdrawn rows
	acts  *acting
	last  map[cohort.Key]int32 // in standing
	all   []standing           // by their first write
}

// standing is a write of a key that was the last one, and is it unless it is gone.
type standing struct {
	row    *index.Found // a row of the index, or a withdrawn one; nil: recs[at]
	at     int32        // of a row: some record of its key
	gone   bool
	raised cohort.Stamp // by a repeat; 0: not
}

// fold is the heart: last write wins. Of all records of a key, in the batch and in the index, the one
// with the highest (stamp, record id, digest) stays; each new winner gets the next seq, in stamp order. A record
// with the id and the bytes of the one that stands is that one appended again: it raises the stamp and changes nothing
// else (docs/decisions/0013). One with the id and other bytes is another write.
//
// acts decides then whether the winner of a key stands in the index or among the withdrawn rows. touched are keys of rows that acts may move
// although the batch has no record of them.
//
// It is pure: no I/O, no clock, and the same winners for every order of recs and every way to split
// them into batches. found and out hold what the index and the withdrawn rows have under the batch's keys. recs is sorted in place.
func fold(recs []candidate, found, out map[cohort.Key]index.Found, acts *acting, touched []cohort.Key, next cohort.Seq) folded {
	slices.SortFunc(recs, func(a, b candidate) int { return cmp.Or(a.Compare(b.Version), cmp.Compare(a.n, b.n)) })
	f := folding{
		folded: folded{nextSeq: next, later: map[int32]cohort.Stamp{}}, recs: recs, found: found, out: out, acts: acts,
		last: make(map[cohort.Key]int32, len(recs)), all: make([]standing, 0, len(recs)),
	}
	for i := range recs {
		f.write(int32(i))
		f.highest = max(f.highest, recs[i].Stamp)
	}
	f.puts = make([]index.Put, 0, len(f.last))
	for i := range f.all {
		if s := &f.all[i]; !s.gone {
			f.keep(f.recs[s.at].key, s)
		}
	}
	f.move(touched)
	return f.folded
}

// move decides over the rows that the batch has no record of, and gives seqs to all that move.
func (f *folding) move(touched []cohort.Key) {
	slices.Sort(touched)
	for _, key := range slices.Compact(touched) {
		if _, ok := f.last[key]; ok {
			continue
		}
		if row, ok := f.row(key); ok {
			f.keep(key, &standing{row: &row})
		}
	}
	f.nextSeq = index.SortMoves(f.withdraw, f.found, f.nextSeq)
	f.nextSeq = index.SortMoves(f.ret, f.out, f.nextSeq)
	if f.acts != nil {
		f.highest = max(f.highest, f.acts.highest)
	}
}

// row is the row of a key, wherever it stands.
func (f *folding) row(key cohort.Key) (index.Found, bool) {
	row, ok := f.found[key]
	if !ok {
		row, ok = f.out[key]
	}
	return row, ok
}

// write applies one record to what stands.
func (f *folding) write(i int32) {
	r := &f.recs[i]
	s := f.standing(i)
	if s != nil && !f.replaces(s, r) {
		return
	}
	f.stand(r.key, standing{at: i})
}

// replaces decides between what stands and a record, and counts it. It is true if the record stands from now on.
func (f *folding) replaces(s *standing, r *candidate) bool {
	at := f.version(s)
	same := at.SameWrite(r.Version)
	switch {
	case same && at.Stamp == r.Stamp:
		f.duplicates++
		return false
	case same && at.Stamp < r.Stamp:
		f.repeats++
		if at.Digest == 0 {
			f.byID++
		}
		s.raised = r.Stamp
		return false
	case at.Compare(r.Version) > 0:
		f.superseded++
		f.narrow.add(r.key, r.facets, f.facets(s))
		return false
	}
	f.narrow.add(r.key, f.facets(s), r.facets)
	if s.row == nil {
		f.superseded++
	}
	s.gone = true
	return true
}

// standing is what stands under the key of a record, or nil. It is valid until something else stands.
func (f *folding) standing(of int32) *standing {
	key := f.recs[of].key
	if i, ok := f.last[key]; ok {
		return &f.all[i]
	}
	if row, ok := f.row(key); ok {
		return f.stand(key, standing{row: &row, at: of})
	}
	return nil
}

func (f *folding) stand(key cohort.Key, s standing) *standing {
	f.last[key] = int32(len(f.all))
	f.all = append(f.all, s)
	return &f.all[len(f.all)-1]
}

func (f *folding) version(s *standing) (v cohort.Version) {
	if s.row != nil {
		v = s.row.Version
	} else {
		v = f.recs[s.at].Version
	}
	if s.raised > 0 { // stamps of imported rows lie below
		v.Stamp = s.raised
	}
	return v
}

// keep makes a winner what the files get.
func (f *folding) keep(key cohort.Key, s *standing) {
	_, inIndex := f.found[key]
	_, isOut := f.out[key]
	out := false
	if f.acts != nil { // else no row of the root was ever withdrawn
		var refused []cohort.Record
		out, refused = f.acts.isOut(key, f.version(s), f.facets(s).Cohort)
		f.refuse(key, refused)
	}
	switch {
	case s.row == nil:
		f.put(key, s, out, inIndex, isOut)
	case out != isOut:
		p := index.Put{Key: key} // SortMoves gives the seq
		if s.raised > 0 {
			p.Record = &cohort.Record{Stamp: s.raised}
		}
		if out {
			f.withdraw = append(f.withdraw, p)
			f.Withdrawn++
		} else {
			f.ret = append(f.ret, p)
			f.Returned++
		}
	case s.raised > 0:
		p := index.Put{Key: key, Seq: s.row.Seq, Record: &cohort.Record{Stamp: s.raised}, Raise: true}
		if isOut {
			f.raisedOut = append(f.raisedOut, p)
		} else {
			f.raised = append(f.raised, p)
		}
	}
}

// put writes a record of the batch. The row of its key goes, in whichever pair it stands.
func (f *folding) put(key cohort.Key, s *standing, out, inIndex, isOut bool) {
	r := f.recs[s.at]
	if s.raised > 0 {
		f.later[r.n] = s.raised
	}
	p := index.Put{Key: key, Seq: f.nextSeq, N: r.n}
	f.nextSeq++
	if !out {
		f.puts = append(f.puts, p)
		if inIndex {
			f.replaced++
		}
		if isOut {
			f.leaveOut = append(f.leaveOut, key)
			f.rewritten++
			f.Returned++
		}
		return
	}
	f.putsOut = append(f.putsOut, p)
	f.StayedOut++
	if inIndex {
		f.leave = append(f.leave, key)
		f.Withdrawn++
	}
}

func (f *folding) facets(s *standing) *cohort.Facets {
	if s.row != nil {
		return &s.row.Facets
	}
	return f.recs[s.at].facets
}
