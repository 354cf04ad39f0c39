package query

import (
	"context"
	"errors"
	"iter"
	"math"
	"runtime"

	"github.com/runfold/runfold/compactor/index"
)

// checkEvery is how many rows are read between two looks at the context.
const checkEvery = 4096

// portion is selected rows of one row group, or, after the last one, of Source.Fresh.
type portion struct {
	count int64
	rows  []int64 // their numbers; nil if they are all rows
	cells [][]Cell
}

// cut is what a window lets through of a part.
func (p portion) cut(w *window, rows int64) portion {
	first, n := w.cut(p.count)
	switch {
	case n == p.count && p.rows == nil && n == rows:
		return p
	case p.rows == nil:
		p.rows = make([]int64, n)
		for i := range p.rows {
			p.rows[i] = first + int64(i)
		}
	default:
		p.rows = p.rows[first : first+n]
	}
	if p.cells != nil {
		p.cells = p.cells[first : first+n]
	}
	p.count = n
	return p
}

// window is Offset and Limit while rows go by.
type window struct{ skip, left int64 }

func (a *asked) window() *window {
	if a.Limit == 0 {
		return &window{a.Offset, math.MaxInt64}
	}
	return &window{a.Offset, a.Limit}
}

// cut says which of so many rows come through: n from the first.
func (w *window) cut(count int64) (first, n int64) {
	first = min(w.skip, count)
	n = min(w.left, count-first)
	w.skip, w.left = w.skip-first, w.left-n
	return first, n
}

var errEnough = errors.New("enough")

// choose selects rows of a part.
func (a *asked) choose(ctx context.Context, i int) (p portion, err error) {
	if i == len(a.groups) {
		return a.chooseFresh()
	}
	g := a.groups[i]
	s, ok, err := a.sieve(g)
	if err != nil || !ok {
		return p, err
	}
	if s.passes {
		return portion{count: g.Rows()}, ctx.Err()
	}
	p.rows = []int64{}
	most := a.most()
	err = g.Each(s.columns, func(row int64, values []index.Value) error {
		if row%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		take, err := s.takes(values)
		if take {
			if p.rows = append(p.rows, row); int64(len(p.rows)) == most {
				return errEnough
			}
		}
		return err
	})
	if err == errEnough {
		err = nil
	}
	p.count = int64(len(p.rows))
	return p, err
}

func (a *asked) chooseFresh() (p portion, err error) {
	s := a.freshSieve()
	p.rows = []int64{}
	for i, t := range a.src.Fresh {
		take, err := s.selects(valuesOf(t, a.src.Schema, s.columns))
		if err != nil {
			return p, err
		}
		if take {
			p.rows = append(p.rows, int64(i))
		}
	}
	p.count = int64(len(p.rows))
	return p, nil
}

// read reads the cells of a part.
func (a *asked) read(ctx context.Context, i int, p portion) (portion, error) {
	if p.count == 0 {
		return p, nil
	}
	extra := i == len(a.groups) || extraIn(a.groups[i])
	columns, at := a.out.columns(extra)
	memory := &arena{}
	slab := make([]Cell, 0, int(p.count)*len(a.out.names))
	p.cells = make([][]Cell, 0, p.count)
	take := func(row int64, values []index.Value) error {
		if row%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var extra []byte
		if at >= 0 {
			extra = values[at].Text()
		}
		from := len(slab)
		for n := range a.out.names {
			c, err := a.out.cell(n, values[n], extra)
			if err != nil {
				return err
			}
			if a.TextBytes > 0 && a.out.names[n].column != "_key" {
				c = c.cut(a.TextBytes)
			}
			slab = append(slab, c.own(memory))
		}
		p.cells = append(p.cells, slab[from:len(slab):len(slab)])
		return nil
	}
	if i == len(a.groups) {
		for _, row := range p.rows {
			if err := take(row, valuesOf(a.src.Fresh[row], a.src.Schema, columns)); err != nil {
				return p, err
			}
		}
		return p, nil
	}
	var err error
	if p.rows == nil {
		err = a.groups[i].Each(columns, take)
	} else {
		err = a.groups[i].At(columns, p.rows, take)
	}
	return p, err
}

// rowsOf is how many rows a part is chosen from.
func (a *asked) rowsOf(i int) int64 {
	if i == len(a.groups) {
		return int64(len(a.src.Fresh))
	}
	return a.groups[i].Rows()
}

// inSeqOrder yields the selected rows as they stand.
func (a *asked) inSeqOrder(ctx context.Context, yield func(Row, error) bool) {
	parts := len(a.groups) + 1
	w := a.window()
	first, read := 0, func(ctx context.Context, i int) (portion, error) {
		p, err := a.choose(ctx, i)
		if err == nil {
			p, err = a.read(ctx, i, p)
		}
		return p, err
	}
	if a.Offset > 0 || a.filter.root == nil { // then it is known which rows are wanted before any cell is read
		wanted, err := a.wanted(ctx, w)
		if err != nil {
			yield(Row{}, err)
			return
		}
		for first < len(wanted) && wanted[first].count == 0 {
			first++
		}
		skipped := first
		parts, w = len(wanted)-first, &window{0, math.MaxInt64}
		read = func(ctx context.Context, i int) (portion, error) { return a.read(ctx, skipped+i, wanted[skipped+i]) }
	}
	i := first
	for p, err := range inOrder(ctx, parts, read) {
		if err != nil {
			yield(Row{}, err)
			return
		}
		_, n := w.cut(p.count)
		for j, cells := range p.cells[:n] {
			r := Row{cells, -1}
			if i == len(a.groups) {
				r.Fresh = int(p.rows[j])
			}
			if !yield(r, nil) {
				return
			}
		}
		if w.left == 0 {
			return
		}
		i++
	}
}

// wanted are the parts as the window lets them through, up to the last one that has a row.
func (a *asked) wanted(ctx context.Context, w *window) (wanted []portion, err error) {
	for p, err := range inOrder(ctx, len(a.groups)+1, a.choose) {
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, p.cut(w, a.rowsOf(len(wanted))))
		if w.left == 0 {
			break
		}
	}
	return wanted, nil
}

// inOrder yields what do returns for the numbers below n, in their order, and ends after the first error. Several calls of do run at once,
// few at first, as little may be wanted. All have ended when it ends.
func inOrder[T any](ctx context.Context, n int, do func(ctx context.Context, i int) (T, error)) iter.Seq2[T, error] {
	type result struct {
		value T
		err   error
	}
	return func(yield func(T, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		most := runtime.GOMAXPROCS(0) + 1
		var queue []chan result
		defer func() {
			stop()
			for _, c := range queue {
				<-c
			}
		}()
		for i, begun := 0, 0; i < n; i++ {
			for begun < n && begun <= i+min(i, most-1) {
				c, of := make(chan result, 1), begun
				go func() {
					v, err := do(ctx, of)
					c <- result{v, err}
				}()
				queue = append(queue, c)
				begun++
			}
			r := <-queue[0]
			queue = queue[1:]
			if !yield(r.value, r.err) || r.err != nil {
				return
			}
		}
	}
}
