package main

import (
	"context"
	"iter"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view/sqlite"
	"github.com/runfold/runfold/compactor/view/sqlview"
)

// addTables puts the tables "generations" and "columns" beside the rows.
func addTables(ctx context.Context, store *generation.Store, r *sqlite.Reader) error {
	text, number := sqlview.Text, sqlview.Int
	generations := []sqlview.Column{{Name: "generation", Kind: number}, {Name: "created_at", Kind: text}, {Name: "verb", Kind: text}, {Name: "user", Kind: text},
		{Name: "host", Kind: text}, {Name: "pid", Kind: number}, {Name: "program", Kind: text}, {Name: "rows", Kind: number}, {Name: "added", Kind: number},
		{Name: "replaced", Kind: number}, {Name: "withdrawn", Kind: number}, {Name: "returned", Kind: number}, {Name: "imported", Kind: number},
		{Name: "erased", Kind: number}, {Name: "repaired_from", Kind: number}, {Name: "void", Kind: sqlview.Bool}}
	if err := r.Beside(ctx, "generations", generations, generationRows(store)); err != nil {
		return err
	}
	columns := []sqlview.Column{{Name: "name", Kind: text}, {Name: "type", Kind: text}, {Name: "declared", Kind: sqlview.Bool}, {Name: "values", Kind: number}}
	return r.Beside(ctx, "columns", columns, columnRows(store))
}

func generationRows(store *generation.Store) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		for c, err := range store.History() {
			if err == nil && c.Err != nil { // nobody knows what it says
				if !yield(append([]any{int64(c.Generation)}, make([]any, 15)...), nil) {
					return
				}
				continue
			}
			row := []any{int64(c.Generation), orNull(c.CreatedAt), orNull(string(c.Verb)), orNull(c.User), orNull(c.Host), numberOrNull(c.PID), orNull(c.Program), c.Rows}
			if n := c.Changed; n != nil {
				row = append(row, n.Added, n.Replaced, n.Withdrawn, n.Returned, n.Imported, n.Erased)
			} else {
				row = append(row, nil, nil, nil, nil, nil, nil)
			}
			var from any
			if c.RepairedFrom != nil {
				from = int64(*c.RepairedFrom)
			}
			if !yield(append(row, from, c.Void), err) || err != nil {
				return
			}
		}
	}
}

// numberOrNull is NULL for 0: an old commit does not say its process.
func numberOrNull(n int) any {
	if n == 0 {
		return nil
	}
	return int64(n)
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func columnRows(store *generation.Store) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		m, err := store.Newest()
		if err != nil {
			yield(nil, err)
			return
		}
		data, err := store.Data(m)
		if err != nil {
			yield(nil, err)
			return
		}
		defer data.Close()
		if data.Index == nil {
			return
		}
		for _, u := range data.Index.Uses() {
			if !yield([]any{u.Name, u.Kind.String(), m.Columns.Is(u.Name), u.Values}, nil) {
				return
			}
		}
	}
}
