package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// pageHeader is the header of a page as this program needs it. The library's own type does not tell a checksum of 0
// from none.
type pageHeader struct {
	Type             format.PageType           `thrift:"1,required"`
	UncompressedSize int32                     `thrift:"2,required"`
	CompressedSize   int32                     `thrift:"3,required"`
	CRC              thrift.Null[int32]        `thrift:"4,optional"`
	Data             thrift.Null[dataHeader]   `thrift:"5,optional"`
	Dictionary       thrift.Null[dictHeader]   `thrift:"7,optional"`
	DataV2           thrift.Null[dataHeaderV2] `thrift:"8,optional"`
}

type (
	dataHeader struct {
		NumValues  int32           `thrift:"1,required"`
		Encoding   format.Encoding `thrift:"2,required"`
		Definition format.Encoding `thrift:"3,required"`
		Repetition format.Encoding `thrift:"4,required"`
	}
	dictHeader struct {
		NumValues int32           `thrift:"1,required"`
		Encoding  format.Encoding `thrift:"2,required"`
	}
	dataHeaderV2 struct {
		NumValues       int32             `thrift:"1,required"`
		Encoding        format.Encoding   `thrift:"4,required"`
		DefinitionBytes int32             `thrift:"5,required"`
		RepetitionBytes int32             `thrift:"6,required"`
		IsCompressed    thrift.Null[bool] `thrift:"7,optional"`
	}
)

// leafReader reads the values of one column chunk in their order, with their levels.
type leafReader struct {
	leaf   *foreign
	r      io.ReaderAt
	codecs *codecs
	codec  format.CompressionCodec

	at, until, end int64 // the next page; where no page begins any more; where the last one has to end
	left           int64 // how many values of the chunk are in the pages from at on

	dict      *dictionary
	inPage    int // how many values of the page were not read
	reps      levels
	defs      levels
	values    valueReader
	head      parquet.Value // is read already
	headValid bool
}

// dictPadding is what old versions of parquet-java left out of the size of a column chunk: the header of its
// dictionary page (PARQUET-816). 100 bytes are what other readers allow for it.
const dictPadding = 100

// plainDictionary is how old writers call both a dictionary and the numbers into it.
const plainDictionary format.Encoding = 2

// maxPageHeader bounds a page's header, in which the smallest and the largest value stand.
const maxPageHeader = 16 << 20

func (f *foreignFile) openLeaf(c *foreignChunk, leaf *foreign, codecs *codecs) *leafReader {
	m := &c.Meta.V
	until := m.start() + m.TotalCompressedSize
	return &leafReader{
		leaf: leaf, r: f.r, codecs: codecs, codec: m.Codec,
		at: m.start(), until: until, end: min(until+dictPadding, f.end), left: m.NumValues,
	}
}

var errFewForeign = errors.New("a column has fewer values than its row group has rows")

// peek returns the value that next will return.
func (l *leafReader) peek() (parquet.Value, error) {
	if l.headValid {
		return l.head, nil
	}
	v, err := l.read()
	if err != nil {
		return v, err
	}
	l.head, l.headValid = v, true
	return v, nil
}

// next returns the next value.
func (l *leafReader) next() (parquet.Value, error) {
	v, err := l.peek()
	l.headValid = false
	return v, err
}

// more tells whether there is another value.
func (l *leafReader) more() bool { return l.headValid || l.inPage > 0 || l.left > 0 }

// read reads the next value of this page or another.
func (l *leafReader) read() (_ parquet.Value, err error) {
	for l.inPage == 0 {
		if l.left == 0 {
			return parquet.Value{}, l.failed(damaged("%w", errFewForeign))
		}
		if err := l.nextPage(); err != nil {
			return parquet.Value{}, l.failed(err)
		}
	}
	l.inPage--
	rep, err := l.reps.next()
	if err != nil {
		return parquet.Value{}, l.failed(err)
	}
	def, err := l.defs.next()
	if err != nil {
		return parquet.Value{}, l.failed(err)
	}
	if def < l.leaf.definition {
		return parquet.Value{}.Level(rep, def, 0), nil
	}
	v, err := l.values.next()
	if err != nil {
		return parquet.Value{}, l.failed(err)
	}
	return v.Level(rep, def, 0), nil
}

