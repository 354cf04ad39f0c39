package index

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/runfold/runfold/internal/jsonscan"
)

// The converted types of leaves, which came before logical types.
const (
	convertedUTF8 = iota
	_             // map
	_             // its pairs
	_             // list
	convertedEnum
	convertedDecimal
	convertedDate
	convertedTimeMillis
	convertedTimeMicros
	convertedTimestampMillis
	convertedTimestampMicros
	convertedUint8
	convertedUint16
	convertedUint32
	convertedUint64
	convertedInt8
	convertedInt16
	convertedInt32
	convertedInt64
	convertedJSON
	convertedBSON
	convertedInterval
)

// leafWriter returns how a value of this column stands in JSON. The value is not null. A type that is not known, or
// that does not go with the bytes of the column, is ErrUnsupported: what is written by the bytes alone might mean
// another value.
func leafWriter(n *foreign, e schemaElement) (func([]byte, parquet.Value) []byte, error) {
	write, fits := appendPlain, true
	is := func(kinds ...format.Type) bool { return slices.Contains(kinds, n.physical) }
	if e.LogicalType.Valid {
		write, fits = logicalWriter(n, e.LogicalType.V, is)
	} else if e.ConvertedType.Valid {
		write, fits = convertedWriter(n, e, is)
	}
	if fits {
		return write, nil
	}
	if e.LogicalType.Valid && e.LogicalType.V == (logicalType{}) || !e.LogicalType.Valid && write == nil {
		return nil, unsupported("column %q is of a logical type of a later version of the format", n.path)
	}
	return nil, unsupported("column %q is of a logical type that values of %v cannot have", n.path, n.physical)
}

type leafWrite = func([]byte, parquet.Value) []byte

// logicalWriter reads the logical type of a column. One of a later version has no valid member.
func logicalWriter(n *foreign, l logicalType, is func(...format.Type) bool) (write leafWrite, fits bool) {
	switch {
	case l.String.Valid, l.Enum.Valid:
		return appendPlain, is(format.ByteArray, format.FixedLenByteArray)
	case l.Decimal.Valid:
		return decimalWriter(l.Decimal.V, is)
	case l.Date.Valid:
		return appendDate, is(format.Int32)
	case l.Time.Valid:
		unit := l.Time.V.Unit.nanos()
		return clockWriter(unit), unit == 1e6 && is(format.Int32) || unit > 0 && is(format.Int64)
	case l.Timestamp.Valid:
		unit := l.Timestamp.V.Unit.nanos()
		layout := local
		if l.Timestamp.V.UTC {
			layout = zoned
		}
		return timestampWriter(unit, layout), unit > 0 && is(format.Int64)
	case l.Int.Valid:
		return intWriter(l.Int.V.Signed), is(format.Int32, format.Int64)
	case l.JSON.Valid:
		return appendJSON, is(format.ByteArray)
	case l.BSON.Valid, l.Geometry.Valid, l.Geography.Valid:
		return appendBytes, is(format.ByteArray)
	case l.UUID.Valid:
		return appendUUID, is(format.FixedLenByteArray) && n.length == 16
	case l.Float16.Valid:
		return appendHalf, is(format.FixedLenByteArray) && n.length == 2
	}
	return appendPlain, l.Null.Valid // of NULLs only
}

// convertedWriter reads what older writers say instead of a logical type.
func convertedWriter(n *foreign, e schemaElement, is func(...format.Type) bool) (write leafWrite, fits bool) {
	switch e.ConvertedType.V {
	case convertedUTF8, convertedEnum:
		return appendPlain, is(format.ByteArray, format.FixedLenByteArray)
	case convertedDecimal:
		return decimalWriter(decimalType{e.Scale, e.Precision}, is)
	case convertedDate:
		return appendDate, is(format.Int32)
	case convertedTimeMillis:
		return clockWriter(1e6), is(format.Int32)
	case convertedTimeMicros:
		return clockWriter(1e3), is(format.Int64)
	case convertedTimestampMillis:
		return timestampWriter(1e6, local), is(format.Int64)
	case convertedTimestampMicros:
		return timestampWriter(1e3, local), is(format.Int64)
	case convertedUint8, convertedUint16, convertedUint32, convertedUint64:
		return appendUnsigned, is(format.Int32, format.Int64)
	case convertedInt8, convertedInt16, convertedInt32, convertedInt64:
		return appendPlain, is(format.Int32, format.Int64)
	case convertedJSON:
		return appendJSON, is(format.ByteArray)
	case convertedBSON:
		return appendBytes, is(format.ByteArray)
	case convertedInterval:
		return appendInterval, is(format.FixedLenByteArray) && n.length == 12
	}
	return nil, false
}

