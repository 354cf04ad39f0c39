package query

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/runfold/runfold/compactor/index"
)

// candidate is a selected row, with what it is sorted by.
type candidate struct {
	keys []value
	part int
	row  int64
}

// before is negative if c comes before d. Rows that are equal come as they stand.
func (a *asked) before(c, d candidate) int {
	for i, o := range a.Sort {
		x, y := &c.keys[i], &d.keys[i]
		if x.kind == double && y.kind == double && (x.double < y.double || x.double > y.double) { // nearly all
			if x.double < y.double != o.Descending {
				return -1
			}
			return 1
		}
		if n := compareValues(*x, *y, o.Descending); n != 0 {
			return n
		}
	}
	return cmp.Or(cmp.Compare(c.part, d.part), cmp.Compare(c.row, d.row))
}

// ranking is the first rows so far.
type ranking struct {
	of   *asked
	most int64
	rows []candidate
	last *candidate // what comes after it is not among the first; nil if there is room
}

// add adds a row unless it is known not to be among the first. Its keys are copied then.
func (r *ranking) add(c candidate, own func([]value) []value) {
	if r.last != nil && r.of.before(c, *r.last) > 0 {
		return
	}
	c.keys = own(c.keys)
	r.rows = append(r.rows, c)
	const few = 1024
	if n := int64(len(r.rows)); n >= few && n/2 >= r.most {
		r.trim()
	}
}

// isLong tells whether a trim is worth its sort: the first one always, as it tells which parts can be left out, and then once half as many rows
// as are kept have come.
func (r *ranking) isLong() bool { return r.last == nil || int64(len(r.rows))-r.most >= r.most/2 }

// trim drops what is not among the first.
func (r *ranking) trim() {
	if int64(len(r.rows)) < r.most {
		return
	}
	slices.SortFunc(r.rows, r.of.before)
	r.rows = slices.Clip(r.rows[:r.most])
	last := r.rows[r.most-1]
	r.last = &last
}

// sorted yields the selected rows in the order of Sort.
func (a *asked) sorted(ctx context.Context, yield func(Row, error) bool) {
	all, err := a.rank(ctx)
	if err != nil {
		yield(Row{}, err)
		return
	}
	rows := all.rows[min(a.Offset, int64(len(all.rows))):]
	cells, err := a.cellsOf(ctx, rows)
	if err != nil {
		yield(Row{}, err)
		return
	}
	for i, c := range rows {
		r := Row{cells[i], -1}
		if c.part == len(a.groups) {
			r.Fresh = int(c.row)
		}
		if !yield(r, nil) {
			return
		}
	}
}

// rank finds the first rows. Parts that may hold better ones are read first, so that others can be left out.
func (a *asked) rank(ctx context.Context) (*ranking, error) {
	all, mu := &ranking{of: a, most: a.most()}, sync.Mutex{}
	parts := a.byBest()
	for _, err := range inOrder(ctx, len(parts), func(ctx context.Context, i int) (struct{}, error) {
		mu.Lock()
		last := all.last
		mu.Unlock()
		if last != nil && !a.mayPrecede(parts[i], *last) {
			return struct{}{}, ctx.Err()
		}
		r := &ranking{of: a, most: all.most, last: last}
		err := a.rankPart(ctx, parts[i], r)
		mu.Lock()
		defer mu.Unlock()
		if all.rows = append(all.rows, r.rows...); err == nil && all.isLong() {
			all.trim()
		}
		return struct{}{}, err
	}) {
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all.rows, a.before)
	all.rows = all.rows[:min(int64(len(all.rows)), all.most)]
	return all, nil
}

// best is the best value of the first sort column that a row group may have. ok is false if that is not known.
func (a *asked) best(i int) (v value, ok bool) {
	n := a.keys.names[0]
	if i == len(a.groups) || n.column == digestColumn || n.column == timestampColumn && a.src.Index.Version() == 1 {
		return v, false
	}
	g := a.groups[i]
	if !n.fixed && extraIn(g) {
		return v, false
	}
	b := g.Bounds(n.column)
	switch {
	case b.Nulls == b.Rows:
		return value{}, true
	case b.Min.Kind == 0:
		return v, false
	case b.Min.Kind == index.Double && (math.IsNaN(b.Min.Double()) || math.IsNaN(b.Max.Double())):
		return v, false
	case a.Sort[0].Descending:
		return columnValue(b.Max), true
	}
	return columnValue(b.Min), true
}

// byBest are the numbers of all parts. Those of which nothing is known come first.
func (a *asked) byBest() []int {
	parts := make([]int, len(a.groups)+1)
	bests, known := make([]value, len(parts)), make([]bool, len(parts))
	for i := range parts {
		parts[i] = i
		bests[i], known[i] = a.best(i)
	}
	slices.SortStableFunc(parts, func(i, j int) int {
		switch {
		case known[i] && known[j]:
			return compareValues(bests[i], bests[j], a.Sort[0].Descending)
		case known[i]:
			return 1
		case known[j]:
			return -1
		}
		return 0
	})
	return parts
}

