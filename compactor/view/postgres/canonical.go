package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
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
	if text == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	out, err := appendCanonical(make([]byte, 0, len(text)), d)
	if err != nil || d.More() {
		return text
	}
	return out
}

// appendCanonical reads a value, and appends it with its members sorted by name and its numbers spelled in one way.
func appendCanonical(out []byte, d *json.Decoder) ([]byte, error) {
	token, err := d.Token()
	if err != nil {
		return out, err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return appendObject(out, d)
		}
		return appendArray(out, d)
	case json.Number:
		spelled, _ := plain(string(token))
		return append(out, spelled...), nil
	case string:
		return jsonscan.AppendQuote(out, token), nil
	case bool:
		return strconv.AppendBool(out, token), nil
	}
	return append(out, "null"...), nil
}

func appendArray(out []byte, d *json.Decoder) (_ []byte, err error) {
	out = append(out, '[')
	for n := 0; d.More(); n++ {
		if n > 0 {
			out = append(out, ',')
		}
		if out, err = appendCanonical(out, d); err != nil {
			return out, err
		}
	}
	_, err = d.Token()
	return append(out, ']'), err
}

func appendObject(out []byte, d *json.Decoder) ([]byte, error) {
	type member struct {
		name  string
		value []byte
	}
	var members []member
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return out, err
		}
		name, is := token.(string)
		if !is {
			return out, errors.New("the name of a member is no string")
		}
		value, err := appendCanonical(nil, d)
		if err != nil {
			return out, err
		}
		members = append(members, member{name, value})
	}
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(jsonscan.AppendQuote(out, m.name), ':'), m.value...)
	}
	_, err := d.Token()
	return append(out, '}'), err
}
