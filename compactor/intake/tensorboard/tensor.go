package tensorboard

import (
	"encoding/binary"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// The types of tensors that are read, of types.proto. TensorFlow's format, do not change.
const (
	typeFloat    = 1
	typeDouble   = 2
	typeInt32    = 3
	typeUint8    = 4
	typeInt16    = 5
	typeInt8     = 6
	typeInt64    = 9
	typeBool     = 10
	typeBfloat16 = 14
	typeUint16   = 17
	typeHalf     = 19
	typeUint32   = 22
	typeUint64   = 23
)

// The fields of a TensorProto.
const (
	tensorType    = 1
	tensorShape   = 2
	tensorContent = 4
	tensorFloats  = 5
	tensorDoubles = 6
	tensorInts    = 7
	tensorInt64s  = 10
	tensorBools   = 11
	tensorHalfs   = 13
	tensorUint32s = 16
	tensorUint64s = 17
)

// scalarOf is the number that a tensor holds, as a token; empty if it is NaN or infinite. ok is false if it holds no number, or several.
func scalarOf(message []byte) (token string, ok bool) {
	kind, values, count := uint64(0), map[protowire.Number]field{}, 1
	err := each(message, func(f field) error {
		switch f.number {
		case tensorType:
			kind = f.n
		case tensorShape:
			return each(f.data, func(dim field) error {
				return each(dim.data, func(size field) error {
					if size.number == 1 {
						count *= int(min(size.n, 2))
					}
					return nil
				})
			})
		default:
			values[f.number] = f
		}
		return nil
	})
	if err != nil || count != 1 {
		return "", false
	}
	if content := values[tensorContent].data; len(content) > 0 {
		return fromContent(kind, content)
	}
	return fromValue(kind, values)
}

// fromContent reads the bytes of a tensor, lowest first.
func fromContent(kind uint64, b []byte) (token string, ok bool) {
	var bits uint64
	size := map[uint64]int{
		typeFloat: 4, typeDouble: 8, typeInt32: 4, typeUint8: 1, typeInt16: 2, typeInt8: 1, typeInt64: 8, typeBool: 1, typeBfloat16: 2, typeUint16: 2,
		typeHalf: 2, typeUint32: 4, typeUint64: 8,
	}[kind]
	if size == 0 || len(b) != size {
		return "", false
	}
	var whole [8]byte
	copy(whole[:], b)
	bits = binary.LittleEndian.Uint64(whole[:])
	switch kind {
	case typeInt32:
		bits = uint64(int64(int32(bits)))
	case typeInt16:
		bits = uint64(int64(int16(bits)))
	case typeInt8:
		bits = uint64(int64(int8(bits)))
	}
	return fromBits(kind, bits), true
}

// fromValue reads the list of values, which is empty where the value is 0.
func fromValue(kind uint64, values map[protowire.Number]field) (token string, ok bool) {
	list := map[uint64]protowire.Number{
		typeFloat: tensorFloats, typeDouble: tensorDoubles, typeInt32: tensorInts, typeUint8: tensorInts, typeInt16: tensorInts, typeInt8: tensorInts,
		typeUint16: tensorInts, typeInt64: tensorInt64s, typeBool: tensorBools, typeHalf: tensorHalfs, typeBfloat16: tensorHalfs,
		typeUint32: tensorUint32s, typeUint64: tensorUint64s,
	}[kind]
	if list == 0 {
		return "", false
	}
	f := values[list]
	bits := f.n
	if len(f.data) > 0 { // packed
		var size int
		switch kind {
		case typeFloat:
			var b uint32
			b, size = protowire.ConsumeFixed32(f.data)
			bits = uint64(b)
		case typeDouble:
			bits, size = protowire.ConsumeFixed64(f.data)
		default:
			bits, size = protowire.ConsumeVarint(f.data)
		}
		if size != len(f.data) {
			return "", false
		}
	}
	return fromBits(kind, bits), true
}

func fromBits(kind, bits uint64) string {
	switch kind {
	case typeFloat:
		return tracker.Number(float64(math.Float32frombits(uint32(bits))))
	case typeDouble:
		return tracker.Number(math.Float64frombits(bits))
	case typeHalf:
		return tracker.Number(half(uint16(bits)))
	case typeBfloat16:
		return tracker.Number(float64(math.Float32frombits(uint32(bits) << 16)))
	case typeUint32, typeUint64:
		return strconv.FormatUint(bits, 10)
	}
	return strconv.FormatInt(int64(bits), 10)
}

// half is a number of IEEE 754 with 16 bits.
func half(b uint16) float64 {
	sign, exponent, fraction := 1.0, int(b>>10&0x1f), float64(b&0x3ff)/1024
	if b>>15 != 0 {
		sign = -1
	}
	switch {
	case exponent == 31 && fraction != 0:
		return math.NaN()
	case exponent == 31:
		return sign * math.Inf(1)
	case exponent == 0:
		return sign * math.Ldexp(fraction, -14)
	}
	return sign * math.Ldexp(1+fraction, exponent-15)
}
