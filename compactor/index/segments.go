package index

import (
	"fmt"
	"maps"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// Segments gives rows their segment_id, in a root with the profile foxml. The first row of a cohort has 0. The next one has the number of the row before
// it in its cohort, or 1 more if one of data_fingerprint, featureset_hash, config_hash and git_commit differs. A text that is empty, or that the column
// cannot hold, is as one that is absent.
//
// A row gets its number when it is put, once, with its seq: what happens to rows before it later does not change it. A put with a Segment keeps that.
type Segments struct {
	last   map[cohort.ID]segment  // of the puts that have been written
	before map[cohort.Seq]segment // of the old row before a put, where no other put is between; by the put's seq
	still  bool                   // puts are no rows of the index: none is the row before another one
}

// segment is what the next row of a cohort is compared with.
type segment struct {
	number   int64
	identity [len(identityOfSegment)]string
}

// Segments finds the row before each of the puts, which must be sorted by seq. of is the cohort of a put. still tells that the puts do not become rows
// of the index. f may be nil: then there is no row.
//
// It goes once from the last row group on, for all cohorts, and ends with the group in which the last of them is found. Of groups without one of the
// cohorts it reads no row.
func (f *File) Segments(puts []Put, of func(Put) cohort.ID, still bool) (*Segments, error) {
	s := &Segments{last: map[cohort.ID]segment{}, before: map[cohort.Seq]segment{}, still: still}
	wanted := map[cohort.ID][]cohort.Seq{}
	for _, p := range puts {
		id := of(p)
		wanted[id] = append(wanted[id], p.Seq)
	}
	if f == nil {
		return s, nil
	}
	groups := f.Groups()
	for i := len(groups) - 1; i >= 0 && len(wanted) > 0; i-- {
		if err := s.look(groups[i], wanted); err != nil {
			return nil, fmt.Errorf("row group %d: %w", i, err)
		}
	}
	return s, nil
}

// look finds the rows of one group that stand before a put, and takes from wanted the cohorts of which nothing more is to be found.
func (s *Segments) look(g Group, wanted map[cohort.ID][]cohort.Seq) error {
	words, ok, err := g.Words(columnCohort)
	if err != nil {
		return err
	}
	if ok && !slices.ContainsFunc(words, func(w string) bool { return wanted[cohort.ID(w)] != nil }) {
		return nil
	}
	places := map[int64]cohort.Seq{} // the puts that rows stand before
	rows := map[cohort.Seq]int64{}
	err = g.Each([]string{columnCohort, columnSeq}, func(row int64, v []Value) error {
		seqs := wanted[cohort.ID(v[0].Text())]
		n, _ := slices.BinarySearch(seqs, cohort.Seq(v[1].Int())+1)
		if n == len(seqs) {
			return nil
		}
		if _, later := s.before[seqs[n]]; later {
			return nil
		}
		if was, ok := rows[seqs[n]]; ok {
			delete(places, was)
		}
		rows[seqs[n]], places[row] = row, seqs[n]
		return nil
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	columns := append([]string{columnSegment}, identityOfSegment[:]...)
	err = g.At(columns, slices.Sorted(maps.Keys(places)), func(row int64, v []Value) error {
		at := segment{number: v[0].Int()}
		for i := range at.identity {
			at.identity[i] = string(v[1+i].Text())
		}
		s.before[places[row]] = at
		return nil
	})
	maps.DeleteFunc(wanted, func(_ cohort.ID, seqs []cohort.Seq) bool {
		_, found := s.before[seqs[0]]
		return found
	})
	return err
}

// mark gives the last row of dst, which is that of a put, its number.
func (s *Segments) mark(l *layout, dst parquet.Row, p Put, r cohort.Record) parquet.Row {
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
	was, ok := s.before[p.Seq]
	if !ok {
		was, ok = s.last[r.Cohort]
	}
	switch {
	case p.Segment != nil:
		is.number = *p.Segment
	case ok && was.identity == is.identity:
		is.number = was.number
	case ok:
		is.number = was.number + 1
	}
	if !s.still {
		s.last[r.Cohort] = is
	}
	row[l.made] = at(parquet.Int64Value(is.number), l.made, true)
	return dst
}