func (l *leafReader) failed(err error) error { return fmt.Errorf("column %q: %w", l.leaf.path, err) }

// nextPage reads one page. Of a page that is no data page, no values are left to be read.
func (l *leafReader) nextPage() error {
	if l.at >= l.until {
		return damaged("%d values are missing from its pages", l.left)
	}
	h, err := l.header()
	if err != nil {
		return err
	}
	if h.UncompressedSize < 0 || h.CompressedSize < 0 || int64(h.CompressedSize) > l.end-l.at {
		return damaged("a page of %d bytes, uncompressed %d, at %d ends behind its column", h.CompressedSize, h.UncompressedSize, l.at)
	}
	isData := h.Type == format.DataPage || h.Type == format.DataPageV2
	if !isData && h.Type != format.DictionaryPage {
		l.at += int64(h.CompressedSize) // an index page, or of a later version: readers may pass over them
		return nil
	}
	body := make([]byte, h.CompressedSize)
	if n, err := l.r.ReadAt(body, l.at); n < len(body) {
		return libraryError("read page", err)
	}
	if h.CRC.Valid && uint32(h.CRC.V) != crc32.ChecksumIEEE(body) {
		return damaged("checksum of the page at %d does not match", l.at)
	}
	l.at += int64(h.CompressedSize)
	switch {
	case h.Type == format.DataPage && h.Data.Valid:
		return l.dataPage(h.Data.V, body, int(h.UncompressedSize))
	case h.Type == format.DataPageV2 && h.DataV2.Valid:
		return l.dataPageV2(h.DataV2.V, body, int(h.UncompressedSize))
	case h.Type == format.DictionaryPage && h.Dictionary.Valid:
		return l.dictionaryPage(h.Dictionary.V, body, int(h.UncompressedSize))
	}
	return damaged("the header of a page of type %v lacks what belongs to it", h.Type)
}

// header reads the header at l.at and goes on behind it. How long it is can only be seen by walking over it.
func (l *leafReader) header() (h pageHeader, err error) {
	for size := int64(256); ; size *= 8 {
		b := make([]byte, min(size, l.end-l.at, maxPageHeader))
		if n, err := l.r.ReadAt(b, l.at); n < len(b) {
			return h, libraryError("read page header", err)
		}
		w := thriftWalk{b}
		if !w.value(thriftStruct, 0) {
			if int64(len(b)) < size {
				return h, damaged("there is no page header at %d", l.at)
			}
			continue
		}
		l.at += int64(len(b) - len(w.b))
		if err := thrift.NewDecoder(new(thrift.CompactProtocol).NewReaderFromBytes(b)).Decode(&h); err != nil {
			return h, libraryError("page header", err)
		}
		return h, nil
	}
}

// begin starts with a page that has n values.
func (l *leafReader) begin(n int32) error {
	if n < 0 || int64(n) > l.left {
		return damaged("a page of %d values, where the column has %d more", n, l.left)
	}
	l.inPage, l.left = int(n), l.left-int64(n)
	return nil
}

func (l *leafReader) dataPage(h dataHeader, body []byte, size int) (err error) {
	if err := l.begin(h.NumValues); err != nil {
		return err
	}
	if body, err = l.codecs.decompress(l.codec, body, size); err != nil {
		return err
	}
	if l.reps, body, err = levelsV1(h.Repetition, l.leaf.repetition, l.inPage, body); err != nil {
		return err
	}
	if l.defs, body, err = levelsV1(h.Definition, l.leaf.definition, l.inPage, body); err != nil {
		return err
	}
	l.values, err = l.newValues(h.Encoding, body)
	return err
}

