package index

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/runfold/runfold/cohort"
)

func newer(v int) error { return fmt.Errorf("index version %d: %w", v, cohort.ErrNewer) }

// Verify checks the structure of an index that was just written, before anything names it: it has so
// many rows, every column of every row group has as many values as the group has rows, and the
// column chunks lie inside the file and do not overlap.
//
// Version 0.32.0 of the library has lost rows without an error when its two ways to write were mixed.
// We use only one of them, and Verify makes sure that no row is lost.
func Verify(r io.ReaderAt, size int64, rows int64) error {
	f, err := Open(r, size)
	if err != nil {
		return err
	}
	if f.NumRows() != rows {
		return damaged("index has %d rows and not %d", f.NumRows(), rows)
	}
	return nil
}

// checkGroups is what Verify and every Open check.
func checkGroups(f *parquet.File, size int64) error {
	meta := f.Metadata()
	if err := checkCounts(meta); err != nil {
		return err
	}
	type span struct{ from, to int64 }
	var spans []span
	for _, g := range meta.RowGroups {
		for _, c := range g.Columns {
			from, to := chunkSpan(&c.MetaData)
			if data := c.MetaData.DataPageOffset; data < from || data > to {
				return damaged("pages at %d lie outside of their column at %d to %d", data, from, to)
			}
			spans = append(spans, span{from, to})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	end := int64(4) // after the magic
	for _, s := range spans {
		if s.from < end || s.to < s.from || s.to > size-8 {
			return damaged("a column lies at %d to %d, behind another that ends at %d, in a file of %d bytes", s.from, s.to, end, size)
		}
		end = s.to
	}
	return nil
}

// checkCodec makes sure that all pages have the codec that every version used. The library's LZ4 reader fails badly on
// bytes that are not LZ4: it doubles its buffer until no memory is left. A program cannot recover from that.
func checkCodec(meta *format.FileMetaData) error {
	for i, g := range meta.RowGroups {
		for _, c := range g.Columns {
			if c.MetaData.Codec != format.Zstd {
				return damaged("row group %d is compressed with %v", i, c.MetaData.Codec)
			}
		}
	}
	return nil
}

// checkCounts compares the number of rows in the three places that state it.
func checkCounts(meta *format.FileMetaData) error {
	sum := int64(0)
	width := len(meta.Schema) - 1 // without the root
	for i, g := range meta.RowGroups {
		if g.NumRows < 0 || len(g.Columns) != width {
			return damaged("row group %d has %d rows and %d columns instead of %d", i, g.NumRows, len(g.Columns), width)
		}
		for _, c := range g.Columns {
			if c.MetaData.NumValues != g.NumRows {
				return damaged("row group %d has %d rows, but column %q has %d values", i, g.NumRows, c.MetaData.PathInSchema, c.MetaData.NumValues)
			}
		}
		sum += g.NumRows
	}
	if sum != meta.NumRows {
		return damaged("row groups have %d rows and the file %d", sum, meta.NumRows)
	}
	return nil
}

// chunkSpan is where the pages of a column chunk lie.
func chunkSpan(m *format.ColumnMetaData) (from, to int64) {
	from = m.DataPageOffset
	if m.DictionaryPageOffset != 0 {
		from = m.DictionaryPageOffset
	}
	return from, from + m.TotalCompressedSize
}
