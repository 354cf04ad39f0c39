package jsonscan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// TextBytes is Text as bytes. If nothing is escaped, it makes no copy and the result aliases quoted.
func TextBytes(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	return []byte(Text(quoted))
}

// Text decodes a valid JSON string, quotes included.
func Text(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		panic(fmt.Sprintf("jsonscan: internal error: decode %q: %v", quoted, err))
	}
	return s
}

// ScalarText is a valid JSON scalar as text: a string decoded, a number or a bool as its token. It is empty for null, objects and
// arrays.
func ScalarText(value []byte) string {
	switch KindOf(value) {
	case String:
		return Text(value)
	case Bool, Int, Double:
		return string(value)
	}
	return ""
}

// LoneSurrogate tells whether a valid JSON string escapes half a surrogate pair, which Text can only
// decode to U+FFFD.
func LoneSurrogate(quoted []byte) bool {
	for i := 0; i < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		unit := codeUnit(quoted[i:])
		if !utf16.IsSurrogate(unit) {
			i++ // the escaped byte may be a '\' itself
			continue
		}
		if utf16.DecodeRune(unit, codeUnit(quoted[i+6:])) == utf8.RuneError {
			return true
		}
		i += 11
	}
	return false
}

// codeUnit is the value of the \u escape that b starts with, or -1.
func codeUnit(b []byte) rune {
	if !bytes.HasPrefix(b, []byte(`\u`)) {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		panic(fmt.Sprintf("jsonscan: internal error: escape %q: %v", b[:6], err))
	}
	return rune(n)
}

// Quote is the only spelling of s as a JSON string that our files use, so equal strings are equal bytes. It is that of
// encoding/json, except that <, > and & are not escaped.
func Quote(s string) []byte { return AppendQuote(make([]byte, 0, len(s)+2), s) }

// AppendQuote appends what Quote returns to dst.
func AppendQuote(dst []byte, s string) []byte {
	if isPlain(s) { // nearly every name and id
		return append(append(append(dst, '"'), s...), '"')
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(fmt.Sprintf("jsonscan: internal error: encode a string: %v", err))
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// isPlain tells whether all bytes of s are ASCII and need no escape.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
