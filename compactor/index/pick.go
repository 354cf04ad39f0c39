package index

import (
	"errors"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// Rows is how many rows the group has.
func (g Group) Rows() int64 { return g.file.file.Metadata().RowGroups[g.number].NumRows }

// File is the file that the group is part of.
func (g Group) File() *File { return g.file }

// Each calls do with the number of each row of the group and its values of these columns, in their order, which are valid during the call. A column
// that the file does not have is NULL. A time that version 1 had to invent is NULL, too.
func (g Group) Each(columns []string, do func(row int64, values []Value) error) error {
	p := g.pick(columns)
	row := int64(-1)
	return each(g.rowGroup(), p.places, func(r parquet.Row) error {
		row++
		return do(row, p.of(r))
	})
}

// At is Each for the rows with these numbers, which ascend. Pages between them are not taken apart.
func (g Group) At(columns []string, rows []int64, do func(row int64, values []Value) error) (err error) {
	if int64(len(rows)) > g.Rows()/16 { // a cursor takes longer for each row, and less for each that it passes over
		return g.someOf(columns, rows, do)
	}
	p := g.pick(columns)
	cursors := make([]*cursor, len(p.places))
	defer func() {
		for _, c := range cursors {
			if c != nil {
				c.close()
			}
		}
	}()
	for i, place := range p.places {
		if cursors[i], err = openCursor(g.rowGroup().ColumnChunks()[place]); err != nil {
			return err
		}
	}
	r := make(parquet.Row, len(p.places))
	for _, row := range rows {
		for i, c := range cursors {
			if r[i], err = c.value(row); err != nil {
				return err
			}
		}
		if err := do(row, p.of(r)); err != nil {
			return err
		}
	}
	return nil
}

// someOf reads all rows, and passes on some of them.
func (g Group) someOf(columns []string, rows []int64, do func(row int64, values []Value) error) error {
	at := 0
	err := g.Each(columns, func(row int64, values []Value) error {
		if at == len(rows) {
			return errStopped
		}
		if row != rows[at] {
			return nil
		}
		at++
		return do(row, values)
	})
	if err == errStopped {
		return nil
	}
	return err
}

func (g Group) rowGroup() parquet.RowGroup { return g.file.file.RowGroups()[g.number] }

// Words are the texts that a column has in the group, each once. ok is false for a column without a dictionary, and for one that may be NULL.
func (g Group) Words(column string) (words []string, ok bool, err error) {
	defer guard(&err)
	if column != columnCohort && column != columnPhase {
		return nil, false, nil
	}
	pages, ok := g.rowGroup().ColumnChunks()[g.file.layout.place[column]].Pages().(*parquet.FilePages)
	if !ok {
		return nil, false, nil
	}
	defer pages.Close()
	d, err := pages.ReadDictionary()
	if err != nil {
		return nil, false, libraryError("read a dictionary", err)
	}
	if d == nil {
		return nil, false, nil
	}
	for i := range d.Len() {
		words = append(words, string(d.Index(int32(i)).ByteArray()))
	}
	return words, true, nil
}

// picked says where the values of columns stand among those that are read.
type picked struct {
	file   *File
	places []int // that are read
	at     []int // for each of them, its number among the columns; those that only tell whether a time is made up come last and have none
	time   int   // the column timestamp of a file of version 1 among the columns, else -1
	values []Value
}

func (g Group) pick(columns []string) *picked {
	f := g.file
	places, exist := f.places(columns)
	p := &picked{file: f, places: places, time: -1, values: make([]Value, len(columns))}
	for from := 0; len(p.at) < len(exist); { // a column may be asked for twice
		i := from + slices.Index(columns[from:], exist[len(p.at)])
		p.at, from = append(p.at, i), i+1
	}
	if f.layout.version < withDigest {
		if p.time = slices.Index(columns, columnTimestamp); p.time >= 0 {
			p.places = append(p.places, f.layout.place[columnStream], f.layout.place[columnStamp])
		}
	}
	return p
}

func (p *picked) of(r parquet.Row) []Value {
	for i, at := range p.at {
		p.values[at] = cellValue(r[i])
	}
	if p.time >= 0 {
		stream, stamp := r[len(p.at)], cohort.Stamp(r[len(p.at)+1].Int64())
		if isMadeUp(p.file.layout.version, stream.IsNull(), stamp, p.values[p.time].Int()) {
			p.values[p.time] = Value{}
		}
	}
	return p.values
}

// cursor reads single values of a column chunk, whose rows ascend.
type cursor struct {
	pages    parquet.Pages
	page     parquet.Page
	from, to int64 // the rows of page
	values   parquet.ValueReader
	at       int64 // the row that values yields next
	buf      [16]parquet.Value
}

func openCursor(c parquet.ColumnChunk) (cur *cursor, err error) {
	defer guard(&err)
	return &cursor{pages: c.Pages()}, nil
}

// value is the value of a row. Its bytes are valid until the next call.
func (c *cursor) value(row int64) (v parquet.Value, err error) {
	defer guard(&err)
	for row >= c.to {
		if err := c.next(); err != nil {
			return v, err
		}
	}
	if c.values == nil || row-c.at >= int64(len(c.buf)) {
		c.values, c.at = c.page.Slice(row-c.from, c.to-c.from).Values(), row
	}
	for {
		n, err := c.values.ReadValues(c.buf[:row-c.at+1])
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				return v, damaged("%w", errFewValues)
			}
			return v, libraryError("read column", err)
		}
		if c.at += int64(n); c.at > row {
			return c.buf[n-1], nil
		}
	}
}

