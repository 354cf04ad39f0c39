package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// oddFile is a parquet file that is put together by hand, to be as no writer at hand makes it.
type oddFile struct {
	b      []byte
	footer oddFooter
}

type (
	oddFooter struct {
		Version   int32           `thrift:"1,required"`
		Schema    []schemaElement `thrift:"2,required"`
		NumRows   int64           `thrift:"3,required"`
		RowGroups []foreignGroup  `thrift:"4,required"`
		KeyValues []oddKey        `thrift:"5,optional"`
	}
	oddKey struct {
		Key string `thrift:"1,required"`
	}
)

// newOdd begins a file with these columns.
func newOdd(columns ...schemaElement) *oddFile {
	o := &oddFile{b: []byte("PAR1")}
	o.footer.Version = 1
	o.footer.Schema = append([]schemaElement{{Name: "schema", NumChildren: int32(len(columns))}}, columns...)
	return o
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := thrift.Marshal(new(thrift.CompactProtocol), v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// page appends a page.
func (o *oddFile) page(t *testing.T, h pageHeader, body []byte) {
	t.Helper()
	h.CompressedSize = int32(len(body))
	o.b = append(append(o.b, encode(t, h)...), body...)
}

// chunk says that what was appended since start is a column chunk.
func (o *oddFile) chunk(start int, kind format.Type, codec format.CompressionCodec, n int64) foreignChunk {
	return foreignChunk{Meta: thrift.New(foreignMeta{
		Type: kind, Codec: codec, NumValues: n, TotalCompressedSize: int64(len(o.b) - start), DataPageOffset: int64(start),
	})}
}

// group says that these column chunks are a row group.
func (o *oddFile) group(n int64, chunks ...foreignChunk) {
	o.footer.RowGroups = append(o.footer.RowGroups, foreignGroup{chunks, n})
	o.footer.NumRows += n
}

func (o *oddFile) bytes(t *testing.T) []byte {
	t.Helper()
	footer := encode(t, o.footer)
	b := append(bytes.Clone(o.b), footer...)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(footer))), "PAR1"...)
}

func leafElement(name string, kind format.Type, repetition format.FieldRepetitionType) schemaElement {
	return schemaElement{Name: name, Type: thrift.New(kind), Repetition: thrift.New(repetition)}
}

// dataV1 is the header of a page of plain values.
func dataV1(n, size int) pageHeader {
	return pageHeader{Type: format.DataPage, UncompressedSize: int32(size),
		Data: thrift.New(dataHeader{int32(n), format.Plain, format.RLE, format.RLE})}
}

func dataV2(n, size, definition int) pageHeader {
	return pageHeader{Type: format.DataPageV2, UncompressedSize: int32(size),
		DataV2: thrift.New(dataHeaderV2{NumValues: int32(n), Encoding: format.Plain, DefinitionBytes: int32(definition)})}
}

// oneColumn is a file of one column of int64 with one page.
func oneColumn(t *testing.T, codec format.CompressionCodec, h pageHeader, body []byte, n int) []byte {
	t.Helper()
	o := newOdd(leafElement("n", format.Int64, format.Required))
	o.page(t, h, body)
	o.group(int64(n), o.chunk(4, format.Int64, codec, int64(n)))
	return o.bytes(t)
}

func int64s(values ...int64) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return b
}

// readForeign reads all rows, and the error that ended them.
func readForeign(data []byte) (rows []string, err error) {
	for r, err := range ForeignRows(bytes.NewReader(data), int64(len(data))) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, string(r.JSON))
	}
	return rows, nil
}

func wantRows(t *testing.T, what string, data []byte, want ...string) {
	t.Helper()
	got, err := readForeign(data)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	} else if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: rows (-want +got):\n%s", what, diff)
	}
}

// wantError: a file is not supported or damaged, never both, and the message names a fact.
func wantError(t *testing.T, what string, data []byte, is error, says string) {
	t.Helper()
	rows, err := readForeign(data)
	if !errors.Is(err, is) || errors.Is(err, ErrDamaged) == errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %d rows and %v, want %v with %q", what, len(rows), err, is, says)
	}
}

