package query

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
)

// checkNames refuses a name that no file has.
func checkNames(ctx context.Context, e Expr, files []*index.File) error {
	missing := slices.DeleteFunc(slices.Clone(e.names), func(n name) bool { return n.fixed || hasColumn(files, n.column) })
	if len(missing) == 0 || !slices.ContainsFunc(files, func(f *index.File) bool { return f != nil }) {
		return nil
	}
	there, err := extraKinds(ctx, files, missing)
	if err != nil {
		return err
	}
	for _, n := range missing {
		if there[n.column] == nil {
			return unknownName(ctx, e, files, n)
		}
	}
	return nil
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
	found := map[string]kinds{}
	spelled := make([][]byte, len(names))
	for i, n := range names {
		found[n.column], spelled[i] = kinds{}, index.ExtraName(n.column)
	}
	err := eachExtra(ctx, files, func(extra []byte) bool {
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
func eachExtra(ctx context.Context, files []*index.File, matters func([]byte) bool, do func(index.Member)) error {
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
	for _, f := range files {
		if f == nil {
			continue
		}
		for _, err := range f.Choose(ctx, c) {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// unknownName is the error for a name that no file has. It tells names that may be meant.
func unknownName(ctx context.Context, e Expr, files []*index.File, n name) error {
	all := map[string]bool{"run_id": true, "stage": true, "phase": true, "cohort_id": true, timestampColumn: true, "snapshot_seq": true, "record_id": true}
	for _, f := range files {
		if f == nil {
			continue
		}
		for _, c := range f.Schema() {
			all[c.Name] = true
		}
	}
	const most = 10_000 // names of strangers
	err := eachExtra(ctx, files, func([]byte) bool { return len(all) < most }, func(m index.Member) { all[string(m.Name)] = true })
	if err != nil {
		return err
	}
	message := fmt.Sprintf("no column and no row has the name %s", quoted(n.column, '"'))
	if near := nearTo(n.column, all); len(near) > 0 {
		message += ": did you mean " + strings.Join(near, " or ") + "?"
	} else {
		message += `: "compactd columns" lists the names; declare a column if records will bring it`
	}
	return &Error{e.text, n.offset, message}
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

// distance is how many characters must be changed, added or taken away to make b of a.
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	row := make([]int, len(to)+1)
	for i := range row {
		row[i] = i
	}
	for i, c := range from {
		before := row[0]
		row[0] = i + 1
		for j, d := range to {
			change := before
			if c != d {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, before+1, row[j]+1)
		}
	}
	return row[len(to)]
}
