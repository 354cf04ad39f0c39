package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/internal/jsonscan"
)

// TableFile is a CSV file: a line of column names, then a row a line, as RFC 4180 has them. Name stands in messages.
//
// It is UTF-8, with a byte order mark or without. A cell that is a number as JSON spells it is that number, byte for byte; an empty one is absent; all
// else is text. NaN, Infinity and -Infinity are absent and counted, and so are nan, inf and -inf where the column is a metric. A first column without a name,
// in which pandas and R number the rows, is left out; that is told if it has anything else.
type TableFile struct {
	Name      string
	Data      io.Reader
	Delimiter rune // If zero, a comma.
}

// LinesFile is a file with a JSON object on each line. Name stands in messages. NaN, Infinity and -Infinity become null and are counted.
type LinesFile struct {
	Name string
	Data io.Reader
}

// maxLine bounds a line of a file, above the largest record.
const maxLine = 64 << 20

// textOf looks at the first bytes of a file that is to be text, and drops a byte order mark. want is what the file is said to be.
func textOf(data io.Reader, want string) (*bufio.Reader, error) {
	r := bufio.NewReaderSize(data, 64<<10)
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")), len(head) > 1 && (head[0] == 0 || head[1] == 0):
		return nil, fmt.Errorf("it is UTF-16, and not %s in UTF-8: iconv -f UTF-16 -t UTF-8 FILE changes that", want)
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return nil, fmt.Errorf("it is compressed by gzip, and not %s: gunzip FILE", want)
	case bytes.HasPrefix(head, []byte("PAR1")):
		return nil, fmt.Errorf("it is Parquet, and not %s: compactd import parquet FILE", want)
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		r.Discard(3)
	}
	return r, nil
}

// table reads the rows of one CSV file.
type table struct {
	r       *csv.Reader
	names   []string
	first   int  // the first column that is not left out
	rows    int  // that were read
	more    bool // a column that is left out has more than the numbers of rows
	metrics []bool
}

// openTable reads the names of the columns.
func openTable(file TableFile, fields map[string]string) (*table, error) {
	text, err := textOf(file.Data, "CSV")
	if err != nil {
		return nil, err
	}
	t := &table{r: csv.NewReader(&returns{r: text})}
	t.r.FieldsPerRecord = -1
	if file.Delimiter != 0 {
		t.r.Comma = file.Delimiter
	}
	if t.names, err = t.r.Read(); err == io.EOF {
		return nil, errors.New("it is empty: the first line must name the columns")
	} else if err != nil {
		return nil, fmt.Errorf("the names of the columns: %w", err)
	}
	if len(t.names) == 1 {
		for _, d := range []string{";", "\t", "|"} {
			if t.r.Comma != rune(d[0]) && strings.Contains(t.names[0], d) {
				return nil, fmt.Errorf("it has one column, %q: is --delimiter %q meant?", t.names[0], d)
			}
		}
	}
	seen := map[string]int{}
	for i, name := range t.names {
		name = strings.ReplaceAll(name, standIn, "\r")
		t.names[i] = name
		switch at, twice := seen[name]; {
		case !utf8.ValidString(name):
			return nil, fmt.Errorf("the name of column %d is not UTF-8: iconv -f LATIN1 -t UTF-8 FILE changes a file that is Latin-1", i+1)
		case name == "" && i == 0 && len(t.names) > 1:
			t.first = 1
		case name == "":
			return nil, fmt.Errorf("column %d has no name", i+1)
		case twice:
			return nil, fmt.Errorf("columns %d and %d are both named %q: which one counts? Rename one of them", at+1, i+1, name)
		}
		seen[name] = i
		field, ok := fields[name]
		if !ok {
			field = name
		}
		t.metrics = append(t.metrics, strings.HasPrefix(field, "metrics."))
	}
	return t, nil
}

// rowError is a row that could not be read. The next one can be.
type rowError struct{ error }

// next is the next row as a JSON object, and how many NaN and infinities it has. It is io.EOF at the end.
func (t *table) next() (row []byte, line, nonFinite int, err error) {
	cells, err := t.r.Read()
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse):
		return nil, parse.StartLine, 0, rowError{parse.Err}
	case err != nil:
		return nil, 0, 0, err
	}
	line, _ = t.r.FieldPos(0)
	t.rows++
	if t.first > 0 && cells[0] != "" && cells[0] != strconv.Itoa(t.rows-1) && cells[0] != strconv.Itoa(t.rows) {
		t.more = true
	}
	if len(cells) != len(t.names) {
		return nil, line, 0, rowError{fmt.Errorf("has not as many cells as there are columns (%d)", len(t.names))}
	}
	var f tracker.Fields
	for i, cell := range cells {
		cell = strings.ReplaceAll(cell, standIn, "\r")
		switch {
		case i < t.first || cell == "":
		case !utf8.ValidString(cell):
			return nil, line, 0, rowError{errors.New("is not UTF-8: iconv -f LATIN1 -t UTF-8 FILE changes a file that is Latin-1")}
		case isNaN(cell, t.metrics[i]):
			nonFinite++
		default:
			f.Scalar(t.names[i], cell)
		}
	}
	return f.Bytes(), line, nonFinite, nil
}

