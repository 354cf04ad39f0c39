package index

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/runfold/runfold/internal/jsonscan"
)

// ForeignSnapshot is one member of a foreign snapshots file.
type ForeignSnapshot struct {
	Key       string
	Value     []byte // any JSON value; each run of spaces is replaced by one space
	NonFinite int    // how many NaN, Infinity and -Infinity became null
}

// ForeignSnapshots yields the members of any JSON file that is one object, in their order, pretty
// printed or not. Python's bare NaN and Infinity become null and are counted. The file is streamed:
// memory is bounded by the largest member. The bytes are the caller's. It ends after the first error,
// which is ErrDamaged where the text is not JSON, and ErrUnsupported where the file is no such object from its start.
func ForeignSnapshots(r io.Reader) iter.Seq2[ForeignSnapshot, error] {
	return func(yield func(ForeignSnapshot, error) bool) {
		p := foreignParser{r: bufio.NewReaderSize(r, 1<<16)}
		for {
			s, err := p.next()
			if err == io.EOF {
				return
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// foreignParser splits one object into its members, byte by byte.
type foreignParser struct {
	r         *bufio.Reader
	n         int64 // bytes that were read
	members   int
	value     []byte
	nonFinite int
}

// next returns the next member, and io.EOF after the object if nothing follows it.
func (p *foreignParser) next() (ForeignSnapshot, error) {
	c, err := p.start()
	if err != nil {
		return ForeignSnapshot{}, p.failed(err)
	}
	if c == '}' {
		return ForeignSnapshot{}, p.end()
	}
	key, err := p.member(c)
	if err != nil {
		return ForeignSnapshot{}, p.failed(err)
	}
	p.members++
	return ForeignSnapshot{key, bytes.Clone(p.value), p.nonFinite}, nil
}

// start reads up to the first byte of the next name, or to the '}' of the object.
func (p *foreignParser) start() (byte, error) {
	if p.n == 0 {
		head, err := p.r.Peek(512)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if bytes.HasPrefix(head, []byte("\ufeff")) {
			p.r.Discard(3)
		}
		if c, err := p.token(); err != nil || c != '{' {
			return 0, notOneObject(c, err, head)
		}
		return p.token()
	}
	c, err := p.token()
	if err == nil && c == ',' {
		if c, err = p.token(); c == '}' {
			return 0, p.unexpected(c, err, "a member")
		}
		return c, err
	}
	if c != '}' {
		return 0, p.unexpected(c, err, "',' or '}'")
	}
	return c, err
}

// notOneObject says what a file is that does not start as an object.
func notOneObject(c byte, err error, head []byte) error {
	switch kind := looksLike(head); {
	case err != nil:
		return err
	case c == '[':
		return unsupported("the file is not one JSON object: it is a list")
	case kind != "" && kind != "text":
		return unsupported("the file is not one JSON object: it looks like %s", kind)
	}
	return unsupported("the file is not one JSON object: it starts with %q", c)
}

// member reads one name and value.
func (p *foreignParser) member(first byte) (key string, err error) {
	p.value, p.nonFinite = p.value[:0], 0
	if first != '"' {
		return "", p.unexpected(first, nil, "a name")
	}
	if err := p.text(); err != nil {
		return "", err
	}
	if !json.Valid(p.value) {
		return "", damaged("name is not a JSON string")
	}
	key = jsonscan.Text(p.value)
	if c, err := p.token(); err != nil || c != ':' {
		return "", p.unexpected(c, err, "':'")
	}
	p.value = p.value[:0]
	c, err := p.token()
	if err != nil {
		return "", err
	}
	if err := p.read(c); err != nil {
		return "", err
	}
	if !json.Valid(p.value) {
		return "", damaged("value of %q is not JSON", key)
	}
	return key, nil
}

// read appends the value that starts with c.
func (p *foreignParser) read(c byte) (err error) {
	for depth := 0; err == nil; {
		switch c {
		case '"':
			err = p.text()
		case '{', '[':
			depth++
			p.value = append(p.value, c)
		case '}', ']':
			depth--
			p.value = append(p.value, c)
		case ' ', '\n', '\r', '\t':
			err = p.space()
		case ',', ':':
			p.value = append(p.value, c)
		default:
			err = p.bare(c)
		}
		if err == nil && depth <= 0 {
			return nil
		}
		if err == nil && len(p.value) > maxLine {
			return fmt.Errorf("a member is longer than %d bytes", maxLine)
		}
		if err == nil {
			c, err = p.byte()
		}
	}
	return err
}

// text appends the string whose opening quote was read.
func (p *foreignParser) text() error {
	p.value = append(p.value, '"')
	for escaped := false; len(p.value) <= maxLine; {
		c, err := p.byte()
		if err != nil {
			return err
		}
		p.value = append(p.value, c)
		if c == '"' && !escaped {
			return nil
		}
		escaped = c == '\\' && !escaped
	}
	return fmt.Errorf("a string is longer than %d bytes", maxLine)
}

// space appends one space for a run of them.
func (p *foreignParser) space() error {
	p.value = append(p.value, ' ')
	_, err := p.token()
	if err == nil {
		p.unread()
	}
	return err
}

// bare appends a number or a word, and null for NaN and infinities.
func (p *foreignParser) bare(c byte) error {
	start := len(p.value)
	for err := error(nil); !bytes.ContainsRune([]byte(",:]}[{\" \t\r\n"), rune(c)); {
		p.value = append(p.value, c)
		if len(p.value) > maxLine {
			return fmt.Errorf("a token is longer than %d bytes", maxLine)
		}
		if c, err = p.byte(); err != nil {
			return err
		}
	}
	p.unread()
	switch string(p.value[start:]) {
	case "NaN", "Infinity", "-Infinity":
		p.value = append(p.value[:start], "null"...)
		p.nonFinite++
	}
	return nil
}

// token returns the next byte that is not space.
func (p *foreignParser) token() (byte, error) {
	for {
		c, err := p.byte()
		if err != nil || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c, err
		}
	}
}

func (p *foreignParser) byte() (byte, error) {
	c, err := p.r.ReadByte()
	if err == nil {
		p.n++
	}
	return c, err
}

// unread gives back the byte that was read last.
func (p *foreignParser) unread() {
	if err := p.r.UnreadByte(); err != nil {
		panic("index: internal error: unread without a read")
	}
	p.n--
}

// end makes sure that only space follows.
func (p *foreignParser) end() error {
	c, err := p.token()
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if c == '{' {
		return p.failed(unsupported("another object follows the first: this looks like JSON Lines, which is not one object"))
	}
	return p.failed(p.unexpected(c, err, "the end"))
}

func (*foreignParser) unexpected(c byte, err error, want string) error {
	if err != nil {
		return err
	}
	return damaged("%q where %s was expected", c, want)
}

// failed says at which place the file could not be read.
func (p *foreignParser) failed(err error) error {
	if errors.Is(err, io.EOF) {
		err = damaged("the file is cut short: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("byte %d, after %d members: %w", p.n, p.members, err)
}