func intWriter(signed bool) leafWrite {
	if signed {
		return appendPlain
	}
	return appendUnsigned
}

// decimalWriter: a scale that is negative or above maxScale would need zeros that nobody wrote.
func decimalWriter(t decimalType, is func(...format.Type) bool) (leafWrite, bool) {
	fits := t.Scale >= 0 && t.Scale <= maxScale && is(format.Int32, format.Int64, format.FixedLenByteArray, format.ByteArray)
	return func(b []byte, v parquet.Value) []byte { return appendDecimal(b, v, int(t.Scale)) }, fits
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
	return appendBytes(b, v)
}

func appendBytes(b []byte, v parquet.Value) []byte {
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

// nanos is the length of a unit, and 0 for one of a later version.
func (u timeUnit) nanos() int64 {
	switch {
	case u.Millis.Valid:
		return 1e6
	case u.Micros.Valid:
		return 1e3
	case u.Nanos.Valid:
		return 1
	}
	return 0
}

// layouts of timestamps: with the zone, and for one that a file has without any.
const (
	zoned = time.RFC3339Nano
	local = "2006-01-02T15:04:05.999999999"
)

// timestampWriter writes units since 1970. It divides before it multiplies, as a year in milliseconds
// may be one that no count of nanoseconds reaches.
func timestampWriter(unit int64, layout string) leafWrite {
	return func(b []byte, v parquet.Value) []byte {
		perSecond := int64(time.Second) / unit
		return quoteTime(b, time.Unix(v.Int64()/perSecond, v.Int64()%perSecond*unit), layout)
	}
}

func appendDate(b []byte, v parquet.Value) []byte {
	return quoteTime(b, time.Unix(int64(v.Int32())*86400, 0), time.DateOnly)
}

// clockWriter writes units since midnight. 24:00 is a time of day too, for DuckDB among others; what is no time of day
// stays a number.
func clockWriter(unit int64) leafWrite {
	return func(b []byte, v parquet.Value) []byte {
		perSecond := int64(time.Second) / unit
		n := integer(v)
		switch {
		case n < 0 || n > 86400*perSecond:
			return strconv.AppendInt(b, n, 10)
		case n == 86400*perSecond:
			return append(b, `"24:00:00"`...)
		}
		return quoteTime(b, time.Unix(n/perSecond, n%perSecond*unit), "15:04:05.999999999")
	}
}

// appendInterval writes months, days and milliseconds, none of which can be told in the others.
func appendInterval(b []byte, v parquet.Value) []byte {
	raw := v.ByteArray()
	months, days, millis := binary.LittleEndian.Uint32(raw), binary.LittleEndian.Uint32(raw[4:]), binary.LittleEndian.Uint32(raw[8:])
	b = fmt.Appendf(b, `"P%dM%dDT%d`, months, days, millis/1000)
	if rest := millis % 1000; rest > 0 {
		b = append(b, strings.TrimRight(fmt.Sprintf(".%03d", rest), "0")...)
	}
	return append(b, `S"`...)
}

func quoteTime(b []byte, t time.Time, layout string) []byte {
	return append(b, jsonscan.Quote(t.UTC().Format(layout))...)
}

// appendInt96 writes the timestamp of Impala and old Spark: nanoseconds of the day, then the Julian
// day, of which 1970-01-01 is 2440588. Both have a sign. It is in UTC, as Spark writes it.
func appendInt96(b []byte, v deprecated.Int96) []byte {
	day := int64(int32(v[2])) - 2440588
	return quoteTime(b, time.Unix(day*86400, int64(v[1])<<32|int64(v[0])), zoned)
}

// maxScale bounds how many zeros a scale may need.
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
	if scale == 0 {
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
	return fmt.Appendf(b, `"%x-%x-%x-%x-%x"`, u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// appendHalf writes a float of 16 bits: 1 sign, 5 exponent, 10 fraction.
func appendHalf(b []byte, v parquet.Value) []byte {
	raw := v.ByteArray()
	bits := binary.LittleEndian.Uint16(raw)
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	f := math.Ldexp(1024+fraction, exponent-25)
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 31:
		f = math.NaN() // or infinite, which JSON does not have either
	}
	if bits>>15 == 1 {
		f = -f
	}
	return appendDouble(b, f, 32)
}
