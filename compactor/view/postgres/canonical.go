package postgres

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/runfold/runfold/internal/jsonscan"
)

// maxDigits bounds the digits of numbers that are kept as numbers. The type numeric has more; nobody needs them.
const maxDigits = 1000

// fits tells whether jsonb takes a valid JSON text, and says the same afterwards. Of two members of one name it keeps the last.
func fits(text []byte) bool {
	if bytes.Contains(text, []byte(`\u0000`)) || bytes.Contains(text, []byte(`\u`)) && jsonscan.LoneSurrogate(text) {
		return false
	}
	var some [32][]byte // enough for most texts, and not on the heap
	open := names{all: some[:0]}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '{':
			open.begin()
		case c == '}':
			if open.end() {
				return false
			}
		case c == '"':
			start := i
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if rest := bytes.TrimLeft(text[i+1:], " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
				open.add(text[start : i+1])
			}
		case c == '-' || '0' <= c && c <= '9':
			end := i
			for end < len(text) && strings.IndexByte("+-.0123456789eE", text[end]) >= 0 {
				end++
			}
			if _, ok := plain(string(text[i:end])); !ok {
				return false
			}
			i = end - 1
		}
	}
	return true
}

// names are those of the members of objects that are not at their end yet, of the inner ones last.
type names struct {
	all    [][]byte
	starts []int
}

func (n *names) begin() { n.starts = append(n.starts, len(n.all)) }

func (n *names) add(quoted []byte) {
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		name = jsonscan.TextBytes(quoted)
	}
	n.all = append(n.all, name)
}

// end tells whether a name stands twice in the object that ends.
func (n *names) end() bool {
	last := len(n.starts) - 1
	own := n.all[n.starts[last]:]
	n.all, n.starts = n.all[:n.starts[last]], n.starts[:last]
	if len(own) > 8 {
		slices.SortFunc(own, bytes.Compare)
		for i := range own[1:] {
			if bytes.Equal(own[i], own[i+1]) {
				return true
			}
		}
		return false
	}
	for i := range own {
		for _, other := range own[:i] {
			if bytes.Equal(own[i], other) {
				return true
			}
		}
	}
	return false
}

// plain spells a number without an exponent and without zeros at its end. ok is false for one that jsonb would change: it has too many digits, or
// is the zero below zero.
func plain(token string) (spelled string, ok bool) {
	if len(token) <= maxDigits && token[0] != '-' && strings.Trim(token, "0123456789") == "" { // an integer, which most are
		return token, true
	}
	mantissa, exponent, has := strings.Cut(strings.ToLower(token), "e")
	e := 0
	if has {
		var err error
		if e, err = strconv.Atoi(exponent); err != nil {
			return token, false
		}
	}
	sign := ""
	if rest, is := strings.CutPrefix(mantissa, "-"); is {
		sign, mantissa = "-", rest
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if len(digits) > maxDigits || e > maxDigits || e < -maxDigits {
		return token, false
	}
	point := len(whole) + e // where the point stands among the digits
	for ; point < 0; point++ {
		digits = "0" + digits
	}
	for len(digits) < point {
		digits += "0"
	}
	whole, fraction = strings.TrimLeft(digits[:point], "0"), strings.TrimRight(digits[point:], "0")
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if whole == "0" {
		return sign + whole, sign == ""
	}
	return sign + whole, true
}

// canonical is one spelling of all texts that jsonb holds as the same value. Members that stand twice stay both: such a text is held as a string. What is not JSON
// stays as it is.
func canonical(text []byte) []byte {
	if text == nil || jsonscan.Deeper(text, maxDepth) || !jsonscan.Valid(text) {
		return text
	}
	return appendCanonical(make([]byte, 0, len(text)), bytes.TrimSpace(text))
}

// maxDepth bounds how deep canonical goes. PostgreSQL takes less.
const maxDepth = 10_000

// appendCanonical appends a value with its members sorted by name and its numbers spelled in one way.
func appendCanonical(out, value []byte) []byte {
	switch jsonscan.KindOf(value) {
	case jsonscan.Object:
		members := make([]jsonscan.Member, 0, 16)
		for m := range jsonscan.EachMember(value) {
			members = append(members, m)
		}
		slices.SortStableFunc(members, func(a, b jsonscan.Member) int { return bytes.Compare(a.Name, b.Name) })
		out = append(out, '{')
		for i, m := range members {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendCanonical(append(jsonscan.AppendQuote(out, string(m.Name)), ':'), m.Value)
		}
		return append(out, '}')
	case jsonscan.Array:
		out = append(out, '[')
		n := 0
		for v := range jsonscan.EachElement(value) {
			if n++; n > 1 {
				out = append(out, ',')
			}
			out = appendCanonical(out, v)
		}
		return append(out, ']')
	case jsonscan.Int, jsonscan.Double:
		spelled, _ := plain(string(value))
		return append(out, spelled...)
	case jsonscan.String:
		return jsonscan.AppendQuote(out, jsonscan.Text(value))
	}
	return append(out, value...)
}
