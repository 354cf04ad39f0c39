package sqlite

import (
	"fmt"
	"strings"
)

// one makes sure that a text is one statement. Of several the library would run each, and give only the rows of the last.
func one(text string) error {
	rest, some := text, false
	for rest != "" {
		token, after := firstToken(rest)
		rest = after
		switch {
		case token == "":
		case token == ";" && some:
			if hasToken(rest) {
				return fmt.Errorf("%w: it is more than one: give each to a call of its own", ErrStatement)
			}
			return nil
		case token != ";":
			some = true
		}
	}
	if !some {
		return fmt.Errorf("%w: it is empty", ErrStatement)
	}
	return nil
}

func hasToken(text string) bool {
	for text != "" {
		token, rest := firstToken(text)
		if token != "" && token != ";" {
			return true
		}
		text = rest
	}
	return false
}

// firstToken cuts off one character, or a whole text, name or comment, as far as it says where the next one begins. The token of what says nothing, as a
// comment, is empty. See https://www.sqlite.org/lang_comment.html and https://www.sqlite.org/lang_keywords.html for quotes.
func firstToken(text string) (token, rest string) {
	skip := func(from int, end string) (string, string) { // without its end it goes to the end of the text
		if i := strings.Index(text[from:], end); i >= 0 {
			return text[:from+i+len(end)], text[from+i+len(end):]
		}
		return text, ""
	}
	switch c := text[0]; {
	case strings.ContainsRune(" \t\r\n\f", rune(c)):
		return "", text[1:]
	case strings.HasPrefix(text, "--"):
		_, rest = skip(2, "\n")
		return "", rest
	case strings.HasPrefix(text, "/*"):
		_, rest = skip(2, "*/")
		return "", rest
	case c == '\'', c == '"', c == '`': // a doubled quote begins a second one, which is as good
		return skip(1, string(c))
	case c == '[':
		return skip(1, "]")
	}
	return text[:1], text[1:]
}
