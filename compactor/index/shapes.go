package index

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Shape is a number for the names and kinds of a record's fields, in their order. Only fields that could change the schema
// count. Most records of a root have one of a few shapes. A schema that has seen a shape need not look at the
// next record with the same shape.
type Shape int32

// noShape is the shape of a record that does not change the schema. When all columns exist, or as many as may exist, every
// record has it.
const noShape Shape = 0

// Shapes numbers the shapes of records that a schema must hold. Any number of goroutines may use it, each with a Shaper
// of its own.
type Shapes struct {
	of      *layout // of the schema before the first of them
	columns Columns

	mu    sync.Mutex // guards all below
	ids   map[string]Shape
	texts []string // by Shape: length (1) | name | kind (1), for each field
}

// NewShapes has noShape alone. Records are to come to a schema to which columns was applied; see Columns.Apply for unused.
func NewShapes(of Schema, columns Columns, unused []string) *Shapes {
	of, columns = columns.Apply(of, unused)
	return &Shapes{of: newLayout(of), columns: columns, ids: map[string]Shape{"": noShape}, texts: []string{""}}
}

// shapeBytes is what a shape takes in memory besides its text.
const shapeBytes = 128

// Shaper tells the shapes of records, for one goroutine.
type Shaper struct {
	shapes *Shapes
	fields flattener
	known  map[string]Shape // by key
	bytes  int              // of known
	key    []byte
	text   []byte
}

// maxKnown bounds the memory that a Shaper uses for shapes that other Shapers may have, too.
const maxKnown = 1 << 20

// Shaper returns a new one.
func (s *Shapes) Shaper() *Shaper { return &Shaper{shapes: s, fields: flattenerOf(s.of)} }

// Of is the shape of a record, and about what it takes in memory: nothing if it is not the first of its shape. Hostile
// records have a new one each.
func (s *Shaper) Of(r cohort.Record) (shape Shape, bytes int64) {
	fields := s.matter(s.fields.flatten(r))
	if len(fields) == 0 {
		return noShape, 0
	}
	s.key = s.key[:0]
	for _, f := range fields {
		s.key = append(binary.LittleEndian.AppendUint32(s.key, f.id), kindByte(f))
	}
	if shape, ok := s.known[string(s.key)]; ok {
		return shape, 0
	}
	if s.known == nil || s.bytes > maxKnown {
		s.known, s.bytes = map[string]Shape{}, 0
	}
	s.text = s.text[:0]
	for _, f := range fields {
		s.text = append(append(s.text, byte(len(f.column))), f.column...) // no longer than maxName
		s.text = append(s.text, kindByte(f))
	}
	shape, bytes = s.shapes.number(s.text)
	s.known[string(s.key)] = shape
	s.bytes += len(s.key) + shapeBytes
	return shape, bytes
}

// kindByte is the kind of the column that a field makes, or would have.
func kindByte(f field) byte { return byte(kindUnder(f.ruled, f.is)) }

// matter leaves those fields, in place, that could change the schema before the first record, or one that others made of
// it: new columns while there is room, and doubles in columns of integers that nobody declared. All others are nothing to Extender.Add.
func (s *Shaper) matter(fields []field) []field {
	full, kept := len(s.shapes.of.dynamic) >= s.shapes.columns.Limit(), fields[:0]
	for _, f := range fields {
		kind := jsonscan.Double
		switch {
		case f.place < 0:
			kind = kindUnder(f.ruled, f.is)
			if full || !f.nameable || kind == 0 {
				continue
			}
		case f.kind != jsonscan.Int, f.is != jsonscan.Double, s.shapes.columns.Is(f.column):
			continue
		}
		if canHold(kind, f.is, f.value) || isBeside(kind, f.is, f.value) {
			kept = append(kept, f)
		}
	}
	return kept
}

// number is the shape with this text, under the numbers that all Shapers share.
func (s *Shapes) number(text []byte) (Shape, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.ids[string(text)]; ok {
		return id, 0
	}
	id, kept := Shape(len(s.texts)), string(text)
	s.ids[kept] = id
	s.texts = append(s.texts, kept)
	return id, int64(len(text)) + shapeBytes
}

// Extender makes a schema that holds more and more records.
type Extender struct {
	shapes *Shapes
	seen   map[Shape]bool
	schema Schema
	place  map[string]int

	columns Columns
}

// Extender starts with the schema of which the shapes are.
func (s *Shapes) Extender() *Extender {
	schema := slices.Clone(s.of.dynamic)
	e := &Extender{shapes: s, seen: map[Shape]bool{noShape: true}, schema: schema, place: make(map[string]int, len(schema)), columns: s.columns}
	for i, c := range schema {
		e.place[c.Name] = i
	}
	return e
}

// Add extends the schema by the next record, as Extend says.
func (e *Extender) Add(id Shape) {
	if e.seen[id] {
		return // the schema has this shape already
	}
	e.shapes.mu.Lock()
	text := e.shapes.texts[id]
	e.shapes.mu.Unlock()
	added, more := 0, false
	for text != "" {
		n := int(text[0])
		name, kind := text[1:1+n], jsonscan.Kind(text[1+n])
		text = text[2+n:]
		i, known := e.place[name]
		switch {
		case known && e.schema[i].Kind == Int && kind == jsonscan.Double && !e.columns.Is(name):
			e.schema[i].Kind = Double
		case known, len(e.schema) >= e.columns.Limit():
		case added == maxAdded:
			more = true // the next record of this shape adds more
		default:
			name = strings.Clone(name) // the text of the shape is dropped with its batch
			e.place[name] = len(e.schema)
			e.schema = append(e.schema, e.begin(name, Kind(kind)))
			added++
		}
	}
	e.seen[id] = !more
}

// begin is a column that comes, or comes again: then it is as if it had not been away.
func (e *Extender) begin(name string, kind Kind) Column {
	if i := find(e.columns.Gone, name); i >= 0 {
		c := e.columns.Gone[i]
		e.columns.Gone = slices.Delete(slices.Clone(e.columns.Gone), i, i+1)
		if c.Kind == Int && kind == Double {
			c.Kind = Double // as it would be if it had never gone
		}
		return Column{Name: name, Kind: ruledKind(name, c.Kind), ID: c.ID}
	}
	var id int32
	id, e.columns = e.columns.give()
	return Column{Name: name, Kind: kind, ID: id}
}

// Schema is what came out, and what the root wants then.
func (e *Extender) Schema() (Schema, Columns) { return e.schema, e.columns }
