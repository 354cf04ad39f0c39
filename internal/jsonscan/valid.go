package jsonscan

import (
	"encoding/binary"
	"math/bits"
)

// Valid does the same as json.Valid in a third of the time. json.Valid would take more than half of the time of reading a
// record. FuzzValid compares the two. Valid calls itself for nested values, so the caller must bound the depth first.
func Valid(data []byte) bool {
	end := validValue(data, skipBlank(data, 0))
	return end >= 0 && skipBlank(data, end) == len(data)
}

// skipBlank is skipSpace for bytes that may end.
func skipBlank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// validValue returns the index after the value that starts at i, or -1.
func validValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return validString(b, i)
	case '{':
		_, i = validMembers(nil, false, b, i)
		return i
	case '[':
		return validArray(b, i)
	case 't':
		return validWord(b, i, "true")
	case 'f':
		return validWord(b, i, "false")
	case 'n':
		return validWord(b, i, "null")
	}
	return validNumber(b, i)
}

func validWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// ValidSpans is Valid and Spans in one pass, for an object without space before it.
func ValidSpans(dst []Span, data []byte) ([]Span, bool) {
	if len(data) == 0 || data[0] != '{' {
		return dst, false
	}
	dst, end := validMembers(dst, true, data, 0)
	return dst, end >= 0 && skipBlank(data, end) == len(data)
}

// validMembers returns the index after the object that starts at i, or -1. If keep is set, it appends the
// places of the members to dst.
func validMembers(dst []Span, keep bool, b []byte, i int) ([]Span, int) {
	i = skipBlank(b, i+1)
	if i < len(b) && b[i] == '}' {
		return dst, i + 1
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return dst, -1
		}
		start := i
		if i = validString(b, i); i < 0 {
			return dst, -1
		}
		name := i
		if i = skipBlank(b, i); i >= len(b) || b[i] != ':' {
			return dst, -1
		}
		value := skipBlank(b, i+1)
		if i = validValue(b, value); i < 0 {
			return dst, -1
		}
		if keep {
			dst = append(dst, Span{int32(start), int32(name), int32(value), int32(i), special(b, start+1) == name-1})
		}
		if i = skipBlank(b, i); i >= len(b) {
			return dst, -1
		}
		switch b[i] {
		case '}':
			return dst, i + 1
		case ',':
			i = skipBlank(b, i+1)
		default:
			return dst, -1
		}
	}
}

func validArray(b []byte, i int) int {
	i = skipBlank(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = validValue(b, i); i < 0 {
			return -1
		}
		if i = skipBlank(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case ']':
			return i + 1
		case ',':
			i = skipBlank(b, i+1)
		default:
			return -1
		}
	}
}

func validString(b []byte, i int) int {
	for i = notable(b, i+1); i < len(b); i = notable(b, i) {
		switch {
		case b[i] == '"':
			return i + 1
		case b[i] < ' ':
			return -1
		case i+1 == len(b):
			return -1
		}
		switch b[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			if i+6 > len(b) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) || !isHex(b[i+5]) {
				return -1
			}
			i += 6
		default:
			return -1
		}
	}
	return -1
}

// notable is the index of the first quote, backslash or control character from i on, or len(b). It looks at
// eight bytes at a time, see special.
func notable(b []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*' ')&^w) & high
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
		i++
	}
	return i
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func validNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	switch start := i; {
	case i < len(b) && b[i] == '0':
		i++
	default:
		if i = skipDigits(b, i); i == start {
			return -1
		}
	}
	if i < len(b) && b[i] == '.' {
		start := i + 1
		if i = skipDigits(b, start); i == start {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start := i
		if i = skipDigits(b, start); i == start {
			return -1
		}
	}
	return i
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}
