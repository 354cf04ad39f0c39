package found

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/terminal"
)

// Compared are the values of runs, by their names.
type Compared struct {
	Keys []string
	Rows []ComparedRow
}

// ComparedRow is one name with a value of each run; nil where a run has none.
type ComparedRow struct {
	Name   string
	Values [][]byte
	Differ bool
}

// Mixed tells whether some of the values are texts, and some are not.
func (r ComparedRow) Mixed() bool {
	texts, others := 0, 0
	for _, v := range r.Values {
		switch {
		case v == nil:
		case jsonscan.KindOf(v) == jsonscan.String:
			texts++
		default:
			others++
		}
	}
	return texts > 0 && others > 0
}

// TwiceError says that a run was to be compared with itself.
type TwiceError struct{ Key string }

func (e *TwiceError) Error() string {
	return fmt.Sprintf("%s stands twice: a run does not differ from itself", terminal.Field(e.Key))
}

// Compare compares the runs of these names.
func (a Root) Compare(ctx context.Context, asked []string) (c Compared, err error) {
	var runs []*Run
	for _, text := range asked {
		f, err := a.Find(ctx, text)
		if err != nil {
			return c, err
		}
		runs = append(runs, f)
	}
	return CompareRuns(runs)
}

// CompareRuns compares runs. It fails with a *TwiceError only.
func CompareRuns(runs []*Run) (c Compared, err error) {
	places := map[string]int{}
	for i, f := range runs {
		c.Keys = append(c.Keys, string(f.Key))
		for _, v := range f.toCompare() {
			at, ok := places[v.Name]
			if !ok {
				at = len(c.Rows)
				places[v.Name] = at
				c.Rows = append(c.Rows, ComparedRow{Name: v.Name, Values: make([][]byte, len(runs))})
			}
			c.Rows[at].Values[i] = v.Value
		}
	}
	for i, key := range c.Keys {
		if slices.Contains(c.Keys[:i], key) {
			return c, &TwiceError{key}
		}
	}
	for i := range c.Rows {
		r := &c.Rows[i]
		for _, v := range r.Values[1:] {
			r.Differ = r.Differ || !sameValue(v, r.Values[0])
		}
	}
	// Names of the index first, in the order in which they came, and then those of snapshots.
	slices.SortStableFunc(c.Rows, func(x, y ComparedRow) int {
		of := func(r ComparedRow) int {
			if strings.HasPrefix(r.Name, "snapshot.") {
				return 1
			}
			return 0
		}
		return of(x) - of(y)
	})
	return c, nil
}

// sameValue compares two values, nil for none.
func sameValue(v, w []byte) bool {
	if v == nil || w == nil {
		return v == nil && w == nil
	}
	return bytes.Equal(index.OneSpelling(v), index.OneSpelling(w))
}

// toCompare are the values that a run has, those of objects under names with a point, so that one member that differs can be seen. Two of one name stand together.
func (f *Run) toCompare() (out []Field) {
	if ts := f.Timestamp(); ts != "" {
		out = append(out, Field{"timestamp", jsonscan.Quote(ts)})
	}
	out = append(out, Field{"stage", jsonscan.Quote(f.Stage)}, Field{"cohort_id", jsonscan.Quote(string(f.Cohort))})
	at, whole := map[string]int{}, map[string]bool{}
	add := func(name string, value []byte) {
		if i, twice := at[name]; twice {
			out[i].Value = slices.Concat(out[i].Value, []byte(" "), value)
			return
		}
		at[name] = len(out)
		out = append(out, Field{name, value})
	}
	for _, v := range f.Fields {
		whole[v.Name] = true
		eachLeaf(v.Name, v.Value, add)
	}
	for _, v := range f.Others {
		if whole[v.Name] || jsonscan.KindOf(v.Value) == jsonscan.Object && (v.Name == "metrics" || v.Name == "params" || v.Name == "tags") && f.hasGroup(v.Name) {
			continue
		}
		eachLeaf("snapshot."+v.Name, v.Value, add)
	}
	return out
}

// eachLeaf calls do for a value, or, of an object, for each of its members, and so on.
func eachLeaf(name string, value []byte, do func(name string, value []byte)) {
	if jsonscan.KindOf(value) != jsonscan.Object {
		do(name, value)
		return
	}
	empty := true
	for m := range jsonscan.EachMember(value) {
		empty = false
		eachLeaf(name+"."+string(m.Name), m.Value, do)
	}
	if empty {
		do(name, value)
	}
}

// hasGroup tells whether the index has members of an object of the record.
func (f *Run) hasGroup(name string) bool {
	return slices.ContainsFunc(f.Fields, func(v Field) bool { return strings.HasPrefix(v.Name, name+".") })
}
