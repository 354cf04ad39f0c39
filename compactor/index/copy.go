package index

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/runfold/runfold/cohort"
)

// A row group that a fold leaves alone is copied as bytes, which costs a tenth of what decoding and
// encoding it would. The library does the copying (WriteRowGroup); four guards make it safe:
//
//  1. every index is written with the same options, else the library encodes again and does not say so;
//  2. a section that ends early is an error (strict, copier): the library does not notice it;
//  3. the checksum of every page is verified during the copy, so that a flipped bit is not copied;
//  4. the bytes that were copied unchanged are counted, so that a group counts as copied only if
//     all of its bytes were.

// groupPlan is what is known about an old row group before it is read.
type groupPlan struct {
	copy        bool
	first, last int64 // the seqs of its rows
}

// plan decides which row groups of old are copied: those that no put changes or falls into, and that
// are not small. A small group is encoded again, and so becomes one with its neighbours. A small group
// between two groups that are copied is copied, too: otherwise each later fold would encode it again.
func (m *merger) plan(old *File) []groupPlan {
	groups := old.file.Metadata().RowGroups
	plans := make([]groupPlan, len(groups))
	if !old.Schema().Equal(m.encoder.layout.dynamic) || old.Version() != version || old.anew {
		return plans
	}
	touched := map[int]bool{}
	for _, g := range m.drop {
		touched[g] = true
	}
	for key := range m.raised {
		touched[m.found[cohort.Key(key)].group] = true
	}
	free, large := make([]bool, len(groups)), make([]bool, len(groups))
	puts := m.puts
	for i, g := range groups {
		p := &plans[i]
		bounds := g.Columns[old.layout.place[columnSeq]].MetaData.Statistics
		if len(bounds.MinValue) != 8 || len(bounds.MaxValue) != 8 {
			continue
		}
		p.first = int64(binary.LittleEndian.Uint64(bounds.MinValue))
		p.last = int64(binary.LittleEndian.Uint64(bounds.MaxValue))
		for len(puts) > 0 && int64(puts[0].Seq) < p.first {
			puts = puts[1:]
		}
		free[i] = !touched[i] && (len(puts) == 0 || int64(puts[0].Seq) > p.last)
		weight := g.TotalByteSize + g.NumRows*int64(len(g.Columns))*cellBytes
		large[i] = g.NumRows >= m.out.full.rows/2 || weight >= m.out.full.bytes/2
	}
	for i := range plans {
		alone := i+1 < len(plans) && free[i+1] && large[i+1] && (i == 0 || free[i-1] && large[i-1])
		plans[i].copy = free[i] && (large[i] || alone)
	}
	return plans
}

// indexed opens old again with its page index, which copying needs.
func (f *File) indexed() (*parquet.File, error) {
	for _, g := range f.file.Metadata().RowGroups {
		for _, c := range g.Columns {
			if err := f.checkSection(c.ColumnIndexOffset, c.ColumnIndexLength); err != nil {
				return nil, err
			}
			if err := f.checkSection(c.OffsetIndexOffset, c.OffsetIndexLength); err != nil {
				return nil, err
			}
		}
	}
	return openParquet(f.source, f.size, parquet.SkipBloomFilters(true))
}

// checkSection checks the lengths within one section of the page index, see checkThrift.
func (f *File) checkSection(offset int64, length int32) error {
	if offset < 4 || length <= 0 || offset > f.size-int64(length) {
		return damaged("page index at %d with %d bytes in a file of %d", offset, length, f.size)
	}
	section := make([]byte, length)
	if err := readFull(f.source, section, offset); err != nil {
		return err
	}
	return checkThrift(section)
}

// copyGroup writes a row group of an old index as bytes. A panic may come from what is read: the copier guards what is
// written.
func (w *writer) copyGroup(g parquet.RowGroup, meta *format.RowGroup, p groupPlan) (err error) {
	defer guard(&err)
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.follow(p.first, true); err != nil {
		return err
	}
	w.seq, w.rows, w.size = p.last, 0, 0
	want, err := w.out.expect(g, meta)
	if err != nil {
		return err
	}
	n, err := w.w.WriteRowGroup(g)
	if err != nil {
		return libraryError("copy", err)
	}
	if n != g.NumRows() {
		return fmt.Errorf("copied %d of %d rows: %w", n, g.NumRows(), io.ErrShortWrite)
	}
	if w.out.verbatim != want {
		w.stats.RowsWritten += n
		return nil
	}
	w.stats.GroupsCopied++
	w.stats.RowsCopied += n
	return nil
}

// copier is the destination of an index. It counts and checks what the library copies from an old
// one, which it does by calling ReadFrom.
type copier struct {
	w        io.Writer
	verbatim int64 // bytes of the current row group that were copied

	// The places of its bloom filters, and of its data pages as the page index states them. Every other
	// section is a dictionary page.
	blooms map[int64]bool
	pages  map[int64][]format.PageLocation

	filters filterFinder // only where highByteFirst

	in   *bufio.Reader // of the section that is copied
	head bytes.Buffer  // the page header that is read
}

