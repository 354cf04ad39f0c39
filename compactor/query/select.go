package query

import (
	"context"
	"iter"
	"slices"

	"github.com/runfold/runfold/compactor/index"
)

// Select yields the rows of the files for which e is true, in the order of the files and in each by seq. A file that is nil has no
// rows, like generation.Data.Index before the first fold.
//
// A name that no row of any file has and no column is an *Error, before the first row. It ends after the first error.
//
// It reads the columns that e names, _extra if e names others than fixed columns, and of row groups with a selected row the fixed
// columns. Row groups without a row that may be selected, as the footer tells, are not read.
func Select(ctx context.Context, e Expr, files ...*index.File) iter.Seq2[index.Identity, error] {
	return func(yield func(index.Identity, error) bool) {
		if e.root == nil {
			return
		}
		if err := checkNames(ctx, e, files); err != nil {
			yield(index.Identity{}, err)
			return
		}
		e.each(ctx, files, yield)
	}
}

// SelectFrom is Select from one file. A name may also be one of the others.
func SelectFrom(ctx context.Context, e Expr, f *index.File, others ...*index.File) iter.Seq2[index.Identity, error] {
	return func(yield func(index.Identity, error) bool) {
		if e.root == nil {
			return
		}
		if err := checkNames(ctx, e, slices.Concat(others, []*index.File{f})); err != nil {
			yield(index.Identity{}, err)
			return
		}
		e.each(ctx, []*index.File{f}, yield)
	}
}

// each yields the selected rows of files.
func (e Expr) each(ctx context.Context, files []*index.File, yield func(index.Identity, error) bool) {
	for _, f := range files {
		if f == nil {
			continue
		}
		for h, err := range f.Choose(ctx, e.choice()) {
			if !yield(h, err) || err != nil {
				return
			}
		}
	}
}

// choice is e as the index understands it.
func (e Expr) choice() index.Choice {
	r := row{names: e.names}
	c := index.Choice{Columns: e.Names()}
	for _, n := range e.names {
		r.extras = append(r.extras, index.ExtraName(n.column))
		if !n.fixed && !slices.Contains(c.Columns, extraColumn) {
			c.Columns = append(c.Columns, extraColumn)
		}
	}
	extra := slices.Index(c.Columns, extraColumn)
	c.Group = func(g index.Group) (bool, error) {
		b := g.Bounds(extraColumn)
		of := &group{Group: g, names: e.names, extra: b.Nulls < b.Rows}
		may, _ := e.root.may(of)
		return may, of.err
	}
	c.Row = func(values []index.Value) (bool, error) {
		r.values, r.extra = values, nil
		if extra >= 0 {
			r.extra = values[extra].Text()
		}
		is, err := e.root.of(&r)
		return is == yes, err
	}
	return c
}
