package index

import (
	"reflect"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/internal/jsonscan"
)

// The fixed columns. Their names, types and order are part of the format, do not change.
//
//	run_id, phase, cohort_id, snapshot_seq, timestamp, DYNAMIC..., _key, _stamp, _record_id, _digest, _stream, _writer, _extra
//
// Version 2 has no _writer: there it may be the name of a dynamic column. Version 1 has no _digest either, and a timestamp in every row.
const (
	columnRunID     = "run_id"
	columnPhase     = "phase"
	columnCohort    = "cohort_id"
	columnSeq       = "snapshot_seq"
	columnTimestamp = "timestamp"
	columnKey       = "_key"
	columnStamp     = "_stamp"
	columnRecordID  = "_record_id"
	columnDigest    = "_digest"
	columnStream    = "_stream"
	columnWriter    = "_writer"
	columnExtra     = "_extra"
)

var (
	firstColumns = []string{columnRunID, columnPhase, columnCohort, columnSeq, columnTimestamp}
	lastColumns  = []string{columnKey, columnStamp, columnRecordID, columnDigest, columnStream, columnWriter, columnExtra}
	lastOfSecond = []string{columnKey, columnStamp, columnRecordID, columnDigest, columnStream, columnExtra} // version 2
	lastOfFirst  = []string{columnKey, columnStamp, columnRecordID, columnStream, columnExtra}               // version 1
)

// fieldIDs number the fixed columns for readers that go by ids; dynamic columns have ids from firstID on. Part of the format, do
// not change.
var fieldIDs = map[string]int{
	columnRunID: 1, columnPhase: 2, columnCohort: 3, columnSeq: 4, columnTimestamp: 5,
	columnKey: 6, columnStamp: 7, columnRecordID: 8, columnStream: 9, columnExtra: 10, columnDigest: 11, columnWriter: 12,
}

const firstID = 100

func isFixed(name string) bool {
	return slices.Contains(firstColumns, name) || slices.Contains(lastColumns, name)
}

// wasFree tells whether a fixed column came so late that files and manifests of before may have a dynamic one of its name. Such a column
// goes when the rows are written again: its values move to _extra.
func wasFree(name string) bool { return name == columnWriter }

// layout is the place of every column of one file.
type layout struct {
	version int
	dynamic Schema
	last    []string       // the fixed columns after the dynamic ones
	place   map[string]int // of every column
	made    int            // the place of the column that folds make; 0: there is none
}

// newLayout is the layout of files that are written now.
func newLayout(s Schema) *layout { return layoutOf(version, s) }

// layoutOf is the layout of a version.
func layoutOf(version int, s Schema) *layout {
	l := &layout{version: version, dynamic: s, last: lastColumns, place: map[string]int{}}
	switch {
	case version < withDigest:
		l.last = lastOfFirst
	case version < withWriter:
		l.last = lastOfSecond
	}
	for _, name := range l.names() {
		l.place[name] = len(l.place)
	}
	if i := slices.IndexFunc(s, func(c Column) bool { return c.Made }); i >= 0 {
		l.made = len(firstColumns) + i
	}
	return l
}

// isFoxml tells whether the file is of a root with the profile foxml: no other one has a column that folds make.
func (l *layout) isFoxml() bool { return l.made > 0 }

// isMade tells whether a column is the one that folds make.
func (l *layout) isMade(name string) bool { return l.made > 0 && name == columnSegment }

// isOptional tells whether a column may be NULL.
func (l *layout) isOptional(name string) bool {
	switch name {
	case columnStream, columnExtra, columnDigest, columnWriter:
		return true
	case columnTimestamp:
		return l.version >= withDigest
	}
	return !isFixed(name)
}

// names are all columns in their order.
func (l *layout) names() []string {
	names := slices.Clone(firstColumns)
	for _, c := range l.dynamic {
		names = append(names, c.Name)
	}
	return append(names, l.last...)
}

// width is the number of columns.
func (l *layout) width() int { return len(firstColumns) + len(l.dynamic) + len(l.last) }

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
// filter of a dictionary column by its dictionary; DELTA_LENGTH_BYTE_ARRAY,
// its default, is what the fewest readers know. The logical type is STRING, also for the JSON of
// _extra: Arrow gives a JSON column four different types, depending on its version.
func (l *layout) schema() *parquet.Schema {
	text := parquet.Encoded(parquet.String(), &parquet.Plain)
	words := parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	number := parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.Plain)
	extra := parquet.Optional(parquet.Encoded(parquet.Leaf(extraType{parquet.String().Type()}), &parquet.Plain))
	time := parquet.Encoded(parquet.Timestamp(parquet.Microsecond), &parquet.Plain)
	if l.version >= withDigest {
		time = parquet.Optional(time)
	}
	fixed := map[string]parquet.Node{
		columnRunID: text, columnPhase: words, columnCohort: words, columnSeq: number, columnTimestamp: time,
		columnKey: text, columnStamp: number, columnRecordID: text, columnDigest: parquet.Optional(number),
		columnStream: parquet.Optional(words), columnWriter: parquet.Optional(words), columnExtra: extra,
	}
	root := row{fields: make([]parquet.Field, l.width())}
	for i, name := range l.names() {
		node, id := fixed[name], fieldIDs[name]
		if k := l.kindAt(i); k != 0 {
			c := l.dynamic[i-len(firstColumns)]
			node, id = parquet.Optional(parquet.Encoded(leaf(k), &parquet.Plain)), int(c.ID)
		}
		if l.version >= withDigest {
			node = parquet.FieldID(node, id)
		}
		root.fields[i] = column{node, name}
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
