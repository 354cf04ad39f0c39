package index

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// Segments gives rows their segment_id, in a root with the profile foxml. The first row of a cohort has 0. The next one has the number of the row before
// it in its cohort, if data_fingerprint, featureset_hash, config_hash and git_commit are the same. Else it has 1 more than any row of the cohort: where no row
// was moved or imported, that is 1 more than the row before. A text that is empty, or that the column cannot hold, is as one that is absent.
//
// A row gets its number when it is put, once, with its seq: what happens to rows before it later does not change it. A put with a Segment keeps that.
type Segments struct {
	before map[cohort.Seq]segment // of the old row before a put, where no other put is between; by the put's seq
	tail   map[cohort.ID]segment  // of the newest row, if no put comes after it
	last   map[cohort.ID]segment  // of the last put that was written
	top    map[cohort.ID]int64    // the highest number
}

// segment is what the next row of a cohort is compared with.
type segment struct {
	number   int64
	identity [len(identityOfSegment)]string
}

// theEnd is the seq of no put: what stands before it is the newest row.
const theEnd cohort.Seq = math.MaxInt64

// NewSegments finds what the puts follow, in the index and among the withdrawn rows as they were; either file may be nil. puts and out, which become rows of the
// one and of the other, must be sorted by seq. of is the cohort of a put. A put of out follows the rows that the index has after all of puts.
//
// It goes once from the last row group of the index on, for all cohorts. It reads a group only if it may have the row before a put, or a number that is
// higher than those that were seen, and if it has one of the cohorts.
func NewSegments(index, withdrawn *File, puts, out []Put, of func(Put) cohort.ID) (*Segments, error) {
	s := &Segments{before: map[cohort.Seq]segment{}, tail: map[cohort.ID]segment{}, last: map[cohort.ID]segment{}, top: map[cohort.ID]int64{}}
	wanted := map[cohort.ID][]cohort.Seq{}
	for _, p := range puts {
		id := of(p)
		wanted[id] = append(wanted[id], p.Seq)
	}
	for _, p := range out {
		if id := of(p); !slices.Contains(wanted[id], theEnd) {
			wanted[id] = append(wanted[id], theEnd)
		}
	}
	for id := range wanted {
		s.top[id] = -1
	}
	if index != nil {
		for _, g := range slices.Backward(index.Groups()) {
			if err := s.look(g, wanted, true); err != nil {
				return nil, fmt.Errorf("row group %d: %w", g.number, err)
			}
		}
	}
	if withdrawn != nil {
		for _, g := range withdrawn.Groups() {
			if err := s.look(g, wanted, false); err != nil {
				return nil, fmt.Errorf("withdrawn rows: row group %d: %w", g.number, err)
			}
		}
	}
	return s, nil
}

// look takes what one group has of the cohorts; with rows also the rows before puts, else only numbers.
func (s *Segments) look(g Group, wanted map[cohort.ID][]cohort.Seq, rows bool) error {
	highest := g.file.highest(g.number, columnSegment)
	matters := func(id cohort.ID) bool {
		seqs, ok := wanted[id]
		return ok && (highest > s.top[id] || rows && !s.has(id, seqs[0]))
	}
	if !anyOf(wanted, matters) {
		return nil
	}
	words, ok, err := g.Words(columnCohort)
	if err != nil {
		return err
	}
	if ok && !slices.ContainsFunc(words, func(w string) bool { return matters(cohort.ID(w)) }) {
		return nil
	}
	type place struct {
		id  cohort.ID
		seq cohort.Seq
	}
	found := map[place]int64{}
	err = g.Each([]string{columnCohort, columnSeq, columnSegment}, func(row int64, v []Value) error {
		seqs, ok := wanted[cohort.ID(v[0].Text())]
		if !ok {
			return nil
		}
		id := cohort.ID(v[0].Text())
		s.top[id] = max(s.top[id], v[2].Int())
		if n, _ := slices.BinarySearch(seqs, cohort.Seq(v[1].Int())+1); rows && n < len(seqs) && !s.has(id, seqs[n]) {
			found[place{id, seqs[n]}] = row // the last one stays
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		return err
	}
	at := map[int64]place{}
	for p, row := range found {
		at[row] = p
	}
	columns := append([]string{columnSegment}, identityOfSegment[:]...)
	return g.At(columns, slices.Sorted(maps.Keys(at)), func(row int64, v []Value) error {
		is := segment{number: v[0].Int()}
		for i := range is.identity {
			is.identity[i] = string(v[1+i].Text())
		}
		if p := at[row]; p.seq == theEnd {
			s.tail[p.id] = is
		} else {
			s.before[p.seq] = is
		}
		return nil
	})
}

// has tells whether the row before a put is known.
func (s *Segments) has(id cohort.ID, seq cohort.Seq) (ok bool) {
	if seq == theEnd {
		_, ok = s.tail[id]
	} else {
		_, ok = s.before[seq]
	}
	return ok
}

func anyOf(wanted map[cohort.ID][]cohort.Seq, is func(cohort.ID) bool) bool {
	for id := range wanted {
		if is(id) {
			return true
		}
	}
	return false
}

// highest is the highest integer of a column in a row group, as its statistics say; the highest of all if they do not say it.
func (f *File) highest(group int, column string) int64 {
	stats := f.file.Metadata().RowGroups[group].Columns[f.layout.place[column]].MetaData.Statistics
	if len(stats.MaxValue) != 8 {
		return math.MaxInt64
	}
	return int64(binary.LittleEndian.Uint64(stats.MaxValue))
}

// mark gives the last row of dst, which is that of a put, its number. withdrawn tells that the row becomes a withdrawn one.
func (s *Segments) mark(l *layout, dst parquet.Row, p Put, id cohort.ID, withdrawn bool) parquet.Row {
	if s == nil || !l.isFoxml() {
		return dst
	}
	row := dst[len(dst)-l.width():]
	var is segment
	for i, name := range identityOfSegment {
		if place, ok := l.place[name]; ok && !row[place].IsNull() {
			is.identity[i] = string(row[place].ByteArray())
		}
	}
	was, ok := s.rowBefore(p, id, withdrawn)
	switch {
	case p.Segment != nil:
		is.number = *p.Segment
	case ok && was.identity == is.identity:
		is.number = was.number
	default:
		is.number = s.top[id] + 1
	}
	s.top[id] = max(s.top[id], is.number)
	if !withdrawn {
		s.last[id] = is
	}
	row[l.made] = at(parquet.Int64Value(is.number), l.made, true)
	return dst
}

// rowBefore is the row that a put follows.
func (s *Segments) rowBefore(p Put, id cohort.ID, withdrawn bool) (was segment, ok bool) {
	if withdrawn {
		was, ok = s.tail[id]
	} else {
		was, ok = s.before[p.Seq]
	}
	if !ok {
		was, ok = s.last[id]
	}
	return was, ok
}
