package index

import (
	"bytes"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// encoder makes rows of one layout from records.
type encoder struct {
	layout *layout
	fields flattener
	nulls  parquet.Row // a row of them
	texts  []byte      // the memory of strings; bytes that a row uses are never written again
	extras extras      // scalars that went to _extra and not to a column
}

func newEncoder(l *layout) *encoder {
	e := &encoder{layout: l, fields: flattenerOf(l), extras: extras{}}
	for i := range l.width() {
		e.nulls = append(e.nulls, parquet.NullValue().Level(0, 0, i))
	}
	return e
}

// encode appends the row of a put, whose record is r, to dst. Byte arrays in it alias the encoder's memory and
// not the record.
func (e *encoder) encode(dst parquet.Row, p Put, r cohort.Record) parquet.Row {
	start := len(dst)
	dst = append(dst, e.nulls...)
	cells := cells{e.layout, dst[start:]}
	cells.set(columnRunID, e.text(r.RunID))
	cells.set(columnPhase, e.text(r.Stage))
	cells.set(columnCohort, e.text(string(r.Cohort)))
	cells.set(columnSeq, parquet.Int64Value(int64(p.Seq)))
	if t := r.Time(); !t.IsZero() {
		cells.set(columnTimestamp, parquet.Int64Value(t.UnixMicro()))
	}
	cells.set(columnKey, e.text(string(p.Key)))
	cells.set(columnStamp, parquet.Int64Value(int64(r.Stamp)))
	cells.set(columnRecordID, e.text(r.ID))
	cells.set(columnDigest, parquet.Int64Value(int64(r.Digest())))
	if r.Stream != "" {
		cells.set(columnStream, e.text(string(r.Stream)))
	}
	if r.Writer != "" {
		cells.set(columnWriter, e.text(r.Writer))
	}
	var extra extra
	for _, f := range e.fields.flatten(r) {
		held, beside := e.hold(cells.row, f)
		switch {
		case beside:
			extra.add(f.column, f.value)
		case !held:
			extra.addUnheld(cells.row, f)
			if reason, ok := e.layout.reasonOf(f.column, f.kind, f.value); ok {
				e.extras.add(f.column, reason, 1)
			} else if isBeside(f.kind, f.is, f.value) {
				e.extras.add(f.column, Twice, 1)
			}
		}
	}
	if text := extra.text(); text != nil {
		cells.set(columnExtra, parquet.ByteArrayValue(text))
	}
	return dst
}

// hold puts a field into its column. It reports false if there is no such column, if an earlier field has taken it
// (a literal "metrics.auc" beside metrics), or if the column cannot hold the value. A text column holds
// any scalar. If the JSON of the scalar is not a string, the exact token must also go to _extra.
func (e *encoder) hold(row parquet.Row, f field) (held, beside bool) {
	if f.place < 0 || !row[f.place].IsNull() {
		return false, false
	}
	if isBeside(f.kind, f.is, f.value) {
		row[f.place] = e.text(string(f.value)).Level(0, 1, f.place)
		return true, true
	}
	v, ok := e.decode(f)
	if ok {
		row[f.place] = v.Level(0, 1, f.place)
	}
	return ok, false
}

// textsBytes is how much memory for strings is taken at once.
const textsBytes = 64 << 10

// text is a string value. Its bytes do not change while a row needs them.
func (e *encoder) text(s string) parquet.Value {
	from := e.room(len(s))
	e.texts = append(e.texts, s...)
	return parquet.ByteArrayValue(e.texts[from:len(e.texts):len(e.texts)])
}

// room makes sure that so many bytes can be appended to the texts, and returns where.
func (e *encoder) room(n int) (from int) {
	if cap(e.texts)-len(e.texts) < n {
		e.texts = make([]byte, 0, max(textsBytes, n))
	}
	return len(e.texts)
}

// cells is one row, its columns by name.
type cells struct {
	layout *layout
	row    parquet.Row
}

func (c cells) set(name string, v parquet.Value) {
	i := c.layout.place[name]
	c.row[i] = at(v, i, c.layout.isOptional(name))
}

// at gives a value its column and level.
func at(v parquet.Value, place int, optional bool) parquet.Value {
	if optional && !v.IsNull() {
		return v.Level(0, 1, place)
	}
	return v.Level(0, 0, place)
}

// decode makes the value of a field's column. It reports false if canHold says that such a column cannot hold it.
func (e *encoder) decode(f field) (parquet.Value, bool) {
	k, of, token := f.kind, f.is, f.value
	switch {
	case k == jsonscan.Double && (of == jsonscan.Double || of == jsonscan.Int && canHold(k, of, token)):
		f, err := strconv.ParseFloat(string(token), 64)
		return parquet.DoubleValue(f), err == nil
	case k != of:
		return parquet.Value{}, false
	case k == jsonscan.Int:
		n, err := strconv.ParseInt(string(token), 10, 64)
		return parquet.Int64Value(n), err == nil
	case k == jsonscan.Bool:
		return parquet.BooleanValue(token[0] == 't'), true
	case k == jsonscan.String && holdsText(token):
		text := jsonscan.TextBytes(token)
		from := e.room(len(text))
		e.texts = append(e.texts, text...)
		return parquet.ByteArrayValue(e.texts[from:len(e.texts):len(e.texts)]), true
	}
	return parquet.Value{}, false
}

// extra is the text of one _extra value while it grows.
type extra struct{ b bytes.Buffer }

func (e *extra) add(name string, value []byte) {
	sep := byte(',')
	if e.b.Len() == 0 {
		sep = '{'
	}
	e.b.WriteByte(sep)
	e.b.Write(jsonscan.Quote(name))
	e.b.WriteByte(':')
	e.b.Write(value)
}

// addUnheld adds a field that its column does not hold. If the column holds a text that is the field's token, as of a record with "7" and with 7 for it, the text
// stands in _extra, too: else 7 would be taken for the exact token of what the column holds, and "7" would be nowhere.
func (e *extra) addUnheld(row parquet.Row, f field) {
	taken := f.place >= 0 && isBeside(f.kind, f.is, f.value) && bytes.Equal(row[f.place].ByteArray(), f.value) && !e.has(f.column, f.value)
	e.add(f.column, f.value)
	if taken {
		e.add(f.column, jsonscan.Quote(string(f.value)))
	}
}

func (e *extra) has(name string, value []byte) bool {
	if e.b.Len() == 0 {
		return false
	}
	for m := range jsonscan.EachMember(append(bytes.Clone(e.b.Bytes()), '}')) {
		if string(m.Name) == name && bytes.Equal(m.Value, value) {
			return true
		}
	}
	return false
}

// text is nil if nothing was added.
func (e *extra) text() []byte {
	if e.b.Len() == 0 {
		return nil
	}
	e.b.WriteByte('}')
	return e.b.Bytes()
}
