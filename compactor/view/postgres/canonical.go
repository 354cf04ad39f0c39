package postgres

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/runfold/runfold/internal/jsonscan"
)

// maxDigits bounds the digits of numbers that are kept as numbers. The type numeric has more; nobody needs them.
const maxDigits = 1000

// fits tells whether jsonb takes a valid JSON text, and says the same afterwards.
func fits(text []byte) bool {
	if bytes.Contains(text, []byte(`\u0000`)) || bytes.Contains(text, []byte(`\u`)) && jsonscan.LoneSurrogate(text) {
		return false
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
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

// canonical is one spelling of all texts that jsonb holds as the same value. What is not JSON stays as it is.
func canonical(text []byte) []byte {
	if text == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return text
	}
	out, err := json.Marshal(respelled(v))
	if err != nil {
		return text
	}
	return out
}

// respelled has its numbers spelled in one way.
func respelled(v any) any {
	switch v := v.(type) {
	case json.Number:
		spelled, _ := plain(string(v))
		return json.Number(spelled)
	case []any:
		for i := range v {
			v[i] = respelled(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = respelled(v[name])
		}
	}
	return v
}
