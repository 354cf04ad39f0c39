package index

import (
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/runfold/runfold/internal/build"
)

// groupSize bounds a row group, by rows and by bytes. The bytes are those that its rows take in memory
// before they are encoded, so they bound our memory, too.
type groupSize struct{ rows, bytes int64 }

// fullGroup is the size for every index outside of tests.
var fullGroup = groupSize{rows: 50_000, bytes: 32 << 20}

const (
	// bloomBits is the size of the filters per value: one false positive in about 800.
	bloomBits = 16

	// pageBytes is the size at which a page is encoded, small enough for 500 columns at once.
	pageBytes = 256 << 10
)

// options are the parameters of every index that we write, for ever: a file has row groups that earlier programs wrote, and what its
// footer says must be true of all. Only the level of the compression may change.
//
// There are no sorting columns, because nothing would check them in row groups that are taken over.
func options(l *layout) []parquet.WriterOption {
	return []parquet.WriterOption{
		l.schema(),
		parquet.CreatedBy("runfold", build.Version(), "parquet-go"),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		parquet.DataPageVersion(2),
		parquet.PageBufferSize(pageBytes),
		parquet.WriteBufferSize(0), // the destination buffers
		parquet.ColumnIndexSizeLimit(func([]string) int { return 64 }),
		parquet.BloomFilters(
			parquet.SplitBlockFilter(bloomBits, columnKey),
			parquet.SplitBlockFilter(bloomBits, columnRunID),
		),
	}
}