// expect prepares for one row group and returns how many bytes of it are to be copied.
func (c *copier) expect(g parquet.RowGroup, meta *format.RowGroup) (want int64, err error) {
	c.verbatim, c.blooms, c.pages = 0, map[int64]bool{}, map[int64][]format.PageLocation{}
	for i, col := range meta.Columns {
		m := &col.MetaData
		want += m.TotalCompressedSize
		if m.BloomFilterOffset != 0 {
			c.blooms[m.BloomFilterOffset] = true
			want += int64(m.BloomFilterLength)
		}
		index, err := g.ColumnChunks()[i].OffsetIndex()
		if err != nil {
			return 0, libraryError("page index", err)
		}
		for p := range index.NumPages() {
			c.pages[m.DataPageOffset] = append(c.pages[m.DataPageOffset], format.PageLocation{
				Offset:             index.Offset(p),
				CompressedPageSize: int32(index.CompressedPageSize(p)),
				FirstRowIndex:      index.FirstRowIndex(p),
			})
		}
	}
	return want, nil
}

func (c *copier) Write(p []byte) (int, error) {
	n, err := c.write(p)
	if err != nil {
		err = &ioError{err}
	}
	return n, err
}

func (c *copier) write(p []byte) (n int, err error) {
	defer guardWriting(&err)
	if highByteFirst && c.filters.isFilter(p) {
		p = slices.Clone(p) // the library's own memory
		swapWords(p)
	}
	return c.w.Write(p)
}

// ReadFrom copies r. What comes from a file is checked.
func (c *copier) ReadFrom(r io.Reader) (int64, error) {
	section, ok := r.(*io.SectionReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	_, offset, length := section.Outer()
	if !c.blooms[offset] {
		return c.copyPages(section, offset, length)
	}
	n, err := io.Copy(struct{ io.Writer }{c}, section)
	c.verbatim += n
	if err == nil && n != length {
		err = damaged("bloom filter at %d: %w", offset, io.ErrUnexpectedEOF)
	}
	return n, err
}

// copyPages copies the pages of one section, each a header and a body. It compares the bodies with
// their checksums. Headers have no checksums, so it compares them with the page index.
func (c *copier) copyPages(r io.Reader, offset, length int64) (n int64, err error) {
	if c.in == nil {
		c.in = bufio.NewReaderSize(nil, 64<<10)
	}
	c.in.Reset(r)
	out := &countingWriter{w: c}
	defer func() { c.verbatim += out.n }()
	pages, row := c.pages[offset], int64(0)
	for out.n < length {
		start := out.n
		h, err := c.copyPage(out)
		if err != nil {
			return out.n, err
		}
		if h.Type == format.DictionaryPage {
			continue
		}
		at := format.PageLocation{Offset: offset + start, CompressedPageSize: int32(out.n - start), FirstRowIndex: row}
		if len(pages) == 0 || pages[0] != at {
			return out.n, damaged("page at %d is not where the page index says", offset+start)
		}
		pages, row = pages[1:], row+int64(h.DataPageHeaderV2.V.NumRows)
	}
	if out.n != length || len(pages) > 0 {
		return out.n, damaged("%d bytes of pages were read and %d pages are left, in a section of %d bytes", out.n, len(pages), length)
	}
	return out.n, nil
}

// copyPage copies one page.
func (c *copier) copyPage(out io.Writer) (h format.PageHeader, err error) {
	c.head.Reset()
	p := new(thrift.CompactProtocol)
	if err := thrift.NewDecoder(p.NewReader(&teeReader{c.in, &c.head})).Decode(&h); err != nil {
		return h, libraryError("page header", err)
	}
	v2 := h.DataPageHeaderV2.V
	if h.CompressedPageSize < 0 || v2.NumValues != v2.NumRows || v2.RepetitionLevelsByteLength != 0 {
		return h, damaged("page header is not that of an index")
	}
	if _, err := out.Write(c.head.Bytes()); err != nil {
		return h, libraryError("page header", err)
	}
	sum, err := copySummed(out, c.in, int(h.CompressedPageSize))
	if err != nil {
		return h, libraryError("page", err)
	}
	if sum != uint32(h.CRC) {
		return h, damaged("checksum of a page does not match")
	}
	return h, nil
}

// copySummed copies n bytes as they lie in the reader's memory, and returns their checksum.
func copySummed(out io.Writer, in *bufio.Reader, n int) (sum uint32, err error) {
	for n > 0 {
		if _, err := in.Peek(1); err != nil { // reads more if nothing is left
			return sum, err
		}
		piece, _ := in.Peek(min(n, in.Buffered())) // all of it is there
		if _, err := out.Write(piece); err != nil {
			return sum, err
		}
		sum = crc32.Update(sum, crc32.IEEETable, piece)
		n -= len(piece)
		in.Discard(len(piece))
	}
	return sum, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += int64(n)
	return n, err
}

// teeReader keeps what is read from it. In contrast to io.TeeReader it is an io.ByteReader, so that the library does
// not read ahead.
type teeReader struct {
	r    *bufio.Reader
	kept *bytes.Buffer
}

func (t *teeReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.kept.Write(p[:n])
	return n, err
}

func (t *teeReader) ReadByte() (byte, error) {
	b, err := t.r.ReadByte()
	if err == nil {
		t.kept.WriteByte(b)
	}
	return b, err
}
