package query

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// pattern is that of like: texts, and between each two of them a gap.
type pattern struct {
	begins string // what stands before the first gap or the first any character
	parts  []part
}

// part is one character of a pattern.
type part struct {
	text string // itself
	one  bool   // or any one character
	all  bool   // or any text
}

// parsePattern reads a pattern in which escape, if there is one, takes the meaning from the character after it. ok is false if it stands
// before one that has none.
func parsePattern(s, escape string) (p pattern, ok bool) {
	special := false
	for len(s) > 0 {
		_, size := utf8.DecodeRuneInString(s)
		c := s[:size]
		s = s[size:]
		next := part{text: c}
		switch {
		case escape != "" && c == escape:
			_, size := utf8.DecodeRuneInString(s)
			if c = s[:size]; c != "%" && c != "_" && c != escape {
				return p, false
			}
			next.text, s = c, s[size:]
		case c == "%":
			next = part{all: true}
		case c == "_":
			next = part{one: true}
		}
		special = special || next.one || next.all
		if !special {
			p.begins += next.text
		}
		if n := len(p.parts); next.all && n > 0 && p.parts[n-1].all {
			continue
		}
		p.parts = append(p.parts, next)
	}
	return p, true
}

// matches tells whether a text is like p. Where a gap may end at several places, only the last gap is tried again, so it takes at most
// the length of the text times that of the pattern.
func (p pattern) matches(s []byte) bool {
	if !bytes.HasPrefix(s, []byte(p.begins)) {
		return false
	}
	part, gap, from := 0, -1, []byte(nil)
	for {
		if part < len(p.parts) && p.parts[part].all {
			gap, from = part, s
			part++
			continue
		}
		if part == len(p.parts) && len(s) == 0 {
			return true
		}
		if part < len(p.parts) && len(s) > 0 {
			if size := p.parts[part].size(s); size > 0 {
				part, s = part+1, s[size:]
				continue
			}
		}
		if gap < 0 || len(from) == 0 {
			return false
		}
		_, size := utf8.DecodeRune(from)
		from = from[size:]
		part, s = gap+1, from
	}
}

// size is how many bytes of s are the part of a pattern, 0 if none.
func (p part) size(s []byte) int {
	if p.one {
		_, size := utf8.DecodeRune(s)
		return size
	}
	if bytes.HasPrefix(s, []byte(p.text)) {
		return len(p.text)
	}
	return 0
}

// mayBegin tells whether a text between two others may begin as p does.
func (p pattern) mayBegin(least, most []byte) bool {
	cut := least[:min(len(least), len(p.begins))]
	return strings.Compare(string(cut), p.begins) <= 0 && bytes.Compare(most, []byte(p.begins)) >= 0
}
