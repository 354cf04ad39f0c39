package index

import (
	"encoding/binary"
	"math"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// deltaInts are integers as differences. A block has the smallest difference, the widths of its miniblocks, and for
// each value what its difference is above the smallest, packed in that width.
type deltaInts struct {
	b       []byte
	started bool

	perBlock, perMini, minis uint64
	left                     uint64 // values that were not read
	value                    uint64 // the next one, in two's complement
	smallest                 uint64
	widths                   []byte // of the miniblocks of this block that were not begun
	inMini                   uint64 // how many differences of the miniblock were not read
	width, bit               int
}

// maxDeltaBlock is far above what is written: 128 values.
const maxDeltaBlock = 1 << 20

func (d *deltaInts) start() error {
	d.started = true
	d.perBlock, d.minis, d.left = d.uvarint(), d.uvarint(), d.uvarint()
	d.value = d.zigzag()
	if d.b == nil || d.perBlock == 0 || d.perBlock > maxDeltaBlock || d.minis == 0 || d.perBlock%d.minis != 0 || d.perBlock/d.minis%8 != 0 {
		return damaged("blocks of differences with %d values in %d parts", d.perBlock, d.minis)
	}
	d.perMini = d.perBlock / d.minis
	return nil
}

// next returns the next integer.
func (d *deltaInts) next() (uint64, error) {
	if !d.started {
		if err := d.start(); err != nil {
			return 0, err
		}
	}
	if d.left == 0 {
		return 0, errShort
	}
	v := d.value
	if d.left--; d.left == 0 {
		return v, nil
	}
	if d.inMini == 0 {
		if err := d.miniblock(); err != nil {
			return 0, err
		}
	}
	above, ok := littleBits(d.b, d.bit, d.width)
	if !ok {
		return 0, errShort
	}
	d.bit += d.width
	d.inMini--
	d.value += d.smallest + above
	return v, nil
}

// miniblock goes on to the next miniblock, if need be of the next block.
func (d *deltaInts) miniblock() error {
	d.endMini()
	if len(d.widths) == 0 {
		d.smallest = d.zigzag()
		if uint64(len(d.b)) < d.minis {
			return errShort
		}
		d.widths, d.b = d.b[:d.minis], d.b[d.minis:]
	}
	d.width, d.widths = int(d.widths[0]), d.widths[1:]
	if d.width > 64 {
		return damaged("differences of %d bits", d.width)
	}
	d.inMini = d.perMini
	return nil
}

// endMini goes on behind the miniblock, which is padded to its full size.
func (d *deltaInts) endMini() {
	size := d.bit + int(d.inMini)*d.width
	d.b, d.bit, d.inMini, d.width = d.b[min(size/8, len(d.b)):], 0, 0, 0
}

func (d *deltaInts) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b = nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *deltaInts) zigzag() uint64 {
	v := d.uvarint()
	return v>>1 ^ -(v & 1)
}

// rest reads over all integers and returns what follows them.
func (d *deltaInts) rest() ([]byte, error) {
	if err := d.start(); err != nil {
		return nil, err
	}
	for d.left > 0 {
		if _, err := d.next(); err != nil {
			return nil, err
		}
	}
	d.endMini()
	return d.b, nil
}

// deltaValues are the values of a page of integers.
type deltaValues struct {
	kind format.Type
	of   deltaInts
}

func (d *deltaValues) next() (parquet.Value, error) {
	v, err := d.of.next()
	if d.kind == format.Int32 {
		return parquet.Int32Value(int32(v)), err // of 32 bits too, sums wrap around
	}
	return parquet.Int64Value(int64(v)), err
}

// deltaBytes are texts: their lengths, then their bytes. If they have prefixes, how much each has in common with the
// one before stands before that.
type deltaBytes struct {
	leaf              *foreign
	prefixes, lengths deltaInts
	hasPrefixes       bool
	b, last           []byte
}

func newDeltaBytes(leaf *foreign, b []byte, prefixes bool) (valueReader, error) {
	d := &deltaBytes{leaf: leaf, hasPrefixes: prefixes, lengths: deltaInts{b: b}}
	if len(b) == 0 {
		return d, nil // of NULLs only
	}
	var err error
	if prefixes {
		d.prefixes = deltaInts{b: b}
		walk := d.prefixes
		if b, err = walk.rest(); err != nil {
			return nil, err
		}
		d.lengths = deltaInts{b: b}
	}
	walk := d.lengths
	d.b, err = walk.rest()
	return d, err
}

func (d *deltaBytes) next() (parquet.Value, error) {
	prefix := uint64(0)
	var err error
	if d.hasPrefixes {
		if prefix, err = d.prefixes.next(); err != nil {
			return parquet.Value{}, err
		}
	}
	n, err := d.lengths.next()
	if err != nil {
		return parquet.Value{}, err
	}
	if prefix > uint64(len(d.last)) || n > uint64(len(d.b)) || n > math.MaxInt32 {
		return parquet.Value{}, damaged("a text of %d bytes, the first %d as in that before", n, prefix)
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	if d.hasPrefixes {
		v = append(d.last[:prefix:prefix], v...)
		d.last = v
	}
	if d.leaf.physical == format.FixedLenByteArray && len(v) != d.leaf.length {
		return parquet.Value{}, damaged("a value of %d bytes where all have %d", len(v), d.leaf.length)
	}
	return valueOf(d.leaf.physical, v), nil
}
