package index

import (
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// Stats is what a Merge did.
type Stats struct {
	Rows                        int64
	GroupsCopied, GroupsWritten int
	RowsCopied, RowsWritten     int64
	// Extra counts the scalars of puts that stand in _extra because no column holds them.
	Extra Extras
}

// Merge writes a whole new index to w: the rows of old, without those in found whose key is in puts,
// and puts, all in seq order. old may be nil. found is what old.Find returned for at least the keys of
// puts. If schema is not that of old, every row is converted: values go to
// columns that can hold them now, and to _extra if no column can hold them any more.
// A put that raises changes only the stamp of its row. The other puts must be sorted by seq.
// Usually all seqs are above those of old, but they may lie between. load gives the records of puts that have
// none. It may be nil if all puts have a record.
//
// On error what was written to w is not an index. If a row is lost or counted twice, Merge fails.
// Rows are streamed: memory is bounded by one row group, including its largest rows.
func Merge(w io.Writer, old *File, found map[cohort.Key]Found, schema Schema, puts []Put, load Load, meta Meta) (Stats, error) {
	return mergeSized(w, old, found, schema, puts, load, meta, targetOf(w).Sizes().group())
}

// MergeMoved is Merge with rows that leave old, and rows that come from another file. found must have the keys of both. segments are those of
// puts, in a root that has such a column; it may be nil.
func MergeMoved(w io.Writer, old *File, found map[cohort.Key]Found, schema Schema, puts []Put, moves Moves, segments *Segments, load Load, meta Meta) (Stats, error) {
	return mergeAll(w, old, found, schema, puts, moves, segments, load, meta, targetOf(w).Sizes().group())
}

func mergeSized(w io.Writer, old *File, found map[cohort.Key]Found, schema Schema, puts []Put, load Load, meta Meta, size groupSize) (Stats, error) {
	return mergeAll(w, old, found, schema, puts, Moves{}, nil, load, meta, size)
}

func mergeAll(w io.Writer, old *File, found map[cohort.Key]Found, schema Schema, puts []Put, moves Moves, segments *Segments, load Load, meta Meta, size groupSize) (Stats, error) {
	to := newLayout(schema)
	out, err := newWriter(w, to, size, meta)
	if err != nil {
		return Stats{}, err
	}
	puts, raised := splitPuts(puts)
	m := merger{out: out, encoder: newEncoder(to), puts: puts, load: load, drop: replaced(found, puts), raised: raised, found: found, segments: segments, meta: meta}
	for _, key := range moves.Out {
		if f, ok := found[key]; ok {
			m.drop[string(key)] = f.group
		}
	}
	expect := int64(len(puts) + len(moves.In))
	if old != nil {
		expect += old.NumRows() - int64(len(m.drop))
		if err := m.mergeOld(old); err != nil {
			return Stats{}, err
		}
	}
	if err := m.putRest(); err != nil {
		return Stats{}, err
	}
	if err := m.putMoved(moves); err != nil {
		return Stats{}, err
	}
	if _, err := out.close(); err != nil {
		return Stats{}, err
	}
	if m.raises != len(raised) {
		return Stats{}, damaged("merge raised the stamps of %d rows instead of %d", m.raises, len(raised))
	}
	if out.stats.Rows != expect {
		return Stats{}, damaged("merge made %d rows instead of %d", out.stats.Rows, expect)
	}
	out.stats.Extra = m.encoder.extras.sorted()
	return out.stats, nil
}

// splitPuts separates rows that are written from rows that only get another stamp.
func splitPuts(all []Put) (puts []Put, raised map[string]cohort.Stamp) {
	raised = map[string]cohort.Stamp{}
	if !slices.ContainsFunc(all, func(p Put) bool { return p.Raise }) {
		return all, raised // without a copy, as there may be a million puts
	}
	for _, p := range all {
		if p.Raise {
			raised[string(p.Key)] = p.Record.Stamp
		} else {
			puts = append(puts, p)
		}
	}
	return puts, raised
}

// replaced is the keys of old rows that puts replace.
func replaced(found map[cohort.Key]Found, puts []Put) map[string]int {
	drop := map[string]int{}
	for _, p := range puts {
		if f, ok := found[p.Key]; ok {
			drop[string(p.Key)] = f.group
		}
	}
	return drop
}

type merger struct {
	out     *writer
	encoder *encoder
	puts    []Put // not yet written
	load    Load
	drop    map[string]int          // keys of old rows that are left out, and their row groups
	raised  map[string]cohort.Stamp // keys of old rows whose stamp is raised
	raises  int                     // how many were raised
	found   map[cohort.Key]Found

	segments *Segments // of the puts; nil: their rows have none
	meta     Meta
}

func (m *merger) mergeOld(old *File) error {
	c := newConverter(old.layout, m.encoder.layout)
	places, _ := old.places(old.layout.names())
	plans, index := m.plan(old), old.pageIndex()
	ahead := m.rewriteAhead(old, plans)
	defer ahead.end()
	for i, g := range old.file.RowGroups() {
		err := error(nil)
		switch p := plans[i]; {
		case p.copy:
			err = m.takeGroup(old, index, i, p)
		case p.rewrite:
			err = m.rewriteGroup(p, <-ahead.next)
		default:
			err = m.mergeGroup(c, g, places)
		}
		if err != nil {
			return fmt.Errorf("row group %d: %w", i, err)
		}
	}
	return nil
}

// takeGroup writes the puts that come before an old row group, and takes the group over.
func (m *merger) takeGroup(old *File, index indexReader, number int, p groupPlan) error {
	if err := m.putBelow(p.first); err != nil {
		return err
	}
	return m.out.takeGroup(old, index, number, p)
}

// mergeGroup decodes the rows of an old row group and writes those that stay.
func (m *merger) mergeGroup(c *converter, g parquet.RowGroup, places []int) error {
	key, seq := c.from.place[columnKey], c.from.place[columnSeq]
	return each(g, places, func(r parquet.Row) error {
		if err := m.putBelow(r[seq].Int64()); err != nil {
			return err
		}
		if _, ok := m.drop[string(r[key].ByteArray())]; ok {
			return nil
		}
		stamp, raise := m.raised[string(r[key].ByteArray())]
		if !raise {
			return m.out.add(false, func(dst parquet.Row) (parquet.Row, error) { return c.convert(dst, r) })
		}
		m.raises++
		return m.out.add(false, func(dst parquet.Row) (parquet.Row, error) {
			start := len(dst)
			dst, err := c.convert(dst, r)
			if err == nil {
				cells{c.to, dst[start:]}.set(columnStamp, parquet.Int64Value(int64(stamp)))
			}
			return dst, err
		})
	})
}

// putBelow writes the puts below seq, or all if it is -1.
func (m *merger) putBelow(seq int64) error {
	for len(m.puts) > 0 && (seq < 0 || int64(m.puts[0].Seq) < seq) {
		p := m.puts[0]
		m.puts = m.puts[1:]
		r, err := p.record(m.load)
		if err == nil {
			err = m.out.add(true, func(dst parquet.Row) (parquet.Row, error) {
				return m.segments.mark(m.out.layout, m.encoder.encode(dst, p, r), p, r.Cohort, m.meta.Withdrawn), nil
			})
		}
		if err != nil {
			return fmt.Errorf("put %q: %w", p.Key, err)
		}
	}
	return nil
}
