package main

import (
	"bufio"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/compactor/view/sqlite"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/terminal"
)

// result is what a query gives.
type result struct{ rows *sql.Rows }

// each calls do with the values of each row: nil, int64, float64, bool, string or []byte.
func (r result) each(do func(values []any) error) error {
	types, err := r.rows.ColumnTypes()
	if err != nil {
		return err
	}
	values, into := make([]any, len(types)), make([]any, len(types))
	for i := range values {
		into[i] = &values[i]
	}
	for r.rows.Next() {
		if err := r.rows.Scan(into...); err != nil {
			return err
		}
		for i, t := range types {
			if n, is := values[i].(int64); is && t.DatabaseTypeName() == "BOOLEAN" {
				values[i] = n != 0
			}
		}
		if err := do(values); err != nil {
			return err
		}
	}
	return r.rows.Err()
}

// resultWriter is what prints a result.
func (a *app) resultWriter(asJSON, asCSV, asMarkdown bool) (func(io.Writer, result) error, error) {
	formats := 0
	for _, is := range []bool{asJSON, asCSV, asMarkdown} {
		if is {
			formats++
		}
	}
	var write func(*bufio.Writer, result) error
	switch {
	case formats > 1:
		return nil, usageError{errors.New("--json, --csv and --markdown exclude each other")}
	case asJSON:
		write = writeJSONRows
	case asMarkdown:
		write = writeMarkdown
	case !asCSV && isTerminal(a.stdout):
		write = writeTable
	default:
		write = writeCSV
	}
	return func(to io.Writer, r result) error {
		out := bufio.NewWriterSize(to, 64<<10)
		if err := write(out, r); err != nil {
			out.Flush() // what was before that; a second error says no more
			return err
		}
		return out.Flush()
	}, nil
}

func isTerminal(w io.Writer) bool {
	if o, is := w.(output); is {
		w = o.Writer
	}
	f, is := w.(*os.File)
	return is && term.IsTerminal(int(f.Fd()))
}

// valueText is a value as text; NULL is empty.
func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return hex.EncodeToString(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// writeCSV tells NULL, which is empty, from an empty text, which is "". A line of one empty field would be no line to most readers, so NULL is "", too,
// where there is one column only.
func writeCSV(out *bufio.Writer, r result) error {
	names, err := r.rows.Columns()
	if err != nil {
		return err
	}
	line := make([]any, len(names))
	for i, name := range names {
		line[i] = name
	}
	write := func(values []any) error {
		for i, v := range values {
			if i > 0 {
				out.WriteByte(',') // a bufio.Writer keeps its first error
			}
			if v != nil || len(values) == 1 {
				writeField(out, valueText(v))
			}
		}
		return out.WriteByte('\n')
	}
	if err := write(line); err != nil {
		return err
	}
	return r.each(write)
}

// writeField writes a field as RFC 4180 has it.
func writeField(out *bufio.Writer, text string) {
	out.Write(found.AppendField(out.AvailableBuffer(), text))
}

func writeJSONRows(out *bufio.Writer, r result) error {
	names, err := r.rows.Columns()
	if err != nil {
		return err
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) { // programs that read such an object see one of them
			return fmt.Errorf("%w: two columns of the result have the name %q: give one another name with AS", sqlite.ErrStatement, name)
		}
	}
	return r.each(func(values []any) error {
		line := out.AvailableBuffer()
		for i, v := range values {
			sep := byte(',')
			if i == 0 {
				sep = '{'
			}
			line = append(append(append(line, sep), jsonscan.Quote(names[i])...), ':')
			line = append(line, jsonValue(names[i], v)...)
		}
		_, err := out.Write(append(line, "}\n"...))
		return err
	})
}

func jsonValue(name string, v any) []byte {
	switch v := v.(type) {
	case nil:
		return []byte("null")
	case string:
		if (name == "snapshot" || name == "_extra") && json.Valid([]byte(v)) {
			return []byte(v)
		}
		return jsonscan.Quote(strings.ToValidUTF8(v, "\ufffd"))
	case []byte:
		return jsonscan.Quote(valueText(v))
	case float64:
		switch { // JSON has no other words for these; SQLite has no NaN
		case math.IsInf(v, 1):
			return []byte("1e999")
		case math.IsInf(v, -1):
			return []byte("-1e999")
		}
	}
	return []byte(valueText(v))
}

func writeMarkdown(out *bufio.Writer, r result) error {
	names, err := r.rows.Columns()
	if err != nil {
		return err
	}
	cell := func(text string) string { return strings.ReplaceAll(terminal.Line(text), "|", `\|`) }
	for _, name := range names {
		fmt.Fprintf(out, "| %s ", cell(name))
	}
	fmt.Fprintf(out, "|\n%s|\n", strings.Repeat("|---", len(names)))
	return r.each(func(values []any) error {
		for _, v := range values {
			fmt.Fprintf(out, "| %s ", cell(valueText(v)))
		}
		_, err := fmt.Fprintln(out, "|")
		return err
	})
}

// The widths of a table are those of its first rows. Longer cells are cut, so that a line stays a line.
const (
	widthRows = 200
	mostWidth = 40
)

// tableWriter aligns columns.
type tableWriter struct {
	out    *bufio.Writer
	widths []int
	rights []bool // columns of numbers
	first  [][]string
	begun  bool // the first lines are printed, and the widths stay
}

func writeTable(out *bufio.Writer, r result) error {
	names, err := r.rows.Columns()
	if err != nil {
		return err
	}
	t := &tableWriter{out: out, widths: make([]int, len(names)), rights: make([]bool, len(names))}
	header := make([]string, len(names))
	for i, name := range names {
		header[i] = terminal.Line(name)
	}
	if err := t.add(header); err != nil {
		return err
	}
	n := 0
	err = r.each(func(values []any) error {
		line := make([]string, len(values))
		for i, v := range values {
			switch v.(type) {
			case int64, float64:
				t.rights[i] = true
			}
			line[i] = cut(terminal.Line(valueText(v)))
		}
		n++
		return t.add(line)
	})
	if err = errors.Join(err, t.begin()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "(%d rows)\n", n)
	return err
}

// cut shortens a long text.
func cut(text string) string {
	return terminal.Cut(text, mostWidth)
}

func (t *tableWriter) add(line []string) error {
	if t.begun {
		return t.line(line)
	}
	t.first = append(t.first, line)
	for i, text := range line {
		t.widths[i] = max(t.widths[i], terminal.Width(text))
	}
	if len(t.first) > widthRows {
		return t.begin()
	}
	return nil
}

// begin prints the lines that waited.
func (t *tableWriter) begin() error {
	waiting := t.first
	t.first, t.begun = nil, true
	for _, line := range waiting {
		if err := t.line(line); err != nil {
			return err
		}
	}
	return nil
}

func (t *tableWriter) line(line []string) error {
	var b strings.Builder
	for i, text := range line {
		if i > 0 {
			b.WriteString("  ")
		}
		b.WriteString(terminal.Pad(text, t.widths[i], t.rights[i]))
	}
	_, err := fmt.Fprintln(t.out, strings.TrimRight(b.String(), " "))
	return err
}
