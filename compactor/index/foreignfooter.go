package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// ErrUnsupported reports a file that may well be whole, but that this program cannot read: it is encrypted, it has
// a codec, an encoding or a type that is not known here, or it is no file of the expected kind at all.
var ErrUnsupported = errors.New("not supported by this program")

// unsupported makes an error that matches ErrUnsupported.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnsupported, fmt.Errorf(format, args...))
}

// The footer as this program needs it. The library's own types of it are not used, as they refuse what the format
// allows (a key without a value) and do not tell an unknown type from none.
type (
	foreignFooter struct {
		Schema    []schemaElement `thrift:"2,required"`
		NumRows   int64           `thrift:"3,required"`
		RowGroups []foreignGroup  `thrift:"4,required"`
	}
	foreignGroup struct {
		Columns []foreignChunk `thrift:"1,required"`
		NumRows int64          `thrift:"3,required"`
	}
	foreignChunk struct {
		FilePath string                     `thrift:"1,optional"`
		Meta     thrift.Null[foreignMeta]   `thrift:"3,optional"`
		Crypto   thrift.Null[thriftPresent] `thrift:"8,optional"`
	}
	foreignMeta struct {
		Type                 format.Type             `thrift:"1,required"`
		Codec                format.CompressionCodec `thrift:"4,required"`
		NumValues            int64                   `thrift:"5,required"`
		TotalCompressedSize  int64                   `thrift:"7,required"`
		DataPageOffset       int64                   `thrift:"9,required"`
		DictionaryPageOffset int64                   `thrift:"11,optional"`
	}
	schemaElement struct {
		Type          thrift.Null[format.Type]                `thrift:"1,optional"`
		TypeLength    int32                                   `thrift:"2,optional"`
		Repetition    thrift.Null[format.FieldRepetitionType] `thrift:"3,optional"`
		Name          string                                  `thrift:"4,required"`
		NumChildren   int32                                   `thrift:"5,optional"`
		ConvertedType thrift.Null[int32]                      `thrift:"6,optional"`
		Scale         int32                                   `thrift:"7,optional"`
		Precision     int32                                   `thrift:"8,optional"`
		LogicalType   thrift.Null[logicalType]                `thrift:"10,optional"`
	}
	// logicalType has one valid member, or none if it is a type of a later version.
	logicalType struct {
		String    thrift.Null[thriftPresent] `thrift:"1,optional"`
		Map       thrift.Null[thriftPresent] `thrift:"2,optional"`
		List      thrift.Null[thriftPresent] `thrift:"3,optional"`
		Enum      thrift.Null[thriftPresent] `thrift:"4,optional"`
		Decimal   thrift.Null[decimalType]   `thrift:"5,optional"`
		Date      thrift.Null[thriftPresent] `thrift:"6,optional"`
		Time      thrift.Null[timeType]      `thrift:"7,optional"`
		Timestamp thrift.Null[timeType]      `thrift:"8,optional"`
		Int       thrift.Null[intType]       `thrift:"10,optional"`
		Null      thrift.Null[thriftPresent] `thrift:"11,optional"`
		JSON      thrift.Null[thriftPresent] `thrift:"12,optional"`
		BSON      thrift.Null[thriftPresent] `thrift:"13,optional"`
		UUID      thrift.Null[thriftPresent] `thrift:"14,optional"`
		Float16   thrift.Null[thriftPresent] `thrift:"15,optional"`
		Variant   thrift.Null[thriftPresent] `thrift:"16,optional"`
		Geometry  thrift.Null[thriftPresent] `thrift:"17,optional"`
		Geography thrift.Null[thriftPresent] `thrift:"18,optional"`
	}
	decimalType struct {
		Scale     int32 `thrift:"1,required"`
		Precision int32 `thrift:"2,required"`
	}
	timeType struct {
		UTC  bool     `thrift:"1,required"`
		Unit timeUnit `thrift:"2,required"`
	}
	timeUnit struct {
		Millis thrift.Null[thriftPresent] `thrift:"1,optional"`
		Micros thrift.Null[thriftPresent] `thrift:"2,optional"`
		Nanos  thrift.Null[thriftPresent] `thrift:"3,optional"`
	}
	intType struct {
		BitWidth int8 `thrift:"1,required"`
		Signed   bool `thrift:"2,required"`
	}
	// thriftPresent is a struct of which only matters that it is there.
	thriftPresent struct{}
)