// mayPrecede tells whether a part may have a row that comes before c.
func (a *asked) mayPrecede(i int, c candidate) bool {
	best, ok := a.best(i)
	return !ok || compareValues(best, c.keys[0], a.Sort[0].Descending) <= 0
}

// rankPart adds the rows of a part.
func (a *asked) rankPart(ctx context.Context, i int, to *ranking) error {
	if i == len(a.groups) {
		s := a.freshSieve()
		do := s.ranker(ctx, i, to)
		for row, t := range a.src.Fresh {
			if err := do(int64(row), valuesOf(t, a.src.Schema, s.columns)); err != nil {
				return err
			}
		}
		return nil
	}
	s, ok, err := a.sieve(a.groups[i])
	if err != nil || !ok {
		return err
	}
	rows, ok, err := a.preceding(ctx, i, to)
	if err != nil {
		return err
	}
	if ok {
		return a.groups[i].At(s.columns, rows, s.ranker(ctx, i, to))
	}
	return a.groups[i].Each(s.columns, s.ranker(ctx, i, to))
}

// preceding are the rows of a group that may come before the last one of a ranking, as their first sort column says. Once a ranking is full they are few, and of
// other columns only their pages are read. ok is false if they are not few, or if that column does not say it.
func (a *asked) preceding(ctx context.Context, i int, r *ranking) (rows []int64, ok bool, err error) {
	g, n := a.groups[i], a.keys.names[0]
	if _, ok := a.best(i); !ok || r.last == nil || n.fixed {
		return nil, false, nil
	}
	last, descending := r.last.keys[0], a.Sort[0].Descending
	most := int(g.Rows() / 16)
	err = g.Each([]string{n.column}, func(row int64, values []index.Value) error {
		switch {
		case row%checkEvery == 0 && ctx.Err() != nil:
			return ctx.Err()
		case compareValues(columnValue(values[0]), last, descending) > 0:
			return nil
		case len(rows) == most:
			return errEnough
		}
		rows = append(rows, row)
		return nil
	})
	if err == errEnough {
		return nil, false, nil
	}
	return rows, err == nil, err
}

// ranker adds rows. Most rows of a large index are refused by their keys, before the expression is asked.
func (s *sieve) ranker(ctx context.Context, part int, to *ranking) func(row int64, values []index.Value) error {
	first := len(s.filter.names)
	keys := make([]value, len(s.Sort))
	memory := &arena{}
	var slab []value
	own := func(keys []value) []value {
		if cap(slab)-len(slab) < len(keys) {
			slab = make([]value, 0, 256*len(keys))
		}
		from := len(slab)
		for _, k := range keys {
			k.text = memory.keep(k.text)
			slab = append(slab, k)
		}
		return slab[from:len(slab):len(slab)]
	}
	return func(row int64, values []index.Value) error {
		if row%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		extra := s.extraOf(values)
		for i := range keys {
			c, err := s.keys.cell(i, values[first+i], extra)
			if err != nil {
				return err
			}
			keys[i] = c.value()
		}
		if s.Numbers && (keys[0].rank() != rankNumber || s.keys.names[0].column == timestampColumn) {
			return nil
		}
		c := candidate{keys, part, row}
		if to.last != nil && s.before(c, *to.last) > 0 {
			return nil
		}
		take, err := s.takes(values)
		if take {
			to.add(c, own)
		}
		return err
	}
}

// cellsOf reads the cells of some rows.
func (a *asked) cellsOf(ctx context.Context, rows []candidate) ([][]Cell, error) {
	at := make([]int, len(rows))
	for i := range at {
		at[i] = i
	}
	slices.SortFunc(at, func(i, j int) int {
		return cmp.Or(cmp.Compare(rows[i].part, rows[j].part), cmp.Compare(rows[i].row, rows[j].row))
	})
	var parts [][]int // numbers of rows, of one part each
	for _, i := range at {
		if n := len(parts); n > 0 && rows[parts[n-1][0]].part == rows[i].part {
			parts[n-1] = append(parts[n-1], i)
		} else {
			parts = append(parts, []int{i})
		}
	}
	cells := make([][]Cell, len(rows))
	for _, err := range inOrder(ctx, len(parts), func(ctx context.Context, n int) (struct{}, error) {
		p := portion{count: int64(len(parts[n]))}
		for _, i := range parts[n] {
			p.rows = append(p.rows, rows[i].row)
		}
		p, err := a.read(ctx, rows[parts[n][0]].part, p)
		for j, c := range p.cells {
			cells[parts[n][j]] = c
		}
		return struct{}{}, err
	}) {
		if err != nil {
			return nil, err
		}
	}
	return cells, nil
}
