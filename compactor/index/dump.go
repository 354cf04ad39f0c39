package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Rows yields every row as one JSON object: its columns in their order, NULLs left out, _extra as the
// object that it is, timestamp in RFC 3339 with six digits, _digest as 16 hexadecimal digits. Doubles always have a '.' or an exponent, so a reader of
// the text can tell them from integers. The bytes are the caller's. It ends after the first error.
func (f *File) Rows() iter.Seq2[[]byte, error] {
	names := f.layout.names()
	places, _ := f.places(names)
	return func(yield func([]byte, error) bool) {
		for r, err := range f.rows(places) {
			var line []byte
			if err == nil {
				line, err = rowJSON(names, r)
			}
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}

func rowJSON(names []string, r parquet.Row) ([]byte, error) {
	b := []byte{'{'}
	for i, v := range r {
		if v.IsNull() {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(b, jsonscan.Quote(names[i])...), ':')
		switch names[i] {
		case columnTimestamp:
			b = append(b, jsonscan.Quote(cohort.FormatTime(time.UnixMicro(v.Int64())))...)
		case columnDigest:
			b = fmt.Appendf(b, `"%016x"`, uint64(v.Int64()))
		case columnExtra:
			text := v.ByteArray()
			if !json.Valid(text) {
				return nil, damaged("%s of %q is not JSON", columnExtra, r[0].ByteArray())
			}
			b = append(b, text...)
		default:
			b = appendValue(b, v)
		}
	}
	return append(b, '}'), nil
}

func appendValue(b []byte, v parquet.Value) []byte {
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.AppendBool(b, v.Boolean())
	case parquet.Int64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case parquet.Double:
		return appendDouble(b, v.Double(), 64)
	}
	return append(b, jsonscan.Quote(string(v.ByteArray()))...)
}

// appendDouble writes the shortest number that reads back as f, always as a double. NaN and infinities
// become null; our own files hold none of them.
func appendDouble(b []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	n := len(b)
	b = strconv.AppendFloat(b, f, format, -1, bits)
	if !bytes.ContainsAny(b[n:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}
