package query

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
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

// Used are the dynamic columns in which some row has a value, in their order, and the names that rows of Fresh bring.
func (s Source) Used() (used []string) {
	met := map[string]bool{}
	use := func(name string) {
		if !met[name] {
			used, met[name] = append(used, name), true
		}
	}
	if s.Index != nil {
		for _, u := range s.Index.Uses() {
			if u.Values > 0 {
				use(u.Name)
			}
		}
	}
	for _, t := range s.Fresh {
		for i, c := range s.Schema {
			if t.Values[i] != nil {
				use(c.Name)
			}
		}
		if t.Extra == nil {
			continue
		}
		for m, err := range index.EachExtra(t.Extra) {
			if err == nil {
				use(string(m.Name))
			}
		}
	}
	return used
}

// FixedColumns are those that every index has and that are for people, as expressions call them.
var FixedColumns = []string{"run_id", "stage", "cohort_id", "snapshot_seq", timestampColumn, "record_id"}

// Expand replaces each name that ends with * by all names that begin so: metrics.* by all metrics, those last that have values in _extra and no
// column; and * alone by all columns, the fixed ones of FixedColumns first, and _extra if some row has one. Where none does, it is a *NameError, unless there is no row.
func (s Source) Expand(ctx context.Context, columns []string) ([]string, error) {
	var out []string
	for _, c := range columns {
		prefix, many := strings.CutSuffix(c, "*")
		if !many {
			out = append(out, c)
			continue
		}
		from, err := s.begin(ctx, prefix)
		if err != nil {
			return nil, err
		}
		if len(from) == 0 && (s.Index != nil || len(s.Fresh) > 0) {
			return nil, &NameError{Column: c}
		}
		for _, name := range from {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out, nil
}

// begin are the names that begin with a prefix.
func (s Source) begin(ctx context.Context, prefix string) (names []string, err error) {
	all := s.Columns()
	if prefix == "" {
		all = slices.Concat(FixedColumns, all)
		if s.HasExtra() {
			all = append(all, extraColumn)
		}
		return all, nil
	}
	met := map[string]bool{}
	use := func(name string) {
		if strings.HasPrefix(name, prefix) && !met[name] {
			names, met[name] = append(names, name), true
		}
	}
	for _, name := range all {
		use(name)
	}
	spelled := bytes.TrimSuffix(jsonscan.Quote(prefix), []byte{'"'})
	err = s.namesOf().eachExtra(ctx, func(extra []byte) bool { return bytes.Contains(extra, spelled) }, func(m index.Member) { use(string(m.Name)) })
	return names, err
}

// HasExtra tells whether some row has values that no column holds.
func (s Source) HasExtra() bool {
	return s.Index != nil && slices.ContainsFunc(s.Index.Groups(), extraIn) ||
		slices.ContainsFunc(s.Fresh, func(t index.Typed) bool { return t.Extra != nil })
}

// Distinct are the texts of a fixed column, sorted, and whether there are more than most; then some are missing. It reads no row of most row groups: the cohorts
// and stages of one stand in its dictionary. If ctx ends, it returns what was found so far with the error.
func (s Source) Distinct(ctx context.Context, column string, most int) (texts []string, more bool, err error) {
	d := distinct{Source: s, column: namedColumn(column).column, most: most, found: map[string]bool{}}
	if s.Index != nil {
		for _, g := range s.Index.Groups() {
			if err = d.group(ctx, g); err != nil || len(d.found) > most {
				break
			}
		}
	}
	for _, t := range s.Fresh {
		if v := t.Value(s.Schema, d.column); v.Kind == index.String {
			d.found[string(v.Text())] = true
		}
	}
	texts = slices.Sorted(maps.Keys(d.found))
	return texts[:min(most, len(texts))], len(texts) > most, err
}

// distinct collects texts.
type distinct struct {
	Source
	column string
	most   int
	found  map[string]bool
}

func (d *distinct) group(ctx context.Context, g index.Group) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(d.Gone) == 0 {
		words, ok, err := g.Words(d.column)
		for _, w := range words {
			d.found[w] = true
		}
		if ok || err != nil {
			return err
		}
	}
	err := g.Each([]string{d.column, "_key"}, func(row int64, values []index.Value) error {
		text := values[0].Text()
		switch {
		case row%checkEvery == 0 && ctx.Err() != nil:
			return ctx.Err()
		case values[0].Kind != index.String || d.found[string(text)] || d.Gone[cohort.Key(values[1].Text())]:
			return nil
		}
		if d.found[string(text)] = true; len(d.found) > d.most {
			return errEnough
		}
		return nil
	})
	if err == errEnough {
		return nil
	}
	return err
}
