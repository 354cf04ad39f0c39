package history

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"math"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
)

const (
	// maxFields and maxShown bound what is told of one row: how many fields, and how long a value may be.
	maxFields = 100
	maxShown  = 1 << 10
)

// Field is a field of a row that has changed: a column, or a member of the snapshot as "snapshot.NAME". A number has the spelling of
// its record, if that is known.
type Field struct {
	Name string `json:"name"`
	Was  Value  `json:"was,omitzero"` // zero: there was no such field
	Now  Value  `json:"now,omitzero"`
}

// Value is a value of a field. One that is long is not held: then only its size is known.
type Value struct {
	JSON json.RawMessage `json:"value,omitempty"`
	Size int             `json:"size,omitempty"` // in bytes, of one that is left out

	exact, one [sha256.Size]byte // checksums of the token, and of the one spelling of its value
	column     bool              // a column may have spelled it anew
}

func valueOf(token []byte, column bool) Value {
	v := Value{exact: sha256.Sum256(token), one: sha256.Sum256(index.OneSpelling(token)), column: column}
	if len(token) > maxShown {
		v.Size = len(token)
	} else {
		v.JSON = bytes.Clone(token)
	}
	return v
}

// is tells whether two values of one field are the same.
func (v Value) is(other Value) bool {
	if v.column || other.column {
		return v.one == other.one
	}
	return v.exact == other.exact
}

// fields are all that a row and its line say, by name.
func (w whole) fields(form cohort.KeyForm) map[string]Value {
	out := map[string]Value{"cohort_id": valueOf(jsonscan.Quote(string(w.Cohort)), false)}
	if at := w.line.Timestamp(w.Identity); at != "" {
		out["timestamp"] = valueOf(jsonscan.Quote(at), false)
	}
	add := func(prefix string, fields []index.Field, column bool) {
		for _, f := range fields {
			name := prefix + f.Name
			for _, taken := out[name]; taken; _, taken = out[name] {
				name += "'" // a record may have two values for one column
			}
			out[name] = valueOf(f.Value, column)
		}
	}
	r, err := index.Remake(w.Content, w.line, form, math.MaxInt32)
	if err != nil || index.HasSnapshot(r) {
		add("", w.Fields, true)
		add("snapshot.", w.line.Members(), false)
		return out
	}
	add("", index.FieldsOf(r, form), false) // the line has all fields of the record, with its tokens
	if r.ID != "" {
		add("", []index.Field{{Name: "record_id", Value: jsonscan.Quote(r.ID)}}, false)
	}
	return out
}

// changes are the fields in which two rows differ, by name.
func changes(was, now map[string]Value) (out []Field) {
	for name, v := range was {
		if !v.is(now[name]) {
			out = append(out, Field{name, v, now[name]})
		}
	}
	for name, v := range now {
		if _, ok := was[name]; !ok {
			out = append(out, Field{Name: name, Now: v})
		}
	}
	slices.SortFunc(out, func(a, b Field) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// found is a row that may be listed.
type found struct {
	key cohort.Key
	pair
}

// last is the seq by which rows are listed: that of the newer generation.
func (f found) last() cohort.Seq {
	if f.now != nil {
		return f.now.seq
	}
	return f.was.seq
}

// lists are the first rows of each kind of change.
type lists struct {
	limit int
	by    map[string][]found
}

func (l *lists) add(kind string, key cohort.Key, p *pair) {
	all := append(l.by[kind], found{key, *p})
	if len(all) > 2*l.limit {
		all = l.first(all)
	}
	l.by[kind] = all
}

// first are the rows with the lowest seqs, in order.
func (l *lists) first(all []found) []found {
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.last(), b.last()) })
	return all[:min(len(all), l.limit)]
}

// rows are what is listed: those that are gone, then those that have changed, then those that were added.
func (c *comparison) rows(ctx context.Context, l *lists) ([]Row, error) {
	changed := l.first(l.by[Changed])
	fields, err := c.fields(ctx, changed)
	if err != nil {
		return nil, err
	}
	out, err := c.gone(l.first(l.by[Gone]))
	if err != nil {
		return nil, err
	}
	for i, f := range changed {
		r := Row{Change: Changed, Key: f.key, Cohort: f.now.cohort, Was: f.was.seq, Now: f.now.seq, Fields: fields[i]}
		if r.LeftOut = max(0, len(fields[i])-maxFields); r.LeftOut > 0 {
			r.Fields = fields[i][:maxFields]
		}
		out = append(out, r)
	}
	for _, f := range l.first(l.by[Added]) {
		out = append(out, Row{Change: Added, Key: f.key, Cohort: f.now.cohort, Now: f.now.seq})
	}
	return out, nil
}

// gone are rows that the newer generation does not have, or among the withdrawn ones.
func (c *comparison) gone(all []found) ([]Row, error) {
	out, keys := []Row{}, []cohort.Key{}
	for _, f := range all {
		out, keys = append(out, Row{Change: Gone, Key: f.key, Cohort: f.was.cohort, Was: f.was.seq}), append(keys, f.key)
	}
	if c.now.data.Withdrawn == nil || len(keys) == 0 {
		return out, nil
	}
	withdrawn, err := c.now.data.Withdrawn.Find(keys)
	for i := range out {
		_, out[i].Withdrawn = withdrawn[out[i].Key]
	}
	return out, err
}

// fields are what differs in each of some rows.
func (c *comparison) fields(ctx context.Context, changed []found) ([][]Field, error) {
	form := c.was.store.Settings.Key
	was, now := rowsOf{}, rowsOf{}
	for _, f := range changed {
		was.add(f.was)
		now.add(f.now)
	}
	before := map[cohort.Key]map[string]Value{}
	for w, err := range c.was.wholes(ctx, was) {
		if err != nil {
			return nil, err
		}
		before[w.Key] = w.fields(form)
	}
	differ := map[cohort.Key][]Field{}
	for w, err := range c.now.wholes(ctx, now) {
		if err != nil {
			return nil, err
		}
		differ[w.Key] = changes(before[w.Key], w.fields(form))
	}
	out := make([][]Field, len(changed))
	for i, f := range changed {
		out[i] = differ[f.key]
	}
	return out, nil
}