// foreignFile is the footer of a parquet file of any writer.
type foreignFile struct {
	r      io.ReaderAt
	end    int64 // where the pages end and the footer begins
	root   *foreign
	leaves []*foreign
	groups []foreignGroup
}

func openForeign(r io.ReaderAt, size int64) (f *foreignFile, err error) {
	defer guard(&err)
	if err := checkKind(r, size); err != nil {
		return nil, err
	}
	if err := checkFooter(r, size); err != nil {
		return nil, err
	}
	var tail [4]byte
	if err := readFull(r, tail[:], size-8); err != nil {
		return nil, err
	}
	b := make([]byte, binary.LittleEndian.Uint32(tail[:]))
	f = &foreignFile{r: r, end: size - 8 - int64(len(b))}
	if err := readFull(r, b, f.end); err != nil {
		return nil, err
	}
	var footer foreignFooter
	// A signature may follow the footer: what is decoded need not be all.
	if err := thrift.NewDecoder(new(thrift.CompactProtocol).NewReaderFromBytes(b)).Decode(&footer); err != nil {
		return nil, libraryError("footer", err)
	}
	f.groups = footer.RowGroups
	if f.root, f.leaves, err = foreignSchema(footer.Schema); err != nil {
		return nil, err
	}
	return f, f.check(footer.NumRows)
}

// check looks at all of the footer before the first row goes out.
func (f *foreignFile) check(rows int64) error {
	sum := int64(0)
	for i, g := range f.groups {
		if g.NumRows < 0 || len(g.Columns) != len(f.leaves) {
			return damaged("row group %d has %d rows and %d columns instead of %d", i, g.NumRows, len(g.Columns), len(f.leaves))
		}
		sum += g.NumRows
		for j := range g.Columns {
			if err := f.checkChunk(&g.Columns[j], f.leaves[j]); err != nil {
				return fmt.Errorf("row group %d, column %q: %w", i, f.leaves[j].path, err)
			}
		}
	}
	if sum != rows && rows != 0 { // which old versions of parquet-java leave at 0
		return damaged("row groups have %d rows and the file %d", sum, rows)
	}
	return nil
}

func (f *foreignFile) checkChunk(c *foreignChunk, leaf *foreign) error {
	m := &c.Meta.V
	switch {
	case c.Crypto.Valid:
		return unsupported("it is encrypted")
	case c.FilePath != "":
		return unsupported("its pages stand in another file, %q", c.FilePath)
	case !c.Meta.Valid:
		return damaged("it has no metadata")
	case m.Type != leaf.physical && !leaf.null:
		return damaged("it is of type %v, and in the schema of type %v", m.Type, leaf.physical)
	case m.Codec == format.LZO || m.Codec < 0 || m.Codec > format.Lz4Raw:
		return unsupported("it is compressed with %s", codecName(m.Codec))
	}
	from := m.start()
	if m.NumValues < 0 || m.TotalCompressedSize < 0 || from < 4 && m.NumValues > 0 || from > f.end-m.TotalCompressedSize {
		return damaged("%d values lie at %d with %d bytes, where pages end at %d", m.NumValues, from, m.TotalCompressedSize, f.end)
	}
	return nil
}

// start is where the first page is. Writers have left the place of the dictionary out, and have given that of the
// dictionary as that of the data.
func (m *foreignMeta) start() int64 {
	if m.DictionaryPageOffset > 0 {
		return min(m.DictionaryPageOffset, m.DataPageOffset)
	}
	return m.DataPageOffset
}

// checkKind tells what is no parquet file from one that is damaged.
func checkKind(r io.ReaderAt, size int64) error {
	head := make([]byte, min(size, 512))
	if err := readFull(r, head, 0); err != nil {
		return err
	}
	var tail [4]byte
	if size >= 4 {
		if err := readFull(r, tail[:], size-4); err != nil {
			return err
		}
	}
	starts := len(head) >= 4 && string(head[:4]) == "PAR1"
	switch {
	case string(tail[:]) == "PARE":
		return unsupported("the file is encrypted")
	case starts && string(tail[:]) != "PAR1":
		return damaged("the file starts as a parquet file and does not end as one: it is cut short")
	case starts:
		return nil
	case string(tail[:]) == "PAR1":
		return damaged("the file ends as a parquet file and does not start as one")
	case size == 0:
		return damaged("the file is empty")
	}
	if kind := looksLike(head); kind != "" {
		return unsupported("it is not a parquet file: it looks like %s", kind)
	}
	return unsupported("it is not a parquet file")
}
