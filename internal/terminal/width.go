package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Width is how many columns of a terminal a text takes that Line or Field has made: characters of East Asian scripts and most emoji take two, and marks that
// stand on the character before them take none.
func Width(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Ellipsis stands where a text was cut.
const Ellipsis = "…"

// Cut is s where that takes no more than so many columns, else as much of it as fits, and an ellipsis.
func Cut(s string, most int) string {
	if Width(s) <= most {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > most-1 {
			return s[:i] + Ellipsis
		}
	}
	return s
}

// CutMiddle is Cut for an id: it loses what is in the middle, as ids that begin in the same way differ at their ends.
func CutMiddle(s string, most int) string {
	if Width(s) <= most {
		return s
	}
	head := Cut(s, (most+1)/2)
	left, at := most-Width(head), len(s)
	for end := at; end > 0; {
		r, size := utf8.DecodeLastRuneInString(s[:end])
		end -= size
		if left -= runeWidth(r); left < 0 {
			break
		}
		if runeWidth(r) > 0 { // a mark stays with the character before it
			at = end
		}
	}
	return head + s[at:]
}

// CutNumber is Cut for a number: it loses digits after the point only, so that its size stays what it is. One without such digits is not cut.
func CutNumber(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := strings.IndexAny(s, "eE")
	if end < 0 {
		end = len(s)
	}
	point := strings.IndexByte(s, '.')
	keep := max(most-(len(s)-end)-1, point+2)
	if point < 0 || keep >= end {
		return s
	}
	return s[:keep] + Ellipsis + s[end:]
}

// Pad is s with spaces up to so many columns, before it if right.
func Pad(s string, to int, right bool) string {
	spaces := strings.Repeat(" ", max(to-Width(s), 0))
	if right {
		return spaces + s
	}
	return s + spaces
}
