package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Cell is one value of a row. The zero Cell is NULL.
//
// Its text is what was written, as far as an index keeps that: a text has its bytes, and so has every value of _extra and every
// number in a column of text. A number in a column of numbers is the shortest text that reads back as the same number, and a
// double without a fraction is written without a point: 0.710 is 0.71, and 25000.0 is 25000. The time of a row has six digits and a Z.
type Cell struct {
	form form
	bits uint64
	text []byte
}

// form says what a Cell holds, and where.
type form uint8

const (
	nullForm   form = iota
	boolForm        // bits
	intForm         // bits
	doubleForm      // bits
	textForm        // text
	timeForm        // bits: microseconds
	digestForm      // bits
	tokenForm       // text: JSON
)

// cellOf is the value of a column. Its text is that of v.
func cellOf(column string, v index.Value) Cell {
	switch v.Kind {
	case index.Bool:
		return Bool(v.Bool())
	case index.Int:
		c := Cell{form: intForm, bits: uint64(v.Int())}
		switch column {
		case timestampColumn:
			c.form = timeForm
		case digestColumn:
			c.form = digestForm
		}
		return c
	case index.Double:
		return Cell{form: doubleForm, bits: math.Float64bits(v.Double())}
	case index.String:
		if column == extraColumn {
			return Cell{form: tokenForm, text: v.Text()}
		}
		return Cell{form: textForm, text: v.Text()}
	}
	return Cell{}
}

// Bool is a cell with true or false.
func Bool(b bool) Cell {
	if b {
		return Cell{form: boolForm, bits: 1}
	}
	return Cell{form: boolForm}
}

// IsNull tells whether there is no value.
func (c Cell) IsNull() bool { return c.form == nullForm }

// IsNumber tells whether the value is a number.
func (c Cell) IsNumber() bool {
	switch v := c.value(); v.kind {
	case integer, double, large:
		return c.form != timeForm
	}
	return false
}

// Float is the value as a double, the nearest one; ok is false if it is no number.
func (c Cell) Float() (f float64, ok bool) {
	if !c.IsNumber() {
		return 0, false
	}
	f, err := strconv.ParseFloat(c.Text(), 64)
	return f, err == nil
}

// Time is the value of the column timestamp; ok is false for NULL and for values of other columns.
func (c Cell) Time() (t time.Time, ok bool) {
	if c.form != timeForm {
		return t, false
	}
	return time.UnixMicro(int64(c.bits)).UTC(), true
}

// Text is the value for people and for columns of text; NULL is empty, and so is an empty text.
func (c Cell) Text() string { return string(c.AppendText(nil)) }

// AppendText appends Text to b.
func (c Cell) AppendText(b []byte) []byte {
	switch c.form {
	case nullForm:
		return b
	case doubleForm:
		if f := math.Float64frombits(c.bits); math.IsNaN(f) || math.IsInf(f, 0) { // in no file of ours
			return strconv.AppendFloat(b, f, 'g', -1, 64)
		}
	case textForm:
		return append(b, c.text...)
	case timeForm:
		return append(b, c.timeText()...)
	case digestForm:
		return fmt.Appendf(b, "%016x", c.bits)
	case tokenForm:
		if jsonscan.KindOf(c.text) == jsonscan.String {
			return append(b, jsonscan.TextBytes(c.text)...)
		}
		return append(b, c.text...)
	}
	return c.AppendJSON(b)
}

// JSON is the value as JSON; NULL is null.
func (c Cell) JSON() json.RawMessage { return c.AppendJSON(nil) }

// AppendJSON appends JSON to b.
func (c Cell) AppendJSON(b []byte) []byte {
	switch c.form {
	case boolForm:
		return strconv.AppendBool(b, c.bits != 0)
	case intForm:
		return strconv.AppendInt(b, int64(c.bits), 10)
	case doubleForm:
		return appendDouble(b, math.Float64frombits(c.bits))
	case textForm:
		return append(b, jsonscan.Quote(string(c.text))...)
	case timeForm:
		return append(append(append(b, '"'), c.timeText()...), '"')
	case digestForm:
		return fmt.Appendf(b, `"%016x"`, c.bits)
	case tokenForm:
		return append(b, c.text...)
	}
	return append(b, "null"...)
}

