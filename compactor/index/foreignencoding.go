package index

import (
	"encoding/binary"
	"math"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// The encodings of a page's values. Each is decoded value by value: a run of two billion takes no memory, and a caller who
// asks for more values than there are gets an error and never what a buffer held before.

// valueReader returns the values of a page, which are those that are not NULL.
type valueReader interface {
	next() (parquet.Value, error)
}

var errShort = damaged("a page has fewer values than it states")

// plainValues are values one after the other.
type plainValues struct {
	kind   format.Type
	length int
	b      []byte
	bit    int // of booleans
}

func (p *plainValues) next() (parquet.Value, error) {
	if p.kind == format.Boolean {
		if p.bit/8 >= len(p.b) {
			return parquet.Value{}, errShort
		}
		v := parquet.BooleanValue(p.b[p.bit/8]>>(p.bit%8)&1 == 1)
		p.bit++
		return v, nil
	}
	n := p.length
	if p.kind == format.ByteArray {
		if len(p.b) < 4 {
			return parquet.Value{}, errShort
		}
		size := binary.LittleEndian.Uint32(p.b)
		if p.b = p.b[4:]; int64(size) > int64(len(p.b)) {
			return parquet.Value{}, errShort
		}
		n = int(size)
	}
	if n > len(p.b) {
		return parquet.Value{}, errShort
	}
	v := valueOf(p.kind, p.b[:n:n])
	p.b = p.b[n:]
	return v, nil
}

// valueOf makes a value of its bytes as they stand in a file.
func valueOf(kind format.Type, b []byte) parquet.Value {
	le := binary.LittleEndian
	switch kind {
	case format.Int32:
		return parquet.Int32Value(int32(le.Uint32(b)))
	case format.Int64:
		return parquet.Int64Value(int64(le.Uint64(b)))
	case format.Int96:
		return parquet.Int96Value(deprecated.Int96{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])})
	case format.Float:
		return parquet.FloatValue(math.Float32frombits(le.Uint32(b)))
	case format.Double:
		return parquet.DoubleValue(math.Float64frombits(le.Uint64(b)))
	case format.FixedLenByteArray:
		return parquet.FixedLenByteArrayValue(b)
	}
	return parquet.ByteArrayValue(b)
}

// dictionary is the values that the pages of a column chunk name by their number.
type dictionary struct{ values []parquet.Value }

func newDictionary(leaf *foreign, b []byte, n int) (*dictionary, error) {
	if leaf.physical == format.Boolean && n > 2 {
		return nil, damaged("a dictionary of %d booleans", n)
	}
	d := new(dictionary)
	p := plainValues{kind: leaf.physical, length: leaf.length, b: b}
	for range n {
		v, err := p.next()
		if err != nil {
			return nil, err
		}
		d.values = append(d.values, v)
	}
	return d, nil
}

// dictValues are numbers of values: the width of one, then runs.
type dictValues struct {
	dict *dictionary
	b    []byte
	of   *hybrid
}

func (d *dictValues) next() (parquet.Value, error) {
	if d.of == nil { // a page of NULLs only may not even have the width
		if len(d.b) == 0 {
			return parquet.Value{}, errShort
		}
		if d.b[0] > 32 {
			return parquet.Value{}, damaged("numbers of %d bits into a dictionary", d.b[0])
		}
		d.of = newHybrid(d.b[1:], int(d.b[0]))
	}
	i, err := d.of.next()
	if err != nil {
		return parquet.Value{}, err
	}
	if uint64(i) >= uint64(len(d.dict.values)) {
		return parquet.Value{}, damaged("value %d of a dictionary of %d", i, len(d.dict.values))
	}
	return d.dict.values[i], nil
}

// boolRuns are booleans as runs, behind their length in bytes.
type boolRuns struct{ of *hybrid }

