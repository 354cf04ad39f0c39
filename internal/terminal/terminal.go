// Package terminal makes text safe to show: names and ids come from anybody, and a tab, a line break or an escape sequence in one
// must not change what a person, or a script that splits lines, reads.
package terminal

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line is text for a line of words: what does not show as itself stands there as its JSON escape, such as \n or \u001b.
func Line(s string) string {
	if isPlain(s) {
		return s
	}
	return escape(s, false)
}

// Field is text for a column: s itself where that shows as itself, else a JSON string. What begins with a quote is a
// JSON string, too, so that nobody takes one for the other.
func Field(s string) string {
	if isPlain(s) && !strings.HasPrefix(s, `"`) {
		return s
	}
	return escape(s, true)
}

// Unfield is the text that Field shows as s: what a JSON string holds, and anything else itself. So a name can be copied from where it is shown.
func Unfield(s string) string {
	if strings.HasPrefix(s, `"`) {
		var text string
		if json.Unmarshal([]byte(s), &text) == nil {
			return text
		}
	}
	return s
}

func isPlain(s string) bool {
	for i, r := range s {
		if r >= ' ' && r < 0x7f {
			continue // nearly all
		}
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) || !shows(r) {
			return false
		}
	}
	return true
}

// shows tells whether a character stands for itself. The two joiners shape letters of Persian and of Indian scripts; other format
// characters are escaped, as some turn the direction of what follows.
func shows(r rune) bool { return unicode.IsPrint(r) || r == '\u200c' || r == '\u200d' }

func escape(s string, quoted bool) string {
	var b strings.Builder
	if quoted {
		b.WriteByte('"')
	}
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case quoted && (r == '"' || r == '\\'):
			b.WriteByte('\\')
			b.WriteRune(r)
		case shows(r):
			b.WriteRune(r)
		default:
			hex(&b, r)
		}
	}
	if quoted {
		b.WriteByte('"')
	}
	return b.String()
}

func hex(b *strings.Builder, r rune) {
	const digits = "0123456789abcdef"
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		hex(b, high)
		r = low
	}
	b.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		b.WriteByte(digits[r>>shift&15])
	}
}
