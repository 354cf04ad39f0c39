package audit

import (
	"context"
	"errors"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// Columns is what the newest generation says of its dynamic columns.
type Columns struct {
	Generation cohort.Generation `json:"generation"`
	Max        int               `json:"max"` // how many the root may have
	Columns    []Column          `json:"columns"`
	// NoColumn are the values of names that have no column.
	NoColumn index.Extras `json:"no_column"`
}

// Column is one of them.
type Column struct {
	Name     string       `json:"name"`
	Type     string       `json:"type"`
	Declared bool         `json:"declared"`
	Values   int64        `json:"values"`   // rows that have a value in it
	InExtra  index.Extras `json:"in_extra"` // values of its name that it does not hold, and why
}

// ReadColumns counts the values of each dynamic column, and those that stand in _extra and in no column. It takes no lock and writes
// nothing. It reads the footer of the index, and one column.
func ReadColumns(ctx context.Context, cfg compactor.Config) (Columns, error) {
	store, err := cfg.Store()
	if err != nil {
		return Columns{}, err
	}
	for {
		newest, err := store.Newest()
		if err != nil {
			return Columns{}, err
		}
		c, err := columnsOf(store, newest)
		if errors.Is(err, generation.ErrConflict) && ctx.Err() == nil {
			continue // swept meanwhile: there is a newer one
		}
		return c, errors.Join(err, ctx.Err())
	}
}

func columnsOf(store *generation.Store, m generation.Manifest) (Columns, error) {
	out := Columns{Generation: m.Generation, Max: m.Columns.Limit(), Columns: []Column{}, NoColumn: index.Extras{}}
	d, err := store.Data(m)
	if err != nil || d.Index == nil {
		return out, err
	}
	defer d.Close()
	extras, err := d.Index.Extras()
	if err != nil {
		return out, err
	}
	places := map[string]int{}
	for i, u := range d.Index.Uses() {
		places[u.Name] = i
		out.Columns = append(out.Columns, Column{u.Name, u.Kind.String(), m.Columns.Is(u.Name), u.Values, index.Extras{}})
	}
	for _, x := range extras {
		if i, ok := places[x.Column]; ok {
			out.Columns[i].InExtra = append(out.Columns[i].InExtra, x)
		} else {
			out.NoColumn = append(out.NoColumn, x)
		}
	}
	return out, nil
}
