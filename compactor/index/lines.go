package index

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// maxLine bounds one entry: the largest record that any root accepts, and its key.
const maxLine = 64 << 20

// Snapshots reads a snapshot_index.json that we wrote, and refuses every other file; ForeignSnapshots reads
// those of others. The bytes are the caller's. The iteration ends after the first error.
func Snapshots(r io.Reader) iter.Seq2[Snapshot, error] {
	return snapshotsThat(r, func(cohort.Seq) bool { return true })
}

// LinesOf yields the entries of a snapshot_index.json of ours that have one of these seqs, which must be sorted. Of all others only the
// part that we wrote is read and checked. The bytes are the caller's. It ends after the first error.
func LinesOf(r io.Reader, seqs []cohort.Seq) iter.Seq2[Snapshot, error] {
	return snapshotsThat(r, func(seq cohort.Seq) bool {
		_, wanted := slices.BinarySearch(seqs, seq)
		return wanted
	})
}

func snapshotsThat(r io.Reader, areWanted func(cohort.Seq) bool) iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		lines := newLineReader(r)
		for {
			l, err := lines.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && !areWanted(l.seq) {
				continue
			}
			if err == nil && !json.Valid(l.value) {
				err = damaged("line %d: value is not JSON", lines.n)
			}
			if err != nil {
				yield(Snapshot{}, err)
				return
			}
			if !yield(Snapshot{l.key, l.seq, bytes.Clone(l.value)}, nil) {
				return
			}
		}
	}
}

// line is one entry with its bytes in the file.
type line struct {
	key   cohort.Key
	seq   cohort.Seq
	text  []byte // all of it, without ",\n"; valid until the next line is read
	value []byte // the part of text after the key
	tail  []byte // the part of text after the seq
}

// lineReader splits a file into its entries.
type lineReader struct {
	r    *bufio.Reader
	n    int    // of lines that were read
	buf  []byte // of a line that is longer than the buffer of r
	seq  cohort.Seq
	more bool // the line before ended with a comma
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 128<<10)}
}

// next returns the next entry, and io.EOF after the last one.
func (s *lineReader) next() (line, error) {
	text, err := s.body()
	if err != nil {
		return line{}, err
	}
	l, ok := parseLine(text)
	if !ok {
		return line{}, s.damaged("key and fields are not in the form that we write")
	}
	if l.seq <= s.seq {
		return line{}, s.damaged(fmt.Sprintf("snapshot_seq %d follows %d", l.seq, s.seq))
	}
	s.seq = l.seq
	return l, nil
}

// body returns the text of the next entry without parsing it, and io.EOF after the last one.
func (s *lineReader) body() ([]byte, error) {
	if s.n == 0 {
		if head, err := s.read(); err != nil || string(bytes.TrimRight(head, " ")) != "{" {
			return nil, cmp.Or(err, s.damaged("not the start of a snapshots file"))
		}
	}
	text, err := s.read()
	if err != nil {
		return nil, err
	}
	if string(text) == "}" && !s.more {
		return nil, s.end()
	}
	if s.n > 2 && !s.more {
		return nil, s.damaged("an entry follows the last one")
	}
	text, s.more = withoutComma(text)
	return text, nil
}

// withoutComma is a line without its comma, and the spaces that may stand before that.
func withoutComma(text []byte) (entry []byte, had bool) {
	if entry, had := bytes.CutSuffix(text, []byte(",")); had {
		return bytes.TrimRight(entry, " "), true
	}
	return text, false
}

// end makes sure that nothing follows.
func (s *lineReader) end() error {
	_, err := s.r.ReadByte()
	if err == nil {
		return s.damaged("bytes follow the end")
	}
	return err
}

func (s *lineReader) damaged(what string) error {
	return damaged("snapshots, line %d: %s", s.n, what)
}

// read returns one line without its line break, valid until the next call.
func (s *lineReader) read() ([]byte, error) {
	s.n++
	part, err := s.r.ReadSlice('\n')
	if err == nil {
		return part[:len(part)-1], nil
	}
	s.buf = s.buf[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		if s.buf = append(s.buf, part...); len(s.buf) > maxLine {
			return nil, s.damaged("longer than any record")
		}
		part, err = s.r.ReadSlice('\n')
	}
	if errors.Is(err, io.EOF) {
		return nil, s.damaged("the file is cut short")
	}
	if err != nil {
		return nil, fmt.Errorf("snapshots, line %d: %w", s.n, err)
	}
	s.buf = append(s.buf, part...)
	return s.buf[:len(s.buf)-1], nil
}

// parseLine reads the part of an entry that we wrote: the key and the owned fields.
func parseLine(text []byte) (l line, ok bool) {
	l.text = text
	c := cut{rest: text}
	key := c.text()
	c.literal(":")
	l.value = c.rest
	c.literal(`{"run_id":`)
	c.text()
	c.literal(`,"stage":`)
	c.text()
	if bytes.HasPrefix(c.rest, []byte(`,"timestamp":`)) { // absent if it is not known
		c.literal(`,"timestamp":`)
		c.text()
	}
	c.literal(`,"snapshot_seq":`)
	seq := c.number()
	if !c.bad && !bytes.HasPrefix(c.rest, []byte(",")) && string(c.rest) != "}" {
		c.bad = true
	}
	l.key, l.seq, l.tail = cohort.Key(key), cohort.Seq(seq), c.rest
	return l, !c.bad && text[len(text)-1] == '}'
}

// cut takes a text apart from its beginning. After the first unexpected byte it stays bad.
type cut struct {
	rest []byte
	bad  bool
}

func (c *cut) literal(s string) {
	rest, ok := bytes.CutPrefix(c.rest, []byte(s))
	c.rest, c.bad = rest, c.bad || !ok
}

// text decodes a JSON string, and accepts only the spelling of jsonscan.Quote.
func (c *cut) text() string {
	end := quotedEnd(c.rest)
	if c.bad || end < 0 || !json.Valid(c.rest[:end]) {
		c.bad = true
		return ""
	}
	quoted := c.rest[:end]
	s := jsonscan.Text(quoted)
	c.rest, c.bad = c.rest[end:], !bytes.Equal(jsonscan.Quote(s), quoted)
	return s
}

// quotedEnd is the index after the string that b starts with, or -1.
func quotedEnd(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return -1
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func (c *cut) number() uint64 {
	n := 0
	for n < len(c.rest) && '0' <= c.rest[n] && c.rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseUint(string(c.rest[:n]), 10, 63)
	if err != nil || c.rest[0] == '0' {
		c.bad = true
	}
	c.rest = c.rest[n:]
	return v
}
