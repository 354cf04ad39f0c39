package index

import (
	"bytes"
	"encoding/binary"

	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// highByteFirst tells whether this machine has the highest byte of a number first, as s390x. The library keeps the words of a bloom
// filter in the order of the machine, and writes and reads them so. Parquet has the lowest byte first. A filter in the wrong order
// hides rows that a fold must replace.
var highByteFirst = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// swapWords turns the words of a filter around, in place.
func swapWords(bits []byte) {
	for ; len(bits) >= 4; bits = bits[4:] {
		binary.LittleEndian.PutUint32(bits, binary.BigEndian.Uint32(bits))
	}
}

// filterFinder finds the bloom filters in what the library writes: it writes the header first, and then the filter at once.
type filterFinder struct {
	tail []byte // the end of what was written
}

// isFilter tells whether p, the next write, is a filter.
func (f *filterFinder) isFilter(p []byte) bool {
	is := len(p) > 0 && len(p)%bloom.BlockSize == 0 && bytes.HasSuffix(f.tail, filterHeader(len(p)))
	f.tail = append(f.tail, p[max(0, len(p)-maxFilterHeader):]...)
	f.tail = f.tail[max(0, len(f.tail)-maxFilterHeader):]
	return is
}

// maxFilterHeader is more than a header takes.
const maxFilterHeader = 64

// filterHeader is the header that the library writes before a filter of n bytes.
func filterHeader(n int) []byte {
	var h format.BloomFilterHeader
	h.NumBytes = int32(n)
	h.Algorithm.Value = &format.SplitBlockAlgorithm{}
	h.Hash.Value = &format.XxHash{}
	h.Compression.Value = &format.BloomFilterUncompressed{}
	header, err := thrift.Marshal(new(thrift.CompactProtocol), &h)
	if err != nil {
		panic(internal("header of a bloom filter: %v", err))
	}
	return header
}
