package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// placed is a row group of the file that is written.
type placed struct {
	group *format.RowGroup // as the file says it that it comes from; nil: the next one that the library wrote
	shift int64            // how much later it lies than there
	index indexReader      // of that file
}

// indexReader reads a section of the page index of a file. It is valid until the next call.
type indexReader func(offset int64, length int32) ([]byte, error)

// splice writes the footer of an index: page index, metadata, length, magic. The row groups stand there already. Those that the library wrote lie
// elsewhere than it believes, and others come from an old file. All that has an offset gets the true one.
func (w *writer) splice() (*format.FileMetaData, error) {
	meta := *w.w.File().Metadata()
	own := meta.RowGroups
	meta.RowGroups, meta.NumRows = make([]format.RowGroup, len(w.groups)), 0
	for i, p := range w.groups {
		if p.group == nil {
			if len(own) == 0 {
				return nil, internal("the library has lost a row group")
			}
			p.group, own = &own[0], own[1:]
			p.index = w.out.kept
			w.groups[i] = p
		}
		meta.RowGroups[i] = shifted(p.group, p.shift)
		meta.RowGroups[i].Ordinal = int16(i)
		meta.NumRows += p.group.NumRows
	}
	if len(own) > 0 || len(w.groups) > math.MaxInt16 {
		return nil, internal("%d row groups, of which %d were not ended", len(w.groups), len(own))
	}
	if err := w.spliceIndex(meta.RowGroups); err != nil {
		return nil, err
	}
	return &meta, w.writeFooter(&meta)
}

// shifted is a row group that lies elsewhere.
func shifted(g *format.RowGroup, shift int64) format.RowGroup {
	to := *g
	to.FileOffset += shift // of its first page: Java before 1.12.1 takes it for the beginning
	to.Columns = slices.Clone(g.Columns)
	for i := range to.Columns {
		m := &to.Columns[i].MetaData
		for _, offset := range []*int64{&to.Columns[i].FileOffset, &m.DataPageOffset, &m.DictionaryPageOffset, &m.IndexPageOffset, &m.BloomFilterOffset} {
			if *offset != 0 { // else it has none
				*offset += shift
			}
		}
	}
	return to
}

// spliceIndex writes the page index: for every column of every group its column index, then for every one its offset index.
func (w *writer) spliceIndex(groups []format.RowGroup) error {
	for i, p := range w.groups {
		for j := range p.group.Columns {
			from, to := &p.group.Columns[j], &groups[i].Columns[j]
			b, err := p.index(from.ColumnIndexOffset, from.ColumnIndexLength)
			if err != nil {
				return err
			}
			to.ColumnIndexOffset = w.out.pos
			if err := w.out.put(b); err != nil {
				return err
			}
		}
	}
	for i, p := range w.groups {
		for j := range p.group.Columns {
			from, to := &p.group.Columns[j], &groups[i].Columns[j]
			b, err := p.index(from.OffsetIndexOffset, from.OffsetIndexLength)
			if err == nil {
				b, err = shiftPages(b, p.shift, &p.group.Columns[j].MetaData)
			}
			if err != nil {
				return fmt.Errorf("row group %d: %w", i, err)
			}
			to.OffsetIndexOffset, to.OffsetIndexLength = w.out.pos, int32(len(b))
			if err := w.out.put(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// shiftPages moves the pages of an offset index, which must lie within their column.
func shiftPages(b []byte, shift int64, m *format.ColumnMetaData) ([]byte, error) {
	if shift == 0 {
		return b, nil
	}
	var index format.OffsetIndex
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), b, &index); err != nil {
		return nil, damaged("page index: %w", err)
	}
	from, to := chunkSpan(m)
	for i := range index.PageLocations {
		at := &index.PageLocations[i]
		if at.Offset < from || at.Offset+int64(at.CompressedPageSize) > to {
			return nil, damaged("page index: a page at %d lies outside of its column at %d to %d", at.Offset, from, to)
		}
		at.Offset += shift
	}
	return thrift.Marshal(new(thrift.CompactProtocol), &index)
}

func (w *writer) writeFooter(meta *format.FileMetaData) error {
	b, err := thrift.Marshal(new(thrift.CompactProtocol), meta)
	if err != nil {
		return internal("encode the footer: %v", err)
	}
	if len(b) > math.MaxInt32 {
		return errors.New("the footer of the index would have more than 2 GiB")
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)))
	return w.out.put(append(b, magic...))
}

// pageIndex is a reader of the page index, section by section. The sections of one index stand one after the other, so they are read together.
func (f *File) pageIndex() indexReader {
	var read []byte
	var from int64
	return func(offset int64, length int32) ([]byte, error) {
		if offset < int64(len(magic)) || length <= 0 || offset > f.size-int64(length) {
			return nil, damaged("page index at %d with %d bytes in a file of %d", offset, length, f.size)
		}
		if at := offset - from; at < 0 || at+int64(length) > int64(len(read)) {
			read, from = make([]byte, min(max(int64(length), 256<<10), f.size-offset)), offset
			if err := readFull(f.source, read, from); err != nil {
				read = nil
				return nil, err
			}
		}
		section := read[offset-from:][:length:length]
		return section, checkThrift(section)
	}
}
