package index

import (
	"errors"
	"io"

	"github.com/parquet-go/parquet-go"
)

// scanBatch is how many values of a column are decoded at once.
const scanBatch = 256

// chunk reads the values of one column chunk in their order.
type chunk struct {
	reader parquet.ColumnChunkValueReader
	buf    []parquet.Value
	at, n  int
}

func openChunk(c parquet.ColumnChunk) (ch *chunk, err error) {
	defer guard(&err)
	return &chunk{reader: parquet.NewColumnChunkValueReader(c), buf: make([]parquet.Value, scanBatch)}, nil
}

// next returns the next value. Its bytes are valid until the next call, as they lie in the page.
func (c *chunk) next() (parquet.Value, error) {
	v, err := c.peek()
	c.at++
	return v, err
}

// peek returns the value that next will return.
func (c *chunk) peek() (parquet.Value, error) {
	if c.at >= c.n {
		if err := c.fill(); err != nil {
			return parquet.Value{}, err
		}
	}
	return c.buf[c.at], nil
}

// batch returns values that follow, at least one. They are valid until the next call.
func (c *chunk) batch() ([]parquet.Value, error) {
	if _, err := c.peek(); err != nil {
		return nil, err
	}
	values := c.buf[c.at:c.n]
	c.at = c.n
	return values, nil
}

// end makes sure that all values were read.
func (c *chunk) end() error {
	_, err := c.peek()
	if err == nil {
		return errManyValues
	}
	if errors.Is(err, errFewValues) {
		return nil
	}
	return err
}

var (
	errFewValues  = errors.New("a column has fewer values than its row group has rows")
	errManyValues = damaged("a column has more values than its row group has rows")
)

// fill replaces the values that were read by the following ones, which all lie in one page.
func (c *chunk) fill() (err error) {
	defer guard(&err)
	c.at, c.n = 0, 0
	c.n, err = c.reader.ReadValues(c.buf)
	if c.n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return damaged("%w", errFewValues)
	}
	return libraryError("read column", err)
}

// close frees the page that next is in. The source of an open chunk is only read, so there is no
// error that matters.
func (c *chunk) close() (err error) {
	defer guard(&err)
	return c.reader.Close()
}

// scanner reads some columns of one row group side by side.
type scanner struct {
	chunks []*chunk
	left   int64
	row    parquet.Row
}

// scan starts to read the columns at these places of a row group.
func scan(g parquet.RowGroup, places []int) (*scanner, error) {
	s := &scanner{left: g.NumRows(), row: make(parquet.Row, len(places))}
	for _, p := range places {
		c, err := openChunk(g.ColumnChunks()[p])
		if err != nil {
			s.close()
			return nil, err
		}
		s.chunks = append(s.chunks, c)
	}
	return s, nil
}

// next returns the next row, and io.EOF after the last one. The row and its bytes are valid until
// the next call.
func (s *scanner) next() (parquet.Row, error) {
	if s.left == 0 {
		return nil, s.end()
	}
	s.left--
	for i, c := range s.chunks {
		v, err := c.next()
		if err != nil {
			return nil, err
		}
		s.row[i] = v
	}
	return s.row, nil
}

// end makes sure that no column has more values. If one had, its values would stand in the wrong rows.
func (s *scanner) end() error {
	for _, c := range s.chunks {
		if err := c.end(); err != nil {
			return err
		}
	}
	return io.EOF
}

func (s *scanner) close() {
	for _, c := range s.chunks {
		c.close()
	}
}
