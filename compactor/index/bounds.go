package index

import "github.com/parquet-go/parquet-go"

// extraType is the string type of _extra, with bounds that do not depend on the values.
//
// The library writes the smallest and the largest string of a row group whole into the footer, and an
// _extra can be as long as a record. Footers would have megabytes, and every reader loads them first. To leave
// out the bounds would be worse: the library then writes empty bounds, and a reader that uses
// them skips pages that hold what it looks for. Every _extra starts with '{', so the bounds here are true.
type extraType struct{ parquet.Type }

var (
	extraMin = parquet.ByteArrayValue([]byte{'{'})
	extraMax = parquet.ByteArrayValue([]byte{'{' + 1})
)

func (t extraType) NewColumnBuffer(columnIndex, numValues int) parquet.ColumnBuffer {
	return extraBuffer{t.Type.NewColumnBuffer(columnIndex, numValues)}
}

type extraBuffer struct{ parquet.ColumnBuffer }

func (b extraBuffer) Page() parquet.Page { return extraPage{b.ColumnBuffer.Page()} }

type extraPage struct{ parquet.Page }

// Bounds is asked of pages with at least one value by all that writes; the others have none.
func (p extraPage) Bounds() (smallest, largest parquet.Value, ok bool) {
	if p.NumValues() == 0 {
		return parquet.Value{}, parquet.Value{}, false
	}
	return extraMin, extraMax, true
}
