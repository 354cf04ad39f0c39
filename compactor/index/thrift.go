package index

import "encoding/binary"

// The types of thrift's compact protocol that the footer is made of. Maps (11) do not occur in it.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftStruct = 12
)

// maxThriftDepth is much more than a footer needs.
const maxThriftDepth = 64

// checkThrift walks over a struct in thrift's compact protocol. It makes sure that no length in it
// is larger than the number of bytes that follow. The parquet library allocates a list by its length before it reads the list,
// so one flipped bit could ask for more memory than the machine has. A program cannot recover from that.
func checkThrift(b []byte) error {
	w := thriftWalk{b}
	if !w.value(thriftStruct, 0) {
		return damaged("footer is not what a parquet file has, %d bytes before its end", len(w.b))
	}
	return nil
}

type thriftWalk struct{ b []byte }

// value skips one value and reports whether it lies within the bytes.
func (w *thriftWalk) value(kind byte, depth int) bool {
	if depth > maxThriftDepth {
		return false
	}
	switch kind {
	case thriftTrue, thriftFalse:
		return true // as a field: the value is in the type
	case thriftByte:
		return w.skip(1)
	case thriftI16, thriftI32, thriftI64:
		_, ok := w.uvarint()
		return ok
	case thriftDouble:
		return w.skip(8)
	case thriftBinary:
		n, ok := w.uvarint()
		return ok && w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftStruct:
		return w.fields(depth)
	}
	return false
}

func (w *thriftWalk) fields(depth int) bool {
	for len(w.b) > 0 {
		head := w.b[0]
		w.b = w.b[1:]
		if head == 0 {
			return true
		}
		if head>>4 == 0 { // the field's id is not a step from the one before
			if _, ok := w.uvarint(); !ok {
				return false
			}
		}
		if !w.value(head&0xf, depth+1) {
			return false
		}
	}
	return false
}

func (w *thriftWalk) list(depth int) bool {
	if len(w.b) == 0 {
		return false
	}
	head := w.b[0]
	w.b = w.b[1:]
	n, kind, ok := uint64(head>>4), head&0xf, true
	if n == 15 {
		n, ok = w.uvarint()
	}
	if !ok || n > uint64(len(w.b)) { // every element takes a byte or more
		return false
	}
	for range n {
		if kind == thriftTrue || kind == thriftFalse {
			ok = w.skip(1) // as an element: one byte each
		} else {
			ok = w.value(kind, depth+1)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (w *thriftWalk) uvarint() (uint64, bool) {
	v, n := binary.Uvarint(w.b)
	if n <= 0 {
		return 0, false
	}
	w.b = w.b[n:]
	return v, true
}

func (w *thriftWalk) skip(n uint64) bool {
	if n > uint64(len(w.b)) {
		return false
	}
	w.b = w.b[n:]
	return true
}
