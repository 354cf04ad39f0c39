package index

import (
	"bytes"
	"iter"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Typed is a row with the values of its columns, for programs that copy rows into another form. Values and Extra are valid until the
// next row; texts among the values, and all else, stay.
type Typed struct {
	Identity
	// Values are those of File.Schema, in its order: nil, bool, int64, float64 or string.
	Values []any
	// Extra is the JSON object of _extra. It is nil if there is none.
	Extra []byte
}

// TypedFrom yields the rows with this seq or a higher one, in their order, with all that they have. It reads only the row groups that
// have such rows, as their statistics tell: of a large index, what was added since. A time that version 1 had to invent is not known.
// Memory is that of one row and a page of each column. It ends after the first error.
func (f *File) TypedFrom(seq cohort.Seq) iter.Seq2[Typed, error] {
	places, _ := f.places(f.layout.names())
	fixed := f.identityPlaces()
	return func(yield func(Typed, error) bool) {
		t := Typed{Values: make([]any, len(f.layout.dynamic))}
		for i, g := range f.file.RowGroups() {
			if highest, ok := f.highestSeq(i); ok && highest < seq {
				continue
			}
			err := each(g, places, func(r parquet.Row) error {
				if cohort.Seq(r[f.layout.place[columnSeq]].Int64()) < seq {
					return nil
				}
				err := f.typed(&t, r, fixed)
				if err == nil && !yield(t, nil) {
					return errStopped
				}
				return err
			})
			if err == errStopped {
				return
			}
			if err != nil {
				yield(Typed{}, err)
				return
			}
		}
	}
}

// typed takes a whole row apart into t. places are the identityPlaces.
func (f *File) typed(t *Typed, r parquet.Row, places []int) error {
	t.Identity = f.identityIn(r, places)
	for i := range f.layout.dynamic {
		t.Values[i] = typedValue(r[len(firstColumns)+i])
	}
	t.Extra = nil
	if last := r[f.layout.place[columnExtra]]; !last.IsNull() {
		if t.Extra = last.ByteArray(); !isObject(t.Extra) {
			return damaged("%s of %q is not a JSON object", columnExtra, t.Key)
		}
	}
	return nil
}

// identityIn is the Identity of a whole row, without a time that had to be invented.
func (f *File) identityIn(r parquet.Row, places []int) Identity {
	fixed := make(parquet.Row, len(identityColumns))[:len(places)]
	for i, p := range places {
		fixed[i] = r[p]
	}
	return f.identityOf(fixed)
}

func typedValue(v parquet.Value) any {
	switch {
	case v.IsNull():
		return nil
	case v.Kind() == parquet.Boolean:
		return v.Boolean()
	case v.Kind() == parquet.Int64:
		return v.Int64()
	case v.Kind() == parquet.Double:
		return v.Double()
	}
	return string(v.ByteArray())
}

// ContentOf is the Content of a row whose values stand in columns of a schema, as Typed has them, and in _extra, wherever it was read.
// Values of _extra are spelled by canonical.
func ContentOf(id Identity, schema Schema, values []any, extra []byte, canonical func(json []byte) []byte) (Content, error) {
	c := Content{Identity: id}
	for i, col := range schema {
		if values[i] != nil && !col.Made {
			c.Fields = append(c.Fields, Field{col.Name, appendValue(nil, parquetValue(values[i]))})
		}
	}
	err := c.addExtras(extra, canonical)
	return c, err
}

func parquetValue(v any) parquet.Value {
	switch v := v.(type) {
	case bool:
		return parquet.BooleanValue(v)
	case int64:
		return parquet.Int64Value(v)
	case float64:
		return parquet.DoubleValue(v)
	case string:
		return parquet.ByteArrayValue([]byte(v))
	}
	panic("index: internal error: a value is nil, bool, int64, float64 or string")
}

// addExtras adds the members of an object of _extra.
func (c *Content) addExtras(obj []byte, canonical func([]byte) []byte) error {
	if obj == nil {
		return nil
	}
	if !isObject(obj) {
		return damaged("%s of %q is not a JSON object", columnExtra, c.Key)
	}
	held := len(c.Fields)
	for m := range jsonscan.EachMember(bytes.Clone(canonical(obj))) {
		c.addExtra(held, Field{string(m.Name), m.Value}, canonical)
	}
	return nil
}

// HasBelow tells whether a row with a lower seq than this has a value in one of the named columns. It reads statistics, and those columns of a row
// group that lies on both sides of seq.
func (f *File) HasBelow(seq cohort.Seq, columns []string) (bool, error) {
	places, _ := f.places(append([]string{columnSeq}, columns...))
	for i, g := range f.file.RowGroups() {
		if !f.mayHaveBelow(i, seq, places[1:]) {
			continue
		}
		if highest, ok := f.highestSeq(i); ok && highest < seq {
			return true, nil // all of its rows are below, and one has a value
		}
		has := false
		err := each(g, places, func(r parquet.Row) error {
			if has || cohort.Seq(r[0].Int64()) >= seq {
				return errStopped // rows stand in the order of their seqs
			}
			for _, v := range r[1:] {
				has = has || !v.IsNull()
			}
			return nil
		})
		if err != nil && err != errStopped {
			return false, err
		}
		if has {
			return true, nil
		}
	}
	return false, nil
}

// mayHaveBelow tells from statistics whether a row of a group with a lower seq may have a value at one of these places.
func (f *File) mayHaveBelow(group int, seq cohort.Seq, places []int) bool {
	columns := f.file.Metadata().RowGroups[group].Columns
	if lowest, ok := f.lowestSeq(group); ok && lowest >= seq {
		return false
	}
	for _, p := range places {
		if m := &columns[p].MetaData; m.Statistics.NullCount < m.NumValues {
			return true
		}
	}
	return false
}

// Token is the JSON of a value, as Typed has it, in the spelling of Rows.
func Token(v any) []byte { return appendValue(nil, parquetValue(v)) }

// Typer makes rows of records as a fold makes them, in the columns of a schema. What no column holds stands in Extra.
type Typer struct{ encoder *encoder }

// NewTyper makes one for a schema.
func NewTyper(s Schema) *Typer { return &Typer{newEncoder(newLayout(s))} }

// Row is the row of a record under the key and seq of p. Nothing of it changes later.
func (t *Typer) Row(p Put, r cohort.Record) Typed {
	l := t.encoder.layout
	row := t.encoder.encode(nil, p, r)
	fixed := make(parquet.Row, 0, len(identityColumns))
	for _, name := range identityColumns {
		fixed = append(fixed, row[l.place[name]])
	}
	typed := Typed{Identity: identityOf(fixed), Values: make([]any, len(l.dynamic))}
	for i := range l.dynamic {
		typed.Values[i] = typedValue(row[len(firstColumns)+i])
	}
	if extra := row[l.place[columnExtra]]; !extra.IsNull() {
		typed.Extra = extra.ByteArray()
	}
	return typed
}
