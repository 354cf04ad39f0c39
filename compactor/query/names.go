package query

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
)

// checkNames refuses a name that no file has.
func checkNames(ctx context.Context, e Expr, files []*index.File) error {
	if !slices.ContainsFunc(files, func(f *index.File) bool { return f != nil }) {
		return nil
	}
	return namesOf{files: files}.check(ctx, e, nil)
}

// namesOf are rows in which names are looked for.
type namesOf struct {
	files  []*index.File
	schema index.Schema // of fresh
	fresh  []index.Typed
}

// check refuses a name of e or of others that no row has and no column.
func (o namesOf) check(ctx context.Context, e Expr, others []name) error {
	has := func(n name) bool { return n.fixed || hasColumn(o.files, n.column) || hasName(o.schema, n.column) }
	missing := slices.DeleteFunc(slices.Concat(e.names, others), has)
	if len(missing) == 0 {
		return nil
	}
	there, err := o.extraKinds(ctx, missing)
	if err != nil {
		return err
	}
	for i, n := range missing {
		if there[n.column] != nil {
			continue
		}
		unknown := &NameError{Column: n.column}
		if unknown.Near, err = o.near(ctx, n.column); err != nil {
			return err
		}
		if i < len(missing)-len(others) && slices.Contains(e.names, n) {
			return &Error{e.text, n.offset, unknown.Error()}
		}
		return unknown
	}
	return nil
}

func hasName(s index.Schema, column string) bool {
	return slices.ContainsFunc(s, func(c index.Column) bool { return c.Name == column })
}

func hasColumn(files []*index.File, column string) bool {
	return slices.ContainsFunc(files, func(f *index.File) bool {
		if f == nil {
			return false
		}
		_, ok := f.Kind(column)
		return ok
	})
}

// kinds are types of JSON values.
type kinds map[jsonscan.Kind]bool

// extraKinds are the types of the values that stand in _extra, by name. A name without one is absent.
func extraKinds(ctx context.Context, files []*index.File, names []name) (map[string]kinds, error) {
	return namesOf{files: files}.extraKinds(ctx, names)
}

func (o namesOf) extraKinds(ctx context.Context, names []name) (map[string]kinds, error) {
	found := map[string]kinds{}
	spelled := make([][]byte, len(names))
	for i, n := range names {
		found[n.column], spelled[i] = kinds{}, index.ExtraName(n.column)
	}
	err := o.eachExtra(ctx, func(extra []byte) bool {
		return slices.ContainsFunc(spelled, func(s []byte) bool { return bytes.Contains(extra, s) })
	}, func(m index.Member) {
		if k := found[string(m.Name)]; k != nil {
			k[jsonscan.KindOf(m.Token)] = true
		}
	})
	for column, k := range found {
		if len(k) == 0 {
			delete(found, column)
		}
	}
	return found, err
}

// eachExtra calls do with each member of the values of _extra that matter.
func (o namesOf) eachExtra(ctx context.Context, matters func([]byte) bool, do func(index.Member)) error {
	c := index.Choice{Columns: []string{extraColumn}}
	c.Group = func(g index.Group) (bool, error) {
		b := g.Bounds(extraColumn)
		return b.Nulls < b.Rows, nil
	}
	c.Row = func(values []index.Value) (bool, error) {
		extra := values[0].Text()
		if extra == nil || !matters(extra) {
			return false, nil
		}
		for m, err := range index.EachExtra(extra) {
			if err != nil {
				return false, err
			}
			do(m)
		}
		return false, nil
	}
	for _, f := range o.files {
		if f == nil {
			continue
		}
		for _, err := range f.Choose(ctx, c) {
			if err != nil {
				return err
			}
		}
	}
	for _, t := range o.fresh {
		if _, err := c.Row([]index.Value{t.Value(o.schema, extraColumn)}); err != nil {
			return err
		}
	}
	return nil
}

// near are names that may be meant by one that nothing has.
func (o namesOf) near(ctx context.Context, column string) ([]string, error) {
	all := map[string]bool{"run_id": true, "stage": true, "phase": true, "cohort_id": true, timestampColumn: true, "snapshot_seq": true, "record_id": true}
	for _, f := range o.files {
		if f == nil {
			continue
		}
		for _, c := range f.Schema() {
			all[c.Name] = true
		}
	}
	for _, c := range o.schema {
		all[c.Name] = true
	}
	const most = 10_000 // names of strangers
	err := o.eachExtra(ctx, func([]byte) bool { return len(all) < most }, func(m index.Member) { all[string(m.Name)] = true })
	return nearTo(column, all), err
}

// nearTo are at most three names that may be meant by another one, the nearest first. The group may be missing in it, as in auc, which is near to
// metrics.auc, or the end, as in cohort.
func nearTo(wrong string, names map[string]bool) (near []string) {
	const most, longest = 3, 255
	distances := map[string]int{}
	for n := range names {
		if len(n) > longest || len(wrong) > longest {
			continue
		}
		d := distance(strings.ToLower(wrong), strings.ToLower(n))
		if _, last, ok := strings.Cut(n, "."); ok {
			d = min(d, distance(strings.ToLower(wrong), strings.ToLower(last)))
		}
		if len(wrong) >= 3 && strings.HasPrefix(n, wrong) {
			d = 1
		}
		if d <= max(1, len(wrong)/4) {
			near, distances[n] = append(near, n), d
		}
	}
	slices.SortFunc(near, func(a, b string) int { return cmp.Or(cmp.Compare(distances[a], distances[b]), cmp.Compare(a, b)) })
	near = near[:min(most, len(near))]
	for i, n := range near {
		if t, end, err := next(n, 0); err != nil || end != len(n) || t.kind != wordToken || isReserved(t) {
			near[i] = quoted(n, '"')
		}
	}
	return near
}

// distance is how many characters must be changed, added, taken away, or exchanged with the next one, to make b of a.
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	before, row, next := make([]int, len(to)+1), make([]int, len(to)+1), make([]int, len(to)+1)
	for i := range row {
		row[i] = i
	}
	for i, c := range from {
		next[0] = i + 1
		for j, d := range to {
			change := row[j]
			if c != d {
				change++
			}
			next[j+1] = min(change, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && c == to[j-1] && from[i-1] == d {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(to)]
}
