package index

import (
	"encoding/binary"

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
// A group that is not small stays one for itself, also if rows go from it.
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
	for i := range plans {
		alone := i+1 < len(plans) && free[i+1] && large[i+1] && (i == 0 || free[i-1] && large[i-1])
		plans[i].copy = free[i] && (large[i] || alone)
		plans[i].rewrite = plans[i].rewrite && !plans[i].copy
	}
	return plans
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