func (c Cell) timeText() string { return cohort.FormatTime(time.UnixMicro(int64(c.bits)).UTC()) }

// appendDouble appends the shortest text that reads back as f; an integer within int64 has all its digits. NaN and infinities are null, as JSON has no words for them.
func appendDouble(b []byte, f float64) []byte {
	switch a := math.Abs(f); {
	case math.IsNaN(f), math.IsInf(f, 0):
		return append(b, "null"...)
	case isInt64(f) && (f != 0 || !math.Signbit(f)):
		return strconv.AppendInt(b, int64(f), 10)
	case a != 0 && a < 1e-6 || a >= beyondInts:
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

// Number is the JSON of a double, as a Cell has it.
func Number(f float64) []byte { return appendDouble(nil, f) }

// value is what is compared.
func (c Cell) value() value {
	switch c.form {
	case boolForm:
		return value{kind: boolean, int: int64(c.bits)}
	case intForm, timeForm:
		return value{kind: integer, int: int64(c.bits)}
	case doubleForm:
		return value{kind: double, double: math.Float64frombits(c.bits)}
	case textForm:
		return value{kind: text, text: c.text}
	case digestForm:
		return value{kind: text, text: c.AppendText(nil)}
	case tokenForm:
		v := tokenValue(c.text)
		if v.kind == nested {
			v.text = c.text
		}
		return v
	}
	return value{}
}

// reader makes cells of rows.
type reader struct {
	names  []name
	extras [][]byte // how the names stand in _extra
}

func readerOf(names []name) reader {
	r := reader{names: names}
	for _, n := range names {
		r.extras = append(r.extras, index.ExtraName(n.column))
	}
	return r
}

// columns are those to read of a row group, and where _extra stands among them, or -1 if no row of it can have a value of a name there.
func (r reader) columns(extra bool) (columns []string, at int) {
	at = -1
	for _, n := range r.names {
		columns = append(columns, n.column)
	}
	for _, n := range r.names {
		if extra && !n.fixed {
			return append(columns, extraColumn), len(columns)
		}
	}
	return columns, at
}

// cell is the value of a name: that of its column, or the first one of _extra if the column has none. Where a column of text has a value whose
// exact token stands in _extra, it is that token. The bytes are those of v and of extra.
func (r reader) cell(n int, v index.Value, extra []byte) (Cell, error) {
	c := cellOf(r.names[n].column, v)
	if extra == nil || r.names[n].fixed || v.Kind != 0 && v.Kind != index.String || !bytes.Contains(extra, r.extras[n]) {
		return c, nil
	}
	for m, err := range index.EachExtra(extra) {
		if err != nil {
			return c, err
		}
		if string(m.Name) == r.names[n].column && (v.Kind == 0 || bytes.Equal(v.Text(), m.Token)) {
			return Cell{form: tokenForm, text: m.Token}, nil
		}
	}
	return c, nil
}

// cut is a cell with so many bytes of text at most. One that would have more is a text, as no other kind has a beginning.
func (c Cell) cut(most int) Cell {
	if len(c.text) <= most {
		return c
	}
	if c.form == tokenForm && jsonscan.KindOf(c.text) == jsonscan.String {
		c.text = jsonscan.TextBytes(c.text)
	}
	return Cell{form: textForm, text: c.text[:min(most, len(c.text))]}
}

// own is a cell that keeps its text in memory.
func (c Cell) own(memory *arena) Cell {
	c.text = memory.keep(c.text)
	return c
}

// arena is memory for texts that stay.
type arena struct{ free []byte }

const arenaBytes = 64 << 10

func (a *arena) keep(text []byte) []byte {
	if text == nil {
		return nil
	}
	if cap(a.free)-len(a.free) < len(text) {
		a.free = make([]byte, 0, max(arenaBytes, len(text)))
	}
	from := len(a.free)
	a.free = append(a.free, text...)
	return a.free[from:len(a.free):len(a.free)]
}
