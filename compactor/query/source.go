package query

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/runfold/runfold/compactor/index"
)

// check refuses names that no row has and no column. Where there is no row at all, any name may come.
func (s Source) check(ctx context.Context, e Expr, others []name) error {
	if s.Index == nil && len(s.Fresh) == 0 {
		return nil
	}
	return s.namesOf().check(ctx, e, others)
}

func (s Source) namesOf() namesOf { return namesOf{[]*index.File{s.Index}, s.Schema, s.Fresh} }

// Columns are the dynamic columns, in the order in which they came.
func (s Source) Columns() []string {
	var all []string
	if s.Index != nil {
		for _, c := range s.Index.Schema() {
			all = append(all, c.Name)
		}
	}
	for _, c := range s.Schema {
		if !slices.Contains(all, c.Name) {
			all = append(all, c.Name)
		}
	}
	return all
}

// FixedColumns are those that every index has and that are for people, as expressions call them.
var FixedColumns = []string{"run_id", "stage", "cohort_id", "snapshot_seq", timestampColumn, "record_id"}

// Expand replaces each name that ends with * by the columns that begin so: metrics.* by all metrics, * by all columns, the fixed ones of
// FixedColumns first. Where none does, it is a *NameError.
func (s Source) Expand(columns []string) ([]string, error) {
	var out []string
	for _, c := range columns {
		prefix, many := strings.CutSuffix(c, "*")
		if !many {
			out = append(out, c)
			continue
		}
		from := s.Columns()
		if prefix == "" {
			from = slices.Concat(FixedColumns, from)
		}
		before := len(out)
		for _, name := range from {
			if strings.HasPrefix(name, prefix) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
		if len(out) == before && !slices.ContainsFunc(out, func(name string) bool { return strings.HasPrefix(name, prefix) }) {
			return nil, &NameError{Column: c}
		}
	}
	return out, nil
}

// Distinct are the texts of a fixed column, sorted, and whether there are more than most; then some are missing. It reads only
// row groups that have more than one, or one that was not met before.
func (s Source) Distinct(ctx context.Context, column string, most int) (texts []string, more bool, err error) {
	found := map[string]bool{}
	n := namedColumn(column)
	var groups []index.Group
	if s.Index != nil {
		groups = s.Index.Groups()
	}
	for _, g := range groups {
		b := g.Bounds(n.column)
		if b.Min.Kind == index.String && b.Nulls == 0 && string(b.Min.Text()) == string(b.Max.Text()) && len(s.Gone) == 0 {
			found[string(b.Min.Text())] = true
			continue
		}
		q := Query{Columns: []string{"_key"}}
		a := &asked{Query: q, src: s, groups: []index.Group{g}, keys: readerOf([]name{n})}
		for key := range s.Gone {
			a.gone = append(a.gone, string(key))
		}
		slices.Sort(a.gone)
		sv, ok, err := a.sieve(g)
		if err != nil {
			return nil, false, err
		}
		if !ok {
			continue
		}
		err = g.Each(sv.columns, func(row int64, values []index.Value) error {
			if row%checkEvery == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if text := values[0].Text(); values[0].Kind == index.String && !found[string(text)] {
				take, err := sv.takes(values)
				if err != nil || !take {
					return err
				}
				if found[string(text)] = true; len(found) > most {
					return errEnough
				}
			}
			return nil
		})
		if err != nil && err != errEnough {
			return nil, false, err
		}
		if len(found) > most {
			break
		}
	}
	for _, t := range s.Fresh {
		if v := t.Value(s.Schema, n.column); v.Kind == index.String {
			found[string(v.Text())] = true
		}
	}
	texts = slices.Sorted(maps.Keys(found))
	return texts[:min(most, len(texts))], len(texts) > most, nil
}