// isNaN tells whether a cell says that it is no number.
func isNaN(cell string, metric bool) bool {
	switch cell {
	case "NaN", "Infinity", "-Infinity":
		return true
	case "nan", "inf", "-inf":
		return metric
	}
	return false
}

// standIn stands for a carriage return within quotes: the reader of CSV would drop it before a line feed. No UTF-8 has this byte.
const standIn = "\xff"

// returns puts standIn in the place of each carriage return within quotes.
type returns struct {
	r      io.Reader
	quoted bool
}

func (r *returns) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	for i, c := range p[:n] {
		switch {
		case c == '"':
			r.quoted = !r.quoted
		case c == '\r' && r.quoted:
			p[i] = standIn[0]
		case c == standIn[0]:
			return 0, errors.New("it has bytes that are not UTF-8: iconv -f LATIN1 -t UTF-8 FILE changes a file that is Latin-1")
		}
	}
	return n, err
}

// readTable reads one CSV file. n is its number among all files of rows.
func (f *files) readTable(ctx context.Context, n int, file TableFile) error {
	failed := func(place string, err error) error { return &FileError{file.Name, place, err} }
	t, err := openTable(file, f.src.fields())
	if err != nil {
		return failed("line 1", err)
	}
	for number := 1; ; number++ {
		row, line, nonFinite, err := t.next()
		var bad rowError
		switch {
		case err == io.EOF:
			if t.more {
				f.leave("the first column has no name: give it one in the first line of the file, such as run_id", position{file: n, where: f.at(file.Name, "column 1")})
			}
			return ctx.Err()
		case errors.As(err, &bad):
			f.report.Rows++
			f.leave(bad.Error(), position{file: n, where: f.row(file.Name, line)})
			continue
		case errors.Join(err, ctx.Err()) != nil:
			return failed(fmt.Sprintf("row %d", number), errors.Join(err, ctx.Err()))
		}
		f.take(row, nonFinite, n, f.row(file.Name, line))
	}
}

// take takes one row of a text file.
func (f *files) take(row []byte, nonFinite, n int, where string) {
	f.report.Rows++
	f.report.NonFinite += nonFinite
	it, err := f.names.rowItem(row)
	f.add(it, err, position{file: n, where: where})
}

func (f *files) row(file string, line int) string { return f.at(file, fmt.Sprintf("line %d", line)) }

func (f *files) at(file, what string) string {
	return place(file, len(f.src.Tables)+len(f.src.Lines), what)
}

// readLines reads one file of JSON objects.
func (f *files) readLines(ctx context.Context, n int, file LinesFile) error {
	failed := func(line int, err error) error { return &FileError{file.Name, fmt.Sprintf("line %d", line), err} }
	r, err := textOf(file.Data, "JSON")
	if err != nil {
		return failed(1, err)
	}
	for number := 1; ; number++ {
		line, err := tracker.Line(r, maxLine)
		isLong := errors.Is(err, tracker.ErrLong)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, io.EOF) && !isLong || ctx.Err() != nil {
			return failed(number, errors.Join(err, ctx.Err()))
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		where := f.row(file.Name, number)
		row, nonFinite, err := objectOf(line)
		if isLong {
			err = errLong
		}
		if err != nil {
			f.report.Rows++
			f.leave(err.Error(), position{file: n, where: where})
			continue
		}
		f.take(row, nonFinite, n, where)
	}
}

var errLong = fmt.Errorf("is longer than %d bytes", maxLine)

// objectOf is a line as a JSON object, and how many tokens in it became null.
func objectOf(line []byte) (row []byte, nonFinite int, err error) {
	switch {
	case !utf8.Valid(line):
		return nil, 0, errors.New("is not UTF-8")
	case jsonscan.Deeper(line, maxNested):
		return nil, 0, fmt.Errorf("is nested deeper than %d levels", maxNested)
	}
	row, nonFinite = jsonscan.Finite(line)
	if !json.Valid(row) {
		return nil, 0, errors.New("is not JSON")
	}
	return row, nonFinite, nil
}

// maxNested bounds what is parsed; a record is checked again.
const maxNested = 500
