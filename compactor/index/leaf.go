package index

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/runfold/runfold/internal/jsonscan"
)

// leafWriter returns how a value of this type stands in JSON. The value is not null.
func leafWriter(t parquet.Type, e format.SchemaElement) func([]byte, parquet.Value) []byte {
	logical := e.LogicalType.Value
	if logical == nil && t.LogicalType() != nil {
		logical = t.LogicalType().Value // what the old converted type says
	}
	switch l := logical.(type) {
	case *format.TimestampType:
		unit := nanos(l.Unit)
		return func(b []byte, v parquet.Value) []byte { return appendTime(b, v.Int64(), unit, time.RFC3339Nano) }
	case *format.TimeType:
		unit := nanos(l.Unit)
		return func(b []byte, v parquet.Value) []byte { return appendTime(b, integer(v), unit, "15:04:05.999999999") }
	case *format.DateType:
		return func(b []byte, v parquet.Value) []byte {
			return quoteTime(b, time.Unix(int64(v.Int32())*86400, 0), time.DateOnly)
		}
	case *format.DecimalType:
		return func(b []byte, v parquet.Value) []byte { return appendDecimal(b, v, int(l.Scale)) }
	case *format.IntType:
		if !l.IsSigned {
			return appendUnsigned
		}
	case *format.JsonType:
		return appendJSON
	case *format.UUIDType:
		return appendUUID
	case *format.Float16Type:
		return appendHalf
	}
	return appendPlain
}

// appendPlain writes a value by its physical type.
func appendPlain(b []byte, v parquet.Value) []byte {
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.AppendBool(b, v.Boolean())
	case parquet.Int32, parquet.Int64:
		return strconv.AppendInt(b, integer(v), 10)
	case parquet.Int96:
		return appendInt96(b, v.Int96())
	case parquet.Float:
		return appendDouble(b, float64(v.Float()), 32)
	case parquet.Double:
		return appendDouble(b, v.Double(), 64)
	}
	if text := v.ByteArray(); utf8.Valid(text) {
		return append(b, jsonscan.Quote(string(text))...)
	}
	return append(b, jsonscan.Quote(base64.StdEncoding.EncodeToString(v.ByteArray()))...)
}

func integer(v parquet.Value) int64 {
	if v.Kind() == parquet.Int32 {
		return int64(v.Int32())
	}
	return v.Int64()
}

func appendUnsigned(b []byte, v parquet.Value) []byte {
	if v.Kind() == parquet.Int32 {
		return strconv.AppendUint(b, uint64(v.Uint32()), 10)
	}
	return strconv.AppendUint(b, v.Uint64(), 10)
}

// nanos is the length of a unit.
func nanos(u format.TimeUnit) int64 {
	switch u.Value.(type) {
	case *format.MilliSeconds:
		return 1e6
	case *format.MicroSeconds:
		return 1e3
	}
	return 1
}

// appendTime writes n units since 1970. It divides before it multiplies, as a year in milliseconds
// may be one that no count of nanoseconds reaches.
func appendTime(b []byte, n, unit int64, layout string) []byte {
	perSecond := int64(time.Second) / unit
	return quoteTime(b, time.Unix(n/perSecond, n%perSecond*unit), layout)
}

func quoteTime(b []byte, t time.Time, layout string) []byte {
	return append(b, jsonscan.Quote(t.UTC().Format(layout))...)
}

// appendInt96 writes the timestamp of Impala and old Spark: nanoseconds of the day, then the Julian
// day, of which 1970-01-01 is 2440588.
func appendInt96(b []byte, v deprecated.Int96) []byte {
	day := int64(v[2]) - 2440588
	return quoteTime(b, time.Unix(day*86400, int64(v[1])<<32|int64(v[0])), time.RFC3339Nano)
}

// maxScale bounds the zeros that a scale can ask for.
const maxScale = 1000

// appendDecimal writes the digits of an unscaled number with the point in its place.
func appendDecimal(b []byte, v parquet.Value, scale int) []byte {
	n := new(big.Int)
	switch v.Kind() {
	case parquet.Int32, parquet.Int64:
		n.SetInt64(integer(v))
	default:
		text := v.ByteArray() // big endian, two's complement
		n.SetBytes(text)
		if len(text) > 0 && text[0]&0x80 != 0 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(text))))
		}
	}
	if scale <= 0 || scale > maxScale {
		return n.Append(b, 10)
	}
	if n.Sign() < 0 {
		b = append(b, '-')
	}
	digits := n.Abs(n).String()
	if missing := scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) - scale
	return append(append(append(b, digits[:point]...), '.'), digits[point:]...)
}

func appendJSON(b []byte, v parquet.Value) []byte {
	if text := v.ByteArray(); json.Valid(text) {
		return append(b, text...)
	}
	return appendPlain(b, v)
}

func appendUUID(b []byte, v parquet.Value) []byte {
	u := v.ByteArray()
	if len(u) != 16 {
		return appendPlain(b, v)
	}
	return fmt.Appendf(b, `"%x-%x-%x-%x-%x"`, u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// appendHalf writes a float of 16 bits: 1 sign, 5 exponent, 10 fraction.
func appendHalf(b []byte, v parquet.Value) []byte {
	raw := v.ByteArray()
	if len(raw) != 2 {
		return appendPlain(b, v)
	}
	bits := binary.LittleEndian.Uint16(raw)
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	f := math.Ldexp(1024+fraction, exponent-25)
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 31:
		f = math.NaN() // or infinite, which is no number either
	}
	if bits>>15 == 1 {
		f = -f
	}
	return appendDouble(b, f, 32)
}
