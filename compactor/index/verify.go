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
// The library has been seen to lose rows without an error when its two ways to write are mixed
// (version 0.32.0). We use one of them only, and this is the proof.
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
	end := int64(4) // behind the magic
	for _, s := range spans {
		if s.from < end || s.to < s.from || s.to > size-8 {
			return damaged("a column lies at %d to %d, behind another that ends at %d, in a file of %d bytes", s.from, s.to, end, size)
		}
		end = s.to
	}
	return nil
}

// checkCodec makes sure that all is compressed as every version did it. The library's LZ4 does not
// survive what is no LZ4: it doubles its buffer until there is no memory left, which nothing can catch.
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
	width := len(meta.Schema) - 1 // all but the root
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
