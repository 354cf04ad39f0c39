package index

import (
	"reflect"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/internal/jsonscan"
)

// The fixed columns. Their names, types and order are part of the format, do not change.
//
//	run_id, phase, cohort_id, snapshot_seq, timestamp, DYNAMIC..., _key, _stamp, _record_id, _stream, _extra
const (
	columnRunID     = "run_id"
	columnPhase     = "phase"
	columnCohort    = "cohort_id"
	columnSeq       = "snapshot_seq"
	columnTimestamp = "timestamp"
	columnKey       = "_key"
	columnStamp     = "_stamp"
	columnRecordID  = "_record_id"
	columnStream    = "_stream"
	columnExtra     = "_extra"
)

var (
	firstColumns = []string{columnRunID, columnPhase, columnCohort, columnSeq, columnTimestamp}
	lastColumns  = []string{columnKey, columnStamp, columnRecordID, columnStream, columnExtra}
)

func isFixed(name string) bool {
	return slices.Contains(firstColumns, name) || slices.Contains(lastColumns, name)
}

// layout is the place of every column of one file.
type layout struct {
	dynamic Schema
	place   map[string]int // of every column
}

func newLayout(s Schema) *layout {
	l := &layout{dynamic: s, place: map[string]int{}}
	for _, name := range l.names() {
		l.place[name] = len(l.place)
	}
	return l
}

// names are all columns in their order.
func (l *layout) names() []string {
	names := slices.Clone(firstColumns)
	for _, c := range l.dynamic {
		names = append(names, c.Name)
	}
	return append(names, lastColumns...)
}

// width is the number of columns.
func (l *layout) width() int { return len(firstColumns) + len(l.dynamic) + len(lastColumns) }

// kindAt is the kind of the dynamic column at a place, or 0 for a fixed column.
func (l *layout) kindAt(place int) jsonscan.Kind {
	if i := place - len(firstColumns); i >= 0 && i < len(l.dynamic) {
		return jsonscan.Kind(l.dynamic[i].Kind)
	}
	return 0
}

// schema is the layout as the parquet library wants it.
//
// Strings are PLAIN where they have a bloom filter or may be anything, because the library sizes the
// filter of a dictionary column by its dictionary and then cannot copy it; DELTA_LENGTH_BYTE_ARRAY,
// its default, is what the fewest readers know. The logical type is STRING, also for the JSON of
// _extra: Arrow gives a JSON column four different types, depending on its version.
func (l *layout) schema() *parquet.Schema {
	text := parquet.Encoded(parquet.String(), &parquet.Plain)
	words := parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	number := parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.Plain)
	nodes := []parquet.Node{text, words, words, number, parquet.Encoded(parquet.Timestamp(parquet.Microsecond), &parquet.Plain)}
	for _, c := range l.dynamic {
		nodes = append(nodes, parquet.Optional(parquet.Encoded(leaf(jsonscan.Kind(c.Kind)), &parquet.Plain)))
	}
	extra := parquet.Encoded(parquet.Leaf(extraType{parquet.String().Type()}), &parquet.Plain)
	nodes = append(nodes, text, number, text, parquet.Optional(words), parquet.Optional(extra))
	root := row{fields: make([]parquet.Field, len(nodes))}
	for i, name := range l.names() {
		root.fields[i] = column{nodes[i], name}
	}
	return parquet.NewSchema("runfold", root)
}

func leaf(k jsonscan.Kind) parquet.Node {
	switch k {
	case jsonscan.Bool:
		return parquet.Leaf(parquet.BooleanType)
	case jsonscan.Int:
		return parquet.Leaf(parquet.Int64Type)
	case jsonscan.Double:
		return parquet.Leaf(parquet.DoubleType)
	}
	return parquet.String()
}

// row is the root node. A parquet.Group would sort its columns by name, and a struct cannot carry
// every name in its tags.
type row struct {
	parquet.Group
	fields []parquet.Field
}

func (r row) Fields() []parquet.Field { return r.fields }

// GoType is what the library asks for when it maps rows to Go values, which we never do.
func (row) GoType() reflect.Type { return reflect.TypeFor[map[string]any]() }

type column struct {
	parquet.Node
	name string
}

func (c column) Name() string { return c.name }

// Value is not used, as we read and write rows and never Go values.
func (column) Value(reflect.Value) reflect.Value {
	panic("index: internal error: rows are not mapped to Go values")
}
