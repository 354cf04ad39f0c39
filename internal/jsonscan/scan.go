// Package jsonscan finds the parts of JSON without decoding it, so every byte of a user's record stays
// as it was written. Only this package of the module knows how JSON is spelled.
//
// [Valid] and [ValidSpans] check bytes that come from outside. All other functions need valid JSON: to skip a value of valid
// JSON, only quotes and brackets matter. No function keeps or changes the bytes that it gets.
package jsonscan

import (
	"encoding/binary"
	"iter"
	"math/bits"
)

// Kind is the type of a JSON value as the index sees it. A number token without '.', 'e' or 'E' is
// an integer: 25000 and 25000.0 are different kinds on purpose.
type Kind uint8

const (
	Null Kind = iota + 1
	Bool
	Int
	Double
	String
	Object
	Array
)

// KindOf returns the kind of one valid JSON value without space around it.
func KindOf(value []byte) Kind {
	switch value[0] {
	case '{':
		return Object
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	}
	for _, c := range value {
		if c == '.' || c == 'e' || c == 'E' {
			return Double
		}
	}
	return Int
}

func (k Kind) String() string {
	return [...]string{"?", "null", "bool", "int64", "double", "string", "object", "array"}[k]
}

// Member is one member of a JSON object. All of it aliases the object, except a Name with escapes.
type Member struct {
	Name  []byte // decoded
	Value []byte
	Text  []byte // `"name": value` with the bytes of the object
}

// Span is the place of a member in its object. It is valid for a copy of the object, too.
type Span struct {
	start, name, value, end int32 // start of the text, end of the name's string, start of the value, end of the value
	plain                   bool  // nothing is escaped in the name
}

// Spans appends the places of the members of obj to dst, in their order. A name that stands twice has two places.
//
// obj must be valid JSON (see Valid) and an object. So only quotes and brackets matter when a value is skipped, and
// no byte of the user is decoded and encoded again.
func Spans(dst []Span, obj []byte) []Span {
	i := skipSpace(obj, 0) + 1 // after '{'
	for {
		i = skipSpace(obj, i)
		if obj[i] == '}' {
			return dst
		}
		if obj[i] == ',' {
			i = skipSpace(obj, i+1)
		}
		start, quote := i, special(obj, i+1)
		plain := obj[quote] == '"'
		name := quote + 1
		if !plain {
			name = skipString(obj, start)
		}
		i = skipSpace(obj, name)
		i = skipSpace(obj, i+1) // after ':'
		value := i
		i = skipValue(obj, i)
		dst = append(dst, Span{int32(start), int32(name), int32(value), int32(i), plain})
	}
}

// Member is the member of obj at this place.
func (s Span) Member(obj []byte) Member {
	name := obj[s.start+1 : s.name-1]
	if !s.plain {
		name = TextBytes(obj[s.start:s.name])
	}
	return Member{name, obj[s.value:s.end:s.end], obj[s.start:s.end:s.end]}
}

// End is where the member ends in its object: behind its value.
func (s Span) End() int { return int(s.end) }

// EachMember yields the members of an object as Spans finds them.
func EachMember(obj []byte) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		var some [24]Span // enough for most objects, and not on the heap
		for _, s := range Spans(some[:0], obj) {
			if !yield(s.Member(obj)) {
				return
			}
		}
	}
}

// Members is EachMember with the name as a string, which is a copy.
func Members(obj []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for m := range EachMember(obj) {
			if !yield(string(m.Name), m.Value) {
				return
			}
		}
	}
}

// EachElement yields the elements of an array, which must be valid JSON.
func EachElement(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := skipSpace(array, 0) + 1 // after '['
		for {
			i = skipSpace(array, i)
			if array[i] == ',' {
				i = skipSpace(array, i+1)
			}
			if array[i] == ']' {
				return
			}
			end := skipValue(array, i)
			if !yield(array[i:end:end]) {
				return
			}
			i = end
		}
	}
}

// AppendMember appends a member to the beginning of an object, which is empty or what AppendMember returned.
// The value's bytes are not changed. The caller appends the '}' at the end of the object.
func AppendMember(obj []byte, name string, value []byte) []byte {
	sep := byte(',')
	if len(obj) == 0 {
		sep = '{'
	}
	obj = append(obj, sep)
	obj = AppendQuote(obj, name)
	obj = append(obj, ':')
	return append(obj, value...)
}

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// skipString returns the index after the string that starts at i.
func skipString(b []byte, i int) int {
	for i = special(b, i+1); b[i] != '"'; i = special(b, i+2) { // the escaped byte may be a quote
	}
	return i + 1
}

// special is the index of the first quote or backslash from i on. Strings in records are short, and eight
// bytes at a time take less than a call of bytes.IndexByte for each of the two.
func special(b []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		if zero := ((quote-ones)&^quote | (slash-ones)&^slash) & high; zero != 0 { // its lowest bit is exact
			return i + bits.TrailingZeros64(zero)/8
		}
	}
	for b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// skipValue returns the index after the value that starts at i.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	for i < len(b) && !endsWord[b[i]] {
		i++
	}
	return i
}

// endsWord marks the bytes that may follow a number, true, false or null.
var endsWord = [256]bool{',': true, ']': true, '}': true, ' ': true, '\t': true, '\r': true, '\n': true}

func skipNested(b []byte, i int) int {
	for depth := 0; ; i++ {
		for structure[b[i]] == 0 {
			i++
		}
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// structure marks the bytes that matter to skipNested.
var structure = [256]byte{'"': 1, '{': 1, '[': 1, '}': 1, ']': 1}
