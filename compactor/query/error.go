package query

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error says what is wrong with an expression, and where.
type Error struct {
	Text    string // the expression
	Offset  int    // in bytes, where it is wrong
	Message string
}

// shownBefore and shownAfter are how many characters of an expression are shown around the place.
const shownBefore, shownAfter = 50, 25

// Error has three lines: the message, the expression, and a caret below the place. Of an empty expression there is only the message.
func (e *Error) Error() string {
	if strings.TrimSpace(e.Text) == "" {
		return e.Message
	}
	before, after := []rune(e.Text[:e.Offset]), []rune(e.Text[e.Offset:])
	message := fmt.Sprintf("%s (at character %d)", e.Message, len(before)+1)
	start, end := "", ""
	if len(before) > shownBefore {
		start, before = "...", before[len(before)-shownBefore:]
	}
	if len(after) > shownAfter {
		end, after = "...", after[:shownAfter]
	}
	line := start + shown(before) + shown(after) + end
	return message + "\n  " + line + "\n  " + strings.Repeat(" ", len(start)+len(before)) + "^"
}

// shown has one character for each of text.
func shown(text []rune) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, string(text))
}