// next goes on to the next page.
func (c *cursor) next() error {
	c.release()
	page, err := c.pages.ReadPage()
	if errors.Is(err, io.EOF) {
		return damaged("%w", errFewValues)
	}
	if err != nil {
		return libraryError("read column", err)
	}
	c.page, c.from, c.to = page, c.to, c.to+page.NumRows()
	c.at = c.from
	return nil
}

func (c *cursor) release() {
	if c.page != nil {
		parquet.Release(c.page)
	}
	c.page, c.values = nil, nil
}

func (c *cursor) close() (err error) {
	defer guard(&err)
	c.release()
	return c.pages.Close()
}

// Value is the value of a column, fixed or dynamic, of which s are the latter ones of t. It is NULL if there is no such column.
func (t Typed) Value(s Schema, column string) Value {
	text := func(s string) Value { return Value{Kind: String, text: []byte(s)} }
	number := func(n int64) Value { return Value{Kind: Int, bits: uint64(n)} }
	switch column {
	case columnRunID:
		return text(t.RunID)
	case columnPhase:
		return text(t.Stage)
	case columnCohort:
		return text(string(t.Cohort))
	case columnKey:
		return text(string(t.Key))
	case columnRecordID:
		return text(t.Version.RecordID)
	case columnSeq:
		return number(int64(t.Seq))
	case columnStamp:
		return number(int64(t.Version.Stamp))
	case columnDigest:
		return number(int64(t.Version.Digest))
	case columnTimestamp:
		if t.Time.IsZero() {
			return Value{}
		}
		return number(t.Time.UnixMicro())
	case columnStream:
		return orNull(text(string(t.Stream)))
	case columnWriter:
		return orNull(text(t.Writer))
	case columnExtra:
		return orNull(Value{Kind: String, text: t.Extra})
	}
	if i := find(s, column); i >= 0 {
		return typedCell(t.Values[i])
	}
	return Value{}
}

// orNull is NULL in place of an empty text.
func orNull(v Value) Value {
	if len(v.text) == 0 {
		return Value{}
	}
	return v
}

// typedCell is a value as Typed has it.
func typedCell(v any) Value {
	if v == nil {
		return Value{}
	}
	return cellValue(parquetValue(v))
}
