package index

import (
	"bytes"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// converter makes rows of a new layout from rows of an old one. A value that its new column cannot hold goes to _extra.
// A value of _extra that a column can hold now goes to that column. So the content of a row does not depend on the time when its
// columns were added.
type converter struct {
	from, to *layout
	encoder  *encoder
	places   []int // of the old dynamic columns among the new columns; -1: it is dropped
	looks    bool  // a new column may hold something that stands in _extra
}

func newConverter(from, to *layout) *converter {
	c := &converter{from: from, to: to, encoder: newEncoder(to), places: make([]int, len(from.dynamic))}
	for i, col := range from.dynamic {
		c.places[i] = -1
		if p, ok := to.place[col.Name]; ok {
			c.places[i] = p
			c.looks = c.looks || to.kindAt(p) != jsonscan.Kind(col.Kind)
		}
	}
	for _, col := range to.dynamic {
		_, known := from.place[col.Name]
		c.looks = c.looks || !known
	}
	return c
}

// moved is a value that needs a new place.
type moved struct {
	name  string
	token []byte
}

// convert appends the new row to dst. Byte arrays alias those of old, or memory of the converter that is not
// written again.
func (c *converter) convert(dst, old parquet.Row) (parquet.Row, error) {
	start := len(dst)
	dst = append(dst, c.encoder.nulls...)
	row := dst[start:]
	fixed, known := len(firstColumns), len(firstColumns)+len(c.from.dynamic)
	for i, v := range old[:fixed] {
		row[i] = at(v, i, c.to.isOptional(firstColumns[i]))
	}
	for i, name := range c.from.last {
		place := c.to.place[name]
		row[place] = at(old[known+i], place, c.to.isOptional(name))
	}
	c.forget(row)
	var homeless []moved
	for i, v := range old[fixed:known] {
		switch place := c.places[i]; {
		case v.IsNull():
		case place < 0:
			homeless = append(homeless, moved{c.from.dynamic[i].Name, token(v)})
		case c.to.kindAt(place) == c.from.kindAt(fixed+i):
			row[place] = at(v, place, true)
		case c.to.kindAt(place) == jsonscan.Double && v.Kind() == parquet.Int64 && exact(v.Int64()):
			row[place] = at(parquet.DoubleValue(float64(v.Int64())), place, true)
		default:
			homeless = append(homeless, moved{c.from.dynamic[i].Name, token(v)})
		}
	}
	last := row[len(row)-1]
	if len(homeless) == 0 && (!c.looks || last.IsNull()) {
		return dst, nil
	}
	return dst, c.settle(row, homeless)
}

// forget takes away the times that version 1 had to invent, for imported rows without one: it dated them by their stamps, which
// lie around 1970.
func (c *converter) forget(row parquet.Row) {
	stamp, time := row[c.to.place[columnStamp]].Int64(), c.to.place[columnTimestamp]
	if isMadeUp(c.from.version, row[c.to.place[columnStream]].IsNull(), cohort.Stamp(stamp), row[time].Int64()) {
		row[time] = parquet.NullValue().Level(0, 0, time)
	}
}

// isMadeUp tells whether the time of a row, in microseconds, is one that version 1 had to invent.
func isMadeUp(version int, imported bool, stamp cohort.Stamp, micros int64) bool {
	return version < withDigest && imported && micros == stamp.Time().UnixMicro()
}

// settle finds places for values whose column is gone, and for all values in _extra.
func (c *converter) settle(row parquet.Row, homeless []moved) error {
	last := len(row) - 1
	all := homeless
	if !row[last].IsNull() {
		obj := row[last].ByteArray()
		if !isObject(obj) {
			return damaged("%s is not a JSON object", columnExtra)
		}
		for m := range jsonscan.EachMember(obj) {
			all = c.join(all, len(homeless), string(m.Name), m.Value)
		}
	}
	stays := make([]bool, len(all)) // in _extra
	texts := map[string]bool{}      // columns that hold a text, and no token
	for i, m := range all {         // those that had a column come first, and as to the text last
		held, beside := c.encoder.hold(row, c.field(m))
		stays[i] = !held || beside
		texts[m.name] = texts[m.name] || held && m.token[0] == '"'
	}
	var left extra
	for i := range all {
		switch i = (i + len(homeless)) % len(all); {
		case stays[i] && texts[all[i].name]:
			left.addUnheld(row, c.field(all[i]))
		case stays[i]:
			left.add(all[i].name, all[i].token)
		}
	}
	row[last] = parquet.NullValue().Level(0, 0, last)
	if text := left.text(); text != nil {
		row[last] = at(parquet.ByteArrayValue(text), last, true)
	}
	return nil
}

// join adds a member of _extra. The exact token of a text column's value takes the place of the text. A record may have had two values
// for the column: the one whose token is the text is the one that stood there.
func (c *converter) join(all []moved, homeless int, name string, value []byte) []moved {
	if i, ok := c.from.place[name]; ok && isBeside(c.from.kindAt(i), jsonscan.KindOf(value), value) {
		for i := range all[:homeless] {
			if had := all[i].token; all[i].name == name && had[0] == '"' && bytes.Equal(jsonscan.TextBytes(had), value) {
				all[i].token = value
				return all
			}
		}
	}
	return append(all, moved{name, value})
}

func (c *converter) field(m moved) field {
	n := &name{column: m.name, place: -1}
	if i, ok := c.to.place[m.name]; ok && c.to.kindAt(i) != 0 && i != c.to.made {
		n.place, n.kind = i, c.to.kindAt(i)
	}
	return field{n, m.token, jsonscan.KindOf(m.token)}
}