func lz4Of(t *testing.T, b []byte) []byte {
	t.Helper()
	out := make([]byte, lz4.CompressBlockBound(len(b)))
	n, err := new(lz4.Compressor).CompressBlock(b, out)
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 { // not compressible: literals only
		if len(b) >= 15 {
			t.Fatal("too long for this helper")
		}
		return append([]byte{byte(len(b) << 4)}, b...)
	}
	return out[:n]
}

func hadoopBlock(size int, pieces ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	for _, p := range pieces {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return b
}

// TestForeignLZ4 has all that files hold whose codec is called LZ4, and blocks of LZ4_RAW that are far more than three
// times smaller than their page.
func TestForeignLZ4(t *testing.T) {
	values := make([]int64, 200_000)
	var want []string
	for i := range values {
		values[i] = int64(i / 100 % 7)
		want = append(want, `{"n":`+string('0'+byte(values[i]))+`}`)
	}
	raw := int64s(values...) // 1.6 MB
	block := lz4Of(t, raw)
	half := len(raw) / 2
	a, b := lz4Of(t, raw[:half]), lz4Of(t, raw[half:])
	var frame bytes.Buffer
	w := lz4.NewWriter(&frame)
	w.Write(raw)
	w.Close()
	for _, c := range []struct {
		what  string
		codec format.CompressionCodec
		body  []byte
	}{
		{"raw block", format.Lz4Raw, block},
		{"one block of Hadoop", format.Lz4, hadoopBlock(len(raw), block)},
		{"two blocks of Hadoop", format.Lz4, append(hadoopBlock(half, a), hadoopBlock(half, b)...)},
		{"a block of Hadoop in two pieces", format.Lz4, hadoopBlock(len(raw), a, b)},
		{"raw block called LZ4", format.Lz4, block},
		{"frame called LZ4", format.Lz4, frame.Bytes()},
	} {
		if len(c.body)*3 > len(raw) {
			t.Fatalf("%s: %d bytes of %d are too many to show anything", c.what, len(c.body), len(raw))
		}
		wantRows(t, c.what+", page v1", oneColumn(t, c.codec, dataV1(len(values), len(raw)), c.body, len(values)), want...)
		wantRows(t, c.what+", page v2", oneColumn(t, c.codec, dataV2(len(values), len(raw), 0), c.body, len(values)), want...)
	}
}

// TestForeignBombs: a page takes no more memory than its header says and its bytes can fill.
func TestForeignBombs(t *testing.T) {
	const large = 256 << 20
	bombs := map[format.CompressionCodec][]byte{format.Lz4: nil, format.Lz4Raw: nil}
	for _, codec := range []parquet.WriterOption{parquet.Compression(&parquet.Gzip), parquet.Compression(&parquet.Zstd), parquet.Compression(&parquet.Brotli), parquet.Compression(&parquet.Snappy)} {
		config, err := parquet.NewWriterConfig(codec)
		if err != nil {
			t.Fatal(err)
		}
		b, err := config.Compression.Encode(nil, make([]byte, 48<<20))
		if err != nil {
			t.Fatal(err)
		}
		bombs[config.Compression.CompressionCodec()] = b
	}
	bombs[format.Lz4Raw] = lz4Of(t, make([]byte, 48<<20))
	bombs[format.Lz4] = hadoopBlock(48<<20, bombs[format.Lz4Raw])
	names := []format.CompressionCodec{format.Snappy, format.Gzip, format.Brotli, format.Lz4, format.Zstd, format.Lz4Raw}
	for _, codec := range names {
		for _, of := range names {
			body := bombs[of]
			if len(body) > 1<<16 && of != codec { // what is of the codec must not come out, what is of others may be cut
				body = body[:1<<16]
			}
			// The page is larger than its header says.
			checkBomb(t, codec, of, oneColumn(t, codec, dataV1(10, 80), body, 10), 32<<20)
			// The header says more than there is.
			checkBomb(t, codec, of, oneColumn(t, codec, dataV1(large/8, large+8), body[:min(len(body), 64)], large/8), 32<<20)
		}
	}
}

func checkBomb(t *testing.T, codec, of format.CompressionCodec, data []byte, most uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readForeign(data)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("bytes of %v called %v: %v", of, codec, err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > most {
		t.Errorf("bytes of %v called %v: %d MB were allocated", of, codec, took>>20)
	}
}

// TestForeignValid: what writers really do, and was called damage or read wrong.
func TestForeignValid(t *testing.T) {
	raw := int64s(7, -8)
	rows := []string{`{"n":7}`, `{"n":-8}`}

	o := newOdd(leafElement("n", format.Int64, format.Required))
	o.page(t, dataV1(2, 16), raw)
	o.group(2, o.chunk(4, format.Int64, format.Uncompressed, 2))
	o.footer.KeyValues = []oddKey{{"a key without a value"}}
	wantRows(t, "key without a value", o.bytes(t), rows...)

	o.footer.NumRows = 0
	wantRows(t, "file that does not count its rows", o.bytes(t), rows...)

	o = newOdd(leafElement("n", format.Int64, format.Required), leafElement("note", format.Float, format.Optional))
	o.page(t, dataV1(2, 16), raw)
	n := o.chunk(4, format.Int64, format.Uncompressed, 2)
	start := len(o.b)
	o.page(t, dataV2(2, 2, 2), []byte{2 << 1, 0})
	for _, codec := range []format.CompressionCodec{format.Snappy, format.Gzip, format.Brotli, format.Lz4, format.Zstd, format.Lz4Raw} {
		p := *o
		p.group(2, n, p.chunk(start, format.Float, codec, 2))
		wantRows(t, "page of NULLs without a byte of "+codec.String(), p.bytes(t), rows...)
	}

	h := dataV1(2, 16)
	h.CRC = thrift.New(int32(crc32.ChecksumIEEE(raw)))
	wantRows(t, "checksum", oneColumn(t, format.Uncompressed, h, raw, 2), rows...)
	wantRows(t, "bytes behind the values", oneColumn(t, format.Uncompressed, dataV1(2, 19), append(slices.Clone(raw), 1, 2, 3), 2), rows...)

	o = newOdd(leafElement("n", format.Int64, format.Required))
	o.page(t, dataV1(2, 16), raw)
	o.group(2, o.chunk(4, format.Int64, format.Uncompressed, 2))
	start = len(o.b)
	o.page(t, dataV1(2, 16), lz4Of(t, int64s(0, 0)))
	o.group(2, o.chunk(start, format.Int64, format.Lz4Raw, 2))
	wantRows(t, "row groups of two codecs", o.bytes(t), append(rows, `{"n":0}`, `{"n":0}`)...)
}

// TestForeignDictionaries: where writers say that a dictionary is.
func TestForeignDictionaries(t *testing.T) {
	build := func(change func(m *foreignMeta, dict, data int)) []byte {
		o := newOdd(leafElement("n", format.Int64, format.Required))
		o.b = append(o.b, "padding before the column"...)
		dict := len(o.b)
		o.page(t, pageHeader{Type: format.DictionaryPage, UncompressedSize: 16, Dictionary: thrift.New(dictHeader{2, plainDictionary})}, int64s(5, 6))
		data := len(o.b)
		h := dataV1(3, 3)
		h.Data.V.Encoding = plainDictionary
		o.page(t, h, []byte{1, 1<<1 | 1, 0b101})
		c := o.chunk(dict, format.Int64, format.Uncompressed, 3)
		change(&c.Meta.V, dict, data)
		o.group(3, c)
		return o.bytes(t)
	}
	rows := []string{`{"n":6}`, `{"n":5}`, `{"n":6}`}
	wantRows(t, "both places", build(func(m *foreignMeta, dict, data int) {
		m.DictionaryPageOffset, m.DataPageOffset = int64(dict), int64(data)
	}), rows...)
	wantRows(t, "the data's is the dictionary's", build(func(*foreignMeta, int, int) {}), rows...)
	wantRows(t, "both are the dictionary's", build(func(m *foreignMeta, dict, _ int) { m.DictionaryPageOffset = int64(dict) }), rows...)
	wantRows(t, "exchanged", build(func(m *foreignMeta, dict, data int) {
		m.DictionaryPageOffset, m.DataPageOffset = int64(data), int64(dict)
	}), rows...)
	wantRows(t, "size without the dictionary's header", build(func(m *foreignMeta, dict, data int) {
		m.DictionaryPageOffset, m.DataPageOffset = int64(dict), int64(data)
		m.TotalCompressedSize -= int64(data-dict) - 16
	}), rows...)
	wantError(t, "no dictionary", build(func(m *foreignMeta, dict, data int) {
		m.DataPageOffset = int64(data)
		m.TotalCompressedSize -= int64(data - dict)
	}), ErrDamaged, "a page needs a dictionary, but has none")
}

// TestForeignInt96: the day has a sign, as have the nanoseconds.
func TestForeignInt96(t *testing.T) {
	o := newOdd(leafElement("at", format.Int96, format.Required))
	var b []byte
	for _, at := range []struct {
		nanos int64
		day   int32
	}{{0, 2440588}, {86399_999_999_999, 2440587}, {0, 0}, {0, -1}, {-1, 2440588}} {
		b = binary.LittleEndian.AppendUint64(b, uint64(at.nanos))
		b = binary.LittleEndian.AppendUint32(b, uint32(at.day))
	}
	o.page(t, dataV1(5, len(b)), b)
	o.group(5, o.chunk(4, format.Int96, format.Uncompressed, 5))
	wantRows(t, "int96", o.bytes(t), `{"at":"1970-01-01T00:00:00Z"}`, `{"at":"1969-12-31T23:59:59.999999999Z"}`,
		`{"at":"-4713-11-24T00:00:00Z"}`, `{"at":"-4713-11-23T00:00:00Z"}`, `{"at":"1969-12-31T23:59:59.999999999Z"}`)
}

// TestForeignUnsupported: not supported is not damaged.
func TestForeignUnsupported(t *testing.T) {
	int64Column := func(change func(o *oddFile, e *schemaElement, c *foreignChunk)) []byte {
		o := newOdd(leafElement("n", format.Int64, format.Required))
		o.page(t, dataV1(1, 8), int64s(1))
		c := o.chunk(4, format.Int64, format.Uncompressed, 1)
		change(o, &o.footer.Schema[1], &c)
		o.group(1, c)
		return o.bytes(t)
	}
	logical := func(l logicalType) []byte {
		return int64Column(func(_ *oddFile, e *schemaElement, _ *foreignChunk) { e.LogicalType = thrift.New(l) })
	}
	for _, c := range []struct {
		what, says string
		data       []byte
	}{
		{"LZO", "LZO", oneColumn(t, format.LZO, dataV1(1, 8), int64s(1), 1)},
		{"codec of a later version", "codec 9", oneColumn(t, 9, dataV1(1, 8), int64s(1), 1)},
		{"encrypted column", "encrypted", int64Column(func(_ *oddFile, _ *schemaElement, c *foreignChunk) { c.Crypto.Valid = true })},
		{"encrypted footer", "encrypted", []byte("PARE0123456789\x04\x00\x00\x00PARE")},
		{"pages in another file", `"part-0.parquet"`, int64Column(func(_ *oddFile, _ *schemaElement, c *foreignChunk) { c.FilePath = "part-0.parquet" })},
		{"logical type of a later version", "later version", logical(logicalType{})},
		{"date of 64 bits", "INT64", logical(logicalType{Date: thrift.New(thriftPresent{})})},
		{"unit of a later version", "INT64", logical(logicalType{Timestamp: thrift.New(timeType{})})},
		{"negative scale", "INT64", logical(logicalType{Decimal: thrift.New(decimalType{-2, 5})})},
		{"converted type of a later version", "later version", int64Column(func(_ *oddFile, e *schemaElement, _ *foreignChunk) { e.ConvertedType = thrift.New(int32(99)) })},
		{"encoding of a later version", "encoding 77", func() []byte {
			h := dataV1(1, 8)
			h.Data.V.Encoding = 77
			return oneColumn(t, format.Uncompressed, h, int64s(1), 1)
		}()},
		{"encoding that the type cannot have", "DELTA_BYTE_ARRAY", func() []byte {
			h := dataV1(1, 8)
			h.Data.V.Encoding = format.DeltaByteArray
			return oneColumn(t, format.Uncompressed, h, int64s(1), 1)
		}()},
		{"two columns of one name", `"n"`, func() []byte {
			o := newOdd(leafElement("n", format.Int64, format.Required), leafElement("n", format.Int64, format.Required))
			o.page(t, dataV1(1, 8), int64s(1))
			o.group(1, o.chunk(4, format.Int64, format.Uncompressed, 1), o.chunk(4, format.Int64, format.Uncompressed, 1))
			return o.bytes(t)
		}()},
		{"CSV", "looks like CSV", []byte("run_id,phase,auc\nr1,S,0.5\nr2,S,0.6\n")},
		{"JSON", "looks like JSON", []byte("\n{\"run_id\":\"r1\",\n \"phase\":\"S\"}\n")},
		{"gzip", "looks like a gzip file", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03")},
		{"Feather", "Arrow", []byte("ARROW1\x00\x00 and more")},
		{"a word", "looks like text", []byte("hello")},
		{"who knows", "not a parquet file", []byte{1, 2, 3}},
	} {
		wantError(t, c.what, c.data, ErrUnsupported, c.says)
	}
}

// TestForeignContradictions: a file that contradicts itself gives no rows that nobody wrote.
func TestForeignContradictions(t *testing.T) {
	raw := int64s(7, -8)
	wrong := dataV1(2, 16)
	wrong.CRC = thrift.New(int32(0)) // which the library takes for no checksum
	whole := oneColumn(t, format.Uncompressed, dataV1(2, 16), raw, 2)
	for _, c := range []struct {
		what, says string
		data       []byte
	}{
		{"checksum", "checksum", oneColumn(t, format.Uncompressed, wrong, raw, 2)},
		{"page that is too short", "fewer values", oneColumn(t, format.Uncompressed, dataV1(2, 16), raw[:12], 2)},
		{"row group with more rows", "missing from its pages", oneColumn(t, format.Uncompressed, dataV1(2, 16), raw, 3)},
		{"row group with fewer rows", "2 values, where the column has 1 more", oneColumn(t, format.Uncompressed, dataV1(2, 16), raw, 1)},
		{"nothing", "empty", nil},
		{"cut short", "cut short", whole[:len(whole)-5]},
		{"without its start", "does not start", whole[2:]},
		{"footer longer than the file", "footer of", append(whole[:len(whole)-8:len(whole)-8], "\xff\xff\xff\x7fPAR1"...)},
		{"rows of the file", "row groups have", func() []byte {
			o := newOdd(leafElement("n", format.Int64, format.Required))
			o.page(t, dataV1(2, 16), raw)
			o.group(2, o.chunk(4, format.Int64, format.Uncompressed, 2))
			o.footer.NumRows = 3
			return o.bytes(t)
		}()},
		{"column that goes on", "more values than its row group", func() []byte {
			o := newOdd(leafElement("n", format.Int64, format.Required))
			o.page(t, dataV1(2, 16), raw)
			o.group(1, o.chunk(4, format.Int64, format.Uncompressed, 2))
			return o.bytes(t)
		}()},
		{"type in the schema", "in the schema", func() []byte {
			o := newOdd(leafElement("n", format.Int64, format.Required))
			o.page(t, dataV1(2, 16), raw)
			o.group(2, o.chunk(4, format.Double, format.Uncompressed, 2))
			return o.bytes(t)
		}()},
		{"levels of a group", "missing in another", siblings(t, []byte{1 << 1, 1, 1 << 1, 0}, []byte{2 << 1, 1}, raw, raw)},
		{"levels of a group, the other way", "missing in another", siblings(t, []byte{1 << 1, 0, 1 << 1, 1}, []byte{2 << 1, 1}, raw[:8], raw)},
		{"level too high", "level 2", siblings(t, []byte{2 << 1, 2}, []byte{2 << 1, 1}, raw, raw)},
	} {
		wantError(t, c.what, c.data, ErrDamaged, c.says)
	}
	wantRows(t, "levels of a group that agree", siblings(t, []byte{1 << 1, 1, 1 << 1, 0}, []byte{1 << 1, 1, 1 << 1, 0}, raw, raw), `{"g":{"a":7,"b":7}}`, `{}`)
}

// siblings is a file with an optional group of two columns, with these levels and values.
func siblings(t *testing.T, levelsA, levelsB, a, b []byte) []byte {
	t.Helper()
	group := schemaElement{Name: "g", Repetition: thrift.New(format.Optional), NumChildren: 2}
	o := newOdd(group, leafElement("a", format.Int64, format.Required), leafElement("b", format.Int64, format.Required))
	o.footer.Schema[0].NumChildren = 1
	o.page(t, dataV2(2, len(levelsA)+len(a), len(levelsA)), append(slices.Clone(levelsA), a...))
	first := o.chunk(4, format.Int64, format.Uncompressed, 2)
	start := len(o.b)
	o.page(t, dataV2(2, len(levelsB)+len(b), len(levelsB)), append(slices.Clone(levelsB), b...))
	o.group(2, first, o.chunk(start, format.Int64, format.Uncompressed, 2))
	return o.bytes(t)
}

// TestForeignOldForms: levels in the old encoding, and lists of older writers.
func TestForeignOldForms(t *testing.T) {
	o := newOdd(leafElement("n", format.Int64, format.Optional))
	h := dataV1(3, 17)
	h.Data.V.Definition = format.BitPacked
	o.page(t, h, append([]byte{0b1010_0000}, int64s(7, -8)...))
	o.group(3, o.chunk(4, format.Int64, format.Uncompressed, 3))
	wantRows(t, "bit-packed levels", o.bytes(t), `{"n":7}`, `{}`, `{"n":-8}`)

	list := schemaElement{Name: "l", Repetition: thrift.New(format.Required), NumChildren: 1, ConvertedType: thrift.New[int32](convertedList)}
	item := schemaElement{Name: "list", Repetition: thrift.New(format.Repeated), NumChildren: 1}
	nested := func(reps ...byte) []byte {
		o := newOdd(list, item, leafElement("n", format.Int64, format.Repeated))
		o.footer.Schema[0].NumChildren = 1
		h := dataV2(2, 0, 2)
		h.DataV2.V.RepetitionBytes = int32(len(reps))
		body := append(append(slices.Clone(reps), 2<<1, 2), int64s(7, -8)...)
		h.UncompressedSize = int32(len(body))
		o.page(t, h, body)
		o.group(1, o.chunk(4, format.Int64, format.Uncompressed, 2))
		return o.bytes(t)
	}
	wantRows(t, "list of groups with something repeated", nested(1<<1, 0, 1<<1, 1), `{"l":[{"n":[7]},{"n":[-8]}]}`)
	wantRows(t, "list of one such group", nested(1<<1, 0, 1<<1, 2), `{"l":[{"n":[7,-8]}]}`)
	wantError(t, "row that begins within a list", nested(2<<1, 1), ErrDamaged, "begins within a list")
}

// TestForeignRuns: a run of two billion values takes no memory.
func TestForeignRuns(t *testing.T) {
	o := newOdd(leafElement("n", format.Int64, format.Optional))
	const n = 1<<31 - 1
	levels := append(binary.AppendUvarint(nil, n<<1), 0)
	o.page(t, dataV2(n, len(levels), len(levels)), levels)
	o.group(n, o.chunk(4, format.Int64, format.Uncompressed, n))
	data := o.bytes(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	rows := 0
	for r, err := range ForeignRows(bytes.NewReader(data), int64(len(data))) {
		if err != nil || string(r.JSON) != "{}" {
			t.Fatalf("row %d: %s, %v", rows, r.JSON, err)
		}
		if rows++; rows == 1000 {
			break
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("%d KB were allocated for 1000 rows", took>>10)
	}
}

// FuzzForeign: no bytes make it panic, run for ever, or call one file both damaged and not supported.
func FuzzForeign(f *testing.F) {
	for _, name := range []string{"types-v2-dict.parquet", "encodings-v1.parquet", "nested-v2-many.parquet", "spark-lz4-v2.parquet", "fallback.parquet"} {
		b, err := os.ReadFile(filepath.Join(foreignDir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rows := 0
		for _, err := range ForeignRows(bytes.NewReader(data), int64(len(data))) {
			if err != nil && errors.Is(err, ErrDamaged) == errors.Is(err, ErrUnsupported) {
				t.Errorf("row %d: %v", rows, err)
			}
			if rows++; rows > 10_000 {
				return // a run of NULLs may be as long as it says
			}
		}
	})
}