func newBoolRuns(b []byte) (valueReader, error) {
	if len(b) == 0 {
		return &boolRuns{newHybrid(nil, 1)}, nil
	}
	if len(b) < 4 || int64(binary.LittleEndian.Uint32(b)) > int64(len(b)-4) {
		return nil, errShort
	}
	return &boolRuns{newHybrid(b[4:4+binary.LittleEndian.Uint32(b)], 1)}, nil
}

func (r *boolRuns) next() (parquet.Value, error) {
	v, err := r.of.next()
	if err == nil && v > 1 {
		err = damaged("a boolean that is %d", v)
	}
	return parquet.BooleanValue(v == 1), err
}

// splitValues have the first bytes of all values, then the second bytes, and so on.
type splitValues struct {
	kind   format.Type
	length int
	b      []byte
	i      int
}

func (s *splitValues) next() (parquet.Value, error) {
	n := len(s.b) / s.length
	if s.i >= n {
		return parquet.Value{}, errShort
	}
	v := make([]byte, s.length)
	for k := range v {
		v[k] = s.b[k*n+s.i]
	}
	s.i++
	return valueOf(s.kind, v), nil
}

// levels are definition or repetition levels.
type levels struct {
	highest int
	of      interface{ next() (uint32, error) }
}

func (l *levels) next() (int, error) {
	if l.highest == 0 {
		return 0, nil
	}
	v, err := l.of.next()
	if err == nil && v > uint32(l.highest) {
		err = damaged("level %d where %d is the highest", v, l.highest)
	}
	return int(v), err
}

// bigBits are numbers of some bits each, the highest bit first: the old encoding of levels.
type bigBits struct {
	b     []byte
	width int
	bit   int
}

func (r *bigBits) next() (v uint32, err error) {
	for range r.width {
		if r.bit/8 >= len(r.b) {
			return 0, errShort
		}
		v = v<<1 | uint32(r.b[r.bit/8]>>(7-r.bit%8)&1)
		r.bit++
	}
	return v, nil
}

// hybrid are numbers of some bits each, in runs: of one number that repeats, or of numbers one after the other.
type hybrid struct {
	b     []byte
	width int
	run   uint64 // how many numbers of the run are left
	same  bool
	value uint32 // of a run of the same
	bit   int    // within b, of a run of others
}

func newHybrid(b []byte, width int) *hybrid { return &hybrid{b: b, width: width} }

func (h *hybrid) next() (uint32, error) {
	if h.width == 0 {
		return 0, nil
	}
	for h.run == 0 {
		if err := h.head(); err != nil {
			return 0, err
		}
	}
	h.run--
	if h.same {
		return h.value, nil
	}
	v, ok := littleBits(h.b, h.bit, h.width)
	if !ok {
		return 0, errShort
	}
	h.bit += h.width
	return uint32(v), nil
}

// head reads the head of a run.
func (h *hybrid) head() error {
	if !h.same && h.bit > 0 {
		h.b, h.bit = h.b[min(h.bit/8, len(h.b)):], 0 // runs of others have whole bytes
	}
	head, n := binary.Uvarint(h.b)
	if n <= 0 {
		return errShort
	}
	h.b = h.b[n:]
	h.same = head&1 == 0
	if !h.same {
		h.run = head >> 1 * 8
		return nil
	}
	h.run = head >> 1
	size := (h.width + 7) / 8
	if len(h.b) < size {
		return errShort
	}
	v, _ := littleBits(h.b, 0, 8*size)
	h.value, h.b = uint32(v), h.b[size:]
	return nil
}

// littleBits reads width bits from a bit on, the lowest first. Up to 64 are possible.
func littleBits(b []byte, bit, width int) (v uint64, ok bool) {
	if bit+width > 8*len(b) {
		return 0, false
	}
	for got := 0; got < width; {
		from := bit % 8
		take := min(8-from, width-got)
		v |= uint64(b[bit/8]>>from) & (1<<take - 1) << got
		got, bit = got+take, bit+take
	}
	return v, true
}
