package index

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/runfold/runfold/cohort"
)

// Shape is the number of what a record looks like to a schema: the names of its fields in their order, and
// of each the kind and whether a column of that kind can hold the value. Most records of a root have one
// of a few shapes, so a schema that has seen a shape need not look at the next record that has it.
type Shape int32

// Shapes numbers shapes. It is used by any number of goroutines, each with a Shaper of its own.
type Shapes struct {
	mu    sync.Mutex // guards all below
	ids   map[string]Shape
	lists [][]trait
	bytes int64
}

// trait is what a shape says of one field.
type trait struct {
	name  string
	kind  cohort.Kind
	holds bool // a column of that kind holds the value
}

// NewShapes is empty.
func NewShapes() *Shapes { return &Shapes{ids: map[string]Shape{}} }

// Bytes is about what the shapes take in memory: hostile records have a new one each.
func (s *Shapes) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Shaper tells the shapes of records, for one goroutine.
type Shaper struct {
	shapes *Shapes
	fields flattener
	known  map[string]Shape // by key
	key    []byte
}

// Shaper returns a new one.
func (s *Shapes) Shaper() *Shaper { return &Shaper{shapes: s} }

// Of is the shape of a record.
func (s *Shaper) Of(r cohort.Record) Shape {
	fields := s.fields.flatten(r)
	s.key = s.key[:0]
	for _, f := range fields {
		s.key = binary.LittleEndian.AppendUint32(s.key, f.id)
		s.key = append(s.key, kindByte(f.value))
	}
	if shape, ok := s.known[string(s.key)]; ok {
		return shape
	}
	if s.known == nil || len(s.known) == maxNames {
		s.known = map[string]Shape{}
	}
	shape := s.shapes.of(fields)
	s.known[string(s.key)] = shape
	return shape
}

// kindByte is the kind of a value, and whether a column of that kind holds it.
func kindByte(value []byte) byte {
	kind := cohort.KindOf(value)
	if canHold(kind, value) {
		return byte(kind) | 0x80
	}
	return byte(kind)
}

// of is the shape with these fields, under the names that all Shapers share.
func (s *Shapes) of(fields []field) Shape {
	var text []byte
	traits := make([]trait, len(fields))
	for i, f := range fields {
		kind := kindByte(f.value)
		traits[i] = trait{f.column, cohort.Kind(kind &^ 0x80), kind&0x80 != 0}
		text = binary.AppendUvarint(text, uint64(len(f.column)))
		text = append(append(text, f.column...), kind)
	}
	return s.number(text, traits)
}

func (s *Shapes) number(text []byte, traits []trait) Shape {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.ids[string(text)]; ok {
		return id
	}
	id := Shape(len(s.lists))
	s.ids[string(text)] = id
	s.lists = append(s.lists, traits)
	s.bytes += int64(2*len(text) + 32*len(traits))
	return id
}

// Extender makes a schema that holds more and more records.
type Extender struct {
	shapes *Shapes
	seen   map[Shape]bool
	schema Schema
	place  map[string]int
}

// Extender starts with s, which it does not change.
func (s Schema) Extender(shapes *Shapes) *Extender {
	e := &Extender{shapes: shapes, seen: map[Shape]bool{}, schema: slices.Clone(s), place: make(map[string]int, len(s))}
	for i, c := range s {
		e.place[c.Name] = i
	}
	return e
}

// Add extends the schema by the next record, as Extend says.
func (e *Extender) Add(id Shape) {
	if e.seen[id] {
		return // whatever it changes is changed
	}
	e.seen[id] = true
	e.shapes.mu.Lock()
	traits := e.shapes.lists[id]
	e.shapes.mu.Unlock()
	for _, t := range traits {
		i, known := e.place[t.name]
		switch {
		case known && (e.schema[i].Kind != cohort.Int || t.kind != cohort.Double):
		case known && t.holds:
			e.schema[i].Kind = cohort.Double
		case known, len(e.schema) == maxColumns, !columnName(t.name):
		case t.holds:
			e.place[t.name] = len(e.schema)
			e.schema = append(e.schema, Column{t.name, t.kind})
		}
	}
}

// Schema is what came out.
func (e *Extender) Schema() Schema { return e.schema }
