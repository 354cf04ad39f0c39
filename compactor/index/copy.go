package index

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/runfold/runfold/cohort"
)

// A row group that a fold leaves alone is taken over as it stands: as bytes, or as blocks that two files share. That costs a tenth of
// what decoding and encoding it would, or nothing. What the footer says of it is copied with other offsets, see splice. Target compares
// what is copied with its checksum; what is shared is what it was.

// groupPlan is what is known about an old row group before it is read.
type groupPlan struct {
	copy        bool  // it is taken over
	rewrite     bool  // it is encoded again for itself, see rewriter. Neither: its rows go the way of new ones
	from, size  int64 // where it stands with its filters, and the zeros after them
	first, last int64 // the seqs of its rows
}

// plan decides which row groups of old are taken over: those that no put changes or falls into, and that
// are not small. A small group is encoded again, and so becomes one with its neighbours. A small group
// between two groups that are taken over is taken over, too: otherwise each later fold would encode it again.
// Of small groups at the end, those become one with new rows that joined says. A group that is not small stays one for itself, also if rows go from it.
func (m *merger) plan(old *File) []groupPlan {
	groups := old.file.Metadata().RowGroups
	plans := make([]groupPlan, len(groups))
	if old.anew {
		return plans // bounds of the footer may be wrong
	}
	same := old.hasLayout(m.encoder.layout)
	more := int64(m.encoder.layout.width() - old.layout.width())
	touched := map[int]bool{}
	for _, g := range m.drop {
		touched[g] = true
	}
	for key := range m.raised {
		touched[m.found[cohort.Key(key)].group] = true
	}
	free, large := make([]bool, len(groups)), make([]bool, len(groups))
	puts := m.puts
	for i, g := range groups {
		p := &plans[i]
		bounds := g.Columns[old.layout.place[columnSeq]].MetaData.Statistics
		from, to, ok := groupSpan(&g)
		if len(bounds.MinValue) != 8 || len(bounds.MaxValue) != 8 || !ok {
			continue
		}
		p.from, p.size = from, aligned(to)-from
		p.first = int64(binary.LittleEndian.Uint64(bounds.MinValue))
		p.last = int64(binary.LittleEndian.Uint64(bounds.MaxValue))
		for len(puts) > 0 && int64(puts[0].Seq) < p.first {
			puts = puts[1:]
		}
		closed := len(puts) == 0 || int64(puts[0].Seq) > p.last
		free[i] = same && closed && !touched[i] && m.out.out.to.Takes(p.from, p.size)
		weight := g.TotalByteSize + g.NumRows*int64(len(g.Columns))*cellBytes
		large[i] = g.NumRows >= m.out.full.rows/2 || weight >= m.out.full.bytes/2
		p.rewrite = closed && large[i] && more*g.NumRows*cellBytes <= m.out.full.bytes/4 // else it may become too large
	}
	end, joined := m.joined(plans, groups, free, large)
	for i := range plans {
		alone := i+1 < len(plans) && free[i+1] && large[i+1] && (i == 0 || free[i-1] && large[i-1])
		plans[i].copy = free[i] && (large[i] || alone || i >= end && i < joined)
		plans[i].rewrite = plans[i].rewrite && !plans[i].copy
	}
	return plans
}

// leastGroup is the part of a full row group below which the last one is always encoded with new rows. It bounds how many small groups there are
// where each fold adds a row or two.
const leastGroup = 64

// joined is the first of the last row groups that become one with the rows that come after them, and end the first of all small ones at the end.
// A group stays as it is while it has twice the rows that come after it. So a fold that adds a few rows does not encode all rows of a group that
// is nearly large: a row is encoded again when the number of rows after it has doubled, and the small groups at the end are as many as there are
// doublings from the least to half of a full one.
func (m *merger) joined(plans []groupPlan, groups []format.RowGroup, free, large []bool) (end, joined int) {
	after := int64(len(m.puts))
	if n := len(plans); n > 0 {
		last := plans[n-1].last
		at, _ := slices.BinarySearchFunc(m.puts, last, func(p Put, seq int64) int { return cmp.Compare(int64(p.Seq), seq) })
		after -= int64(at)
	}
	for end, joined = len(plans), len(plans); end > 0 && !large[end-1]; end-- {
		rows := groups[end-1].NumRows
		if joined == end && (!free[end-1] || rows < max(2*after, m.out.full.rows/leastGroup)) {
			joined, after = end-1, after+rows
		}
	}
	return end, joined
}

// groupSpan is where a row group stands: its columns, and then its filters. It is false if there is something between them, which no
// version has written.
func groupSpan(g *format.RowGroup) (from, to int64, ok bool) {
	if len(g.Columns) == 0 {
		return 0, 0, false
	}
	from, to = chunkSpan(&g.Columns[0].MetaData)
	parts := make([][2]int64, 0, len(g.Columns)+2)
	for i := range g.Columns[1:] {
		from, to := chunkSpan(&g.Columns[1+i].MetaData)
		parts = append(parts, [2]int64{from, to})
	}
	for i := range g.Columns {
		if m := &g.Columns[i].MetaData; m.BloomFilterOffset != 0 {
			parts = append(parts, [2]int64{m.BloomFilterOffset, m.BloomFilterOffset + int64(m.BloomFilterLength)})
		}
	}
	for _, p := range parts {
		if p[0] != to || p[1] < p[0] {
			return 0, 0, false
		}
		to = p[1]
	}
	return from, to, true
}

// takeGroup appends a row group of an old index as it stands.
func (w *writer) takeGroup(old *File, index indexReader, number int, p groupPlan) error {
	if err := w.endGroup(); err != nil {
		return err
	}
	from := w.out.pos
	if err := w.out.take(p.from, p.size); err != nil {
		return err
	}
	if err := w.follow(p.first, true); err != nil {
		return err
	}
	w.seq = p.last
	g := &old.file.Metadata().RowGroups[number]
	w.groups = append(w.groups, placed{group: g, shift: from - p.from, index: index})
	w.stats.GroupsCopied++
	w.stats.RowsCopied += g.NumRows
	return nil
}
