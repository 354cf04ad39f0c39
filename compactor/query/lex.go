package query

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is one word of an expression.
type token struct {
	kind   tokenKind
	text   string // of a name or a text without its quotes
	offset int
}

type tokenKind uint8

const (
	endToken tokenKind = iota
	wordToken
	nameToken // in double quotes
	textToken
	numberToken
	signToken
)

// String is how a token is called in a message.
func (t token) String() string {
	switch t.kind {
	case endToken:
		return "the end"
	case nameToken:
		return quoted(t.text, '"')
	case textToken:
		return quoted(t.text, '\'')
	}
	return t.text
}

// longestShown bounds a name or text in a message.
const longestShown = 60

func quoted(text string, quote rune) string {
	q := string(quote)
	if runes := []rune(text); len(runes) > longestShown {
		text = string(runes[:longestShown]) + "..."
	}
	return q + shown([]rune(strings.ReplaceAll(text, q, q+q))) + q
}

// is tells whether t is a word of the language, in any letters.
func (t token) is(word string) bool { return t.kind == wordToken && strings.EqualFold(t.text, word) }

func (t token) isSign(sign string) bool { return t.kind == signToken && t.text == sign }

var (
	numbers = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?`)
	signs   = []string{"==", "!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ","}
)

// next reads the token at an offset, and returns where it ends.
func next(text string, at int) (token, int, error) {
	at += len(text[at:]) - len(strings.TrimLeftFunc(text[at:], unicode.IsSpace))
	rest := text[at:]
	if rest == "" {
		return token{offset: at}, at, nil
	}
	if q := rest[0]; q == '\'' || q == '"' {
		return quotedToken(text, at)
	}
	for _, s := range signs {
		if strings.HasPrefix(rest, s) {
			return token{signToken, s, at}, at + len(s), nil
		}
	}
	if n := numbers.FindString(rest); n != "" {
		if r, _ := utf8.DecodeRuneInString(rest[len(n):]); isInWord(r) {
			return token{}, 0, &Error{text, at, fmt.Sprintf("%s... is no number: a name that begins so stands in double quotes, and a text in single quotes", n)}
		}
		return token{numberToken, n, at}, at + len(n), nil
	}
	if r, size := utf8.DecodeRuneInString(rest); !isWordStart(r) {
		return token{}, 0, &Error{text, at, fmt.Sprintf("the character %s means nothing here%s", quoted(rest[:size], '\''), instead(r))}
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return !isInWord(r) })
	if end < 0 {
		end = len(rest)
	}
	return token{wordToken, rest[:end], at}, at + end, nil
}

func isWordStart(r rune) bool { return r == '_' || unicode.IsLetter(r) }

func isInWord(r rune) bool {
	return isWordStart(r) || unicode.IsDigit(r) || unicode.IsMark(r) || strings.ContainsRune(".-/:@", r)
}

// instead says what may be meant by a character of other languages.
func instead(r rune) string {
	switch r {
	case '&':
		return ": write and"
	case '|':
		return ": write or"
	case '!':
		return ": write not, or != between a name and a value"
	case '~', '*':
		return ": write like 'churn%' for texts that begin so"
	case ';':
		return ": there is only one expression"
	}
	return ": a name with such characters stands in double quotes, and a text in single quotes"
}

// quotedToken reads a text or a name, whose first quote is at an offset.
func quotedToken(text string, at int) (token, int, error) {
	quote, kind, what := text[at:at+1], textToken, "text"
	if quote == `"` {
		kind, what = nameToken, "name"
	}
	var b strings.Builder
	for i := at + 1; ; {
		n := strings.Index(text[i:], quote)
		if n < 0 {
			return token{}, 0, &Error{text, at, fmt.Sprintf("the %s that begins here has no %s at its end", what, quote)}
		}
		b.WriteString(text[i : i+n])
		i += n + 1
		if !strings.HasPrefix(text[i:], quote) {
			return token{kind, b.String(), at}, i, nil
		}
		b.WriteString(quote)
		i++
	}
}