// dataPageV2 reads a page whose levels are never compressed.
func (l *leafReader) dataPageV2(h dataHeaderV2, body []byte, size int) (err error) {
	if err := l.begin(h.NumValues); err != nil {
		return err
	}
	r, d := int(h.RepetitionBytes), int(h.DefinitionBytes)
	if r < 0 || d < 0 || r > len(body) || d > len(body)-r || r+d > size {
		return damaged("levels of %d and %d bytes in a page of %d", r, d, len(body))
	}
	l.reps = levels{highest: l.leaf.repetition, of: newHybrid(body[:r], bits.Len(uint(l.leaf.repetition)))}
	l.defs = levels{highest: l.leaf.definition, of: newHybrid(body[r:r+d], bits.Len(uint(l.leaf.definition)))}
	body = body[r+d:]
	if !h.IsCompressed.Valid || h.IsCompressed.V {
		if body, err = l.codecs.decompress(l.codec, body, size-r-d); err != nil {
			return err
		}
	}
	l.values, err = l.newValues(h.Encoding, body)
	return err
}

func (l *leafReader) dictionaryPage(h dictHeader, body []byte, size int) (err error) {
	if l.dict != nil {
		return damaged("it has two dictionaries")
	}
	if h.Encoding != format.Plain && h.Encoding != plainDictionary {
		return unsupported("its dictionary is encoded with %s", encodingName(h.Encoding))
	}
	if body, err = l.codecs.decompress(l.codec, body, size); err != nil {
		return err
	}
	l.dict, err = newDictionary(l.leaf, body, int(h.NumValues))
	return err
}

// newValues decodes the values of a page.
func (l *leafReader) newValues(e format.Encoding, b []byte) (valueReader, error) {
	kind, n := l.leaf.physical, l.leaf.length
	integers := kind == format.Int32 || kind == format.Int64
	switch {
	case e == format.Plain:
		return &plainValues{kind: kind, length: n, b: b}, nil
	case e == plainDictionary || e == format.RLEDictionary:
		if l.dict == nil {
			return nil, damaged("a page needs a dictionary, but has none")
		}
		return &dictValues{dict: l.dict, b: b}, nil
	case e == format.RLE && kind == format.Boolean:
		return newBoolRuns(b)
	case e == format.DeltaBinaryPacked && integers:
		return &deltaValues{kind: kind, of: deltaInts{b: b}}, nil
	case e == format.DeltaLengthByteArray && kind == format.ByteArray:
		return newDeltaBytes(l.leaf, b, false)
	case e == format.DeltaByteArray && (kind == format.ByteArray || kind == format.FixedLenByteArray):
		return newDeltaBytes(l.leaf, b, true)
	case e == format.ByteStreamSplit && kind != format.ByteArray && kind != format.Boolean && kind != format.Int96:
		if len(b)%n != 0 {
			return nil, damaged("%d bytes are not values of %d bytes each", len(b), n)
		}
		return &splitValues{kind: kind, length: n, b: b}, nil
	}
	return nil, unsupported("values of type %v are encoded with %s", kind, encodingName(e))
}

func encodingName(e format.Encoding) string {
	if name := e.String(); name != "Encoding(?)" {
		return name
	}
	return fmt.Sprintf("encoding %d", int32(e))
}

// levelsV1 takes the levels off the start of a page.
func levelsV1(e format.Encoding, highest, n int, b []byte) (levels, []byte, error) {
	width := bits.Len(uint(highest))
	switch {
	case highest == 0:
		return levels{}, b, nil
	case e == format.RLE:
		if len(b) < 4 || int64(binary.LittleEndian.Uint32(b)) > int64(len(b)-4) {
			return levels{}, nil, damaged("levels are cut short")
		}
		end := 4 + int(binary.LittleEndian.Uint32(b))
		return levels{highest: highest, of: newHybrid(b[4:end], width)}, b[end:], nil
	case e == format.BitPacked:
		size := (int64(n)*int64(width) + 7) / 8
		if size > int64(len(b)) {
			return levels{}, nil, damaged("levels are cut short")
		}
		return levels{highest: highest, of: &bigBits{b: b[:size], width: width}}, b[size:], nil
	}
	return levels{}, nil, unsupported("levels are encoded with %s", encodingName(e))
}
