package delta

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/oklog/ulid/v2"

	"github.com/runfold/runfold/compactor/index"
)

// stampColumn is not in the table: a record that is appended again raises it, and nothing else of the row.
const stampColumn = "_stamp"

// mappedNames are the bytes that no name may have without column mapping.
const mappedNames = " ,;{}()\n\t="

// field is a column in the schema of Delta.
type field struct {
	Name     string         `json:"name"`
	Type     string         `json:"type"`
	Nullable bool           `json:"nullable"`
	Metadata map[string]any `json:"metadata"`
}

// shape is what a table says of its columns.
type shape struct {
	columns []index.FileColumn // in the table
	leftOut []string
	mapped  bool
}

// shapeOf is the shape of a file. Once column mapping is on, it stays on: a protocol does not go back.
func shapeOf(f *index.File, mapped bool) (s shape) {
	s.mapped = mapped
	met := map[string]bool{}
	for _, c := range f.Columns() {
		lower := foldCase(c.Name)
		switch {
		case c.Name == stampColumn:
			continue
		case met[lower]:
			s.leftOut = append(s.leftOut, c.Name)
			continue
		}
		met[lower] = true
		s.columns = append(s.columns, c)
		s.mapped = s.mapped || strings.ContainsAny(c.Name, mappedNames)
	}
	return s
}

// foldCase makes names equal that Spark cannot tell apart: it compares as Java's String.equalsIgnoreCase, to which the micro sign is a mu.
func foldCase(name string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, name)
}

// typeOf is the type of a column in Delta.
func typeOf(c index.FileColumn) string {
	switch {
	case c.Time:
		return "timestamp"
	case c.Kind == index.Bool:
		return "boolean"
	case c.Kind == index.Int:
		return "long"
	case c.Kind == index.Double:
		return "double"
	}
	return "string"
}

// schemaString is the schema. Every column may be NULL: a program that only reads gains nothing by knowing more.
func (s shape) schemaString() (text string, maxID int) {
	fields := []field{}
	// A file of version 1 has no ids.
	without := slices.ContainsFunc(s.columns, func(c index.FileColumn) bool { return c.ID == 0 })
	for i, c := range s.columns {
		f := field{c.Name, typeOf(c), true, map[string]any{}}
		if s.mapped {
			id := int(c.ID)
			if without {
				id = i + 1
			}
			f.Metadata["delta.columnMapping.id"], f.Metadata["delta.columnMapping.physicalName"] = id, c.Name
			maxID = max(maxID, id)
		}
		fields = append(fields, f)
	}
	data, err := json.Marshal(map[string]any{"type": "struct", "fields": fields})
	if err != nil {
		panic(fmt.Sprintf("delta: internal error: encode schema: %v", err))
	}
	return string(data), maxID
}

// metaData is the same for the same root and columns, in each process.
func (t table) metaData(s shape) *metaData {
	schema, maxID := s.schemaString()
	m := &metaData{
		Name: "runs", Format: format{"parquet", map[string]string{}}, SchemaString: schema, PartitionColumns: []string{},
		Configuration: map[string]string{"delta.enableChangeDataFeed": "false"},
	}
	if s.mapped {
		m.Configuration["delta.columnMapping.mode"] = "name"
		m.Configuration["delta.columnMapping.maxColumnId"] = strconv.Itoa(maxID)
	}
	// Readers want a UUID. Both that and a ULID are 128 bits, and the time of the ULID is that of the root.
	if id, err := ulid.ParseStrict(t.Settings.RootID); err == nil {
		m.ID = fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
		m.CreatedTime = int64(id.Time())
	}
	return m
}

// protocol is the lowest one that the names allow.
func (s shape) protocol() *protocol {
	if s.mapped {
		return &protocol{2, 5}
	}
	return &protocol{1, 2}
}

func (m *metaData) digest() string {
	sum := sha256.Sum256(encode([]action{{MetaData: m}}))
	return hex.EncodeToString(sum[:])
}
