package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/terminal"
)

// format is how a list is printed.
type format struct{ json, csv bool }

func (f format) validate() error {
	if f.json && f.csv {
		return usageError{errors.New("--json and --csv exclude each other")}
	}
	return nil
}

// screen tells whether standard output is a terminal, or is drawn on one, and how wide that is.
func (a *app) screen() (width int, ok bool) {
	if a.frame > 0 {
		return a.frame, true
	}
	if !isTerminal(a.stdout) {
		return 0, false
	}
	width, _ = terminalSize(a.stdout)
	return width, true
}

// terminalSize is the size of a terminal. COLUMNS and LINES go before what the terminal says, which may be nothing.
func terminalSize(w io.Writer) (width, height int) {
	if o, is := w.(output); is {
		w = o.Writer
	}
	if f, is := w.(*os.File); is {
		width, height, _ = term.GetSize(int(f.Fd())) // where that fails, both are 0
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(os.Getenv(name))
		return max(n, 0)
	}
	return cmp.Or(number("COLUMNS"), width, 80), cmp.Or(number("LINES"), height, 24)
}

// listWriter prints rows of cells.
type listWriter struct {
	out   *bufio.Writer
	names []string
	texts []bool // which of them have columns of texts
	shown bool   // on a terminal, which no character of a record may command
	write func(*listWriter, []query.Cell) error
}

// newList prints lines as the format has them, or tab-separated ones. There is a line of names first, but in JSON.
func (a *app) newList(out *bufio.Writer, f format, names []string, ans *answer) (*listWriter, error) {
	_, shown := a.screen()
	l := &listWriter{out, names, nil, shown, (*listWriter).tabs}
	for _, name := range names {
		l.texts = append(l.texts, ans.hasTexts(name))
	}
	switch {
	case f.json:
		l.write = (*listWriter).object
		return l, nil
	case f.csv:
		l.write = (*listWriter).commas
		for i, name := range names {
			l.field(i, name)
		}
	default:
		for i, name := range names {
			l.tab(i, terminal.Field(name))
		}
	}
	return l, l.out.WriteByte('\n')
}

func (l *listWriter) row(cells []query.Cell) error { return l.write(l, cells) }

func (l *listWriter) tab(i int, text string) {
	if i > 0 {
		l.out.WriteByte('\t') // a bufio.Writer keeps its first error
	}
	l.out.WriteString(text)
}

// tabs tells NULL, which is empty, from an empty text, which is "".
func (l *listWriter) tabs(cells []query.Cell) error {
	for i, c := range cells {
		l.tab(i, fieldOf(c, l.texts[i]))
	}
	return l.out.WriteByte('\n')
}

// fieldOf is a cell in a tab-separated line: NULL is empty, and a text is a JSON string where it would not show as itself, or is empty. It does not if it
// would read as a number, a bool, null, a list or an object in a column that is not of texts.
func fieldOf(c query.Cell, texts bool) string {
	text := c.Text()
	if text == "" && !c.IsNull() {
		return `""`
	}
	j := c.JSON()
	switch {
	case j[0] == '{' || j[0] == '[':
		return terminal.Line(text)
	case j[0] == '"' && !texts && isValue(text):
		return terminal.Line(string(j))
	}
	return terminal.Field(text)
}

// isValue tells whether a text reads as a value that is no text.
func isValue(text string) bool { return text[0] != '"' && json.Valid([]byte(text)) }

func (l *listWriter) field(i int, text string) {
	if i > 0 {
		l.out.WriteByte(',')
	}
	if l.shown {
		text = terminal.Line(text)
	}
	writeField(l.out, text)
}

func (l *listWriter) commas(cells []query.Cell) error {
	for i, c := range cells {
		if c.IsNull() && len(cells) > 1 {
			if i > 0 {
				l.out.WriteByte(',')
			}
			continue
		}
		l.field(i, c.Text())
	}
	return l.out.WriteByte('\n')
}

func (l *listWriter) object(cells []query.Cell) error {
	line := l.out.AvailableBuffer()
	for i, c := range cells {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		line = append(append(append(line, sep), jsonscan.Quote(l.names[i])...), ':')
		line = c.AppendJSON(line)
	}
	if len(cells) == 0 {
		line = append(line, '{')
	}
	line = append(line, '}')
	if l.shown {
		line = []byte(terminal.Line(string(line)))
	}
	_, err := l.out.Write(append(line, '\n'))
	return err
}

// On a terminal a list is a table. Its columns are chosen by its first rows.
const (
	sampleRows     = 200
	mostCandidates = 48 // more have no room anywhere
	mostNumber     = 10
	mostText       = 24
)

// tableColumn is a column of a table.
type tableColumn struct {
	name  string
	group string // what stands above it
	must  bool   // it stands there whether or not it fits
	right bool
	texts bool
	width int
}

// printTable prints what the answer finds as a table that fits the terminal. must are columns that it has, and want those that it may have.
func printTable(ctx context.Context, out *bufio.Writer, ans *answer, width int, must, want []string, chosen bool) (rows int64, err error) {
	names := slices.Clone(must)
	for _, name := range want[:min(len(want), mostCandidates)] {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var sample []query.Row
	err = ans.rows(ctx, names, sampleRows, func(r query.Row) error {
		sample = append(sample, r)
		return nil
	})
	if err != nil {
		return 0, err
	}
	columns := make([]tableColumn, len(names))
	for i, name := range names {
		columns[i] = columnOf(tableColumn{name: name, must: i < len(must), texts: ans.hasTexts(name)}, chosen, sample, i)
	}
	marked := len(ans.src.Fresh) > 0
	if marked {
		width -= len("unfolded") + 2
	}
	shown := fit(columns, width)
	cells := len(shown)
	if marked {
		cells++
	}
	t := &tableWriter{out: out, widths: make([]int, cells), rights: make([]bool, cells)}
	line := make([]string, cells)
	for _, head := range headOf(columns, shown) {
		if marked {
			head = append(head, "")
		}
		if err := t.add(head); err != nil {
			return 0, err
		}
	}
	for i, at := range shown {
		t.widths[i], t.rights[i] = columns[at].width, columns[at].right
	}
	if err := t.begin(); err != nil {
		return 0, err
	}
	print := func(r query.Row, at []int) error {
		rows++
		for i := range shown {
			line[i] = columns[shown[i]].cell(r.Cells[at[i]], chosen)
		}
		if marked {
			line[len(shown)] = ""
		}
		if r.Fresh >= 0 {
			line[len(shown)] = "unfolded"
		}
		return t.line(line)
	}
	if len(sample) < sampleRows {
		for _, r := range sample {
			if err := print(r, shown); err != nil {
				return rows, err
			}
		}
	} else {
		var few []string
		at := make([]int, len(shown))
		for i, n := range shown {
			few, at[i] = append(few, names[n]), i
		}
		if err := ans.rows(ctx, few, 0, func(r query.Row) error { return print(r, at) }); err != nil {
			return rows, err
		}
	}
	hidden := 0
	if !chosen && rows > 0 {
		for _, name := range ans.src.Used() {
			if !slices.ContainsFunc(shown, func(i int) bool { return names[i] == name }) {
				hidden++
			}
		}
		if ans.src.HasExtra() {
			hidden++ // _extra
		}
	}
	return rows, foot(out, rows, hidden)
}

// columnOf measures a column.
func columnOf(c tableColumn, chosen bool, sample []query.Row, at int) tableColumn {
	if group, _, ok := strings.Cut(c.name, "."); ok && (group == "metrics" || group == "params" || group == "tags") {
		c.group = group
	}
	c.width = terminal.Width(c.head())
	numbers, texts := 0, 0
	for _, r := range sample {
		cell := r.Cells[at]
		switch {
		case cell.IsNull():
		case cell.IsNumber():
			numbers++
		default:
			texts++
		}
		c.width = max(c.width, terminal.Width(c.cell(cell, chosen)))
	}
	c.right = numbers > texts
	if numbers+texts == 0 && !c.must {
		c.width = 0 // it has nothing to show
	}
	return c
}

// head is the name under its group.
func (c tableColumn) head() string {
	switch {
	case c.name == "timestamp":
		return "timestamp (UTC)"
	case c.group != "":
		return terminal.Line(c.name[len(c.group)+1:])
	}
	return terminal.Line(c.name)
}

// fit chooses columns from the left on until the line is full. A narrower one may stand in the room that is left.
func fit(columns []tableColumn, width int) (shown []int) {
	left := width
	for i, c := range columns {
		if c.must {
			shown, left = append(shown, i), left-c.width-2
		}
	}
	group := ""
	for i, c := range columns {
		w := c.width
		if c.group != group {
			w = max(w, len(c.group)) // the group stands above its first column
		}
		if c.must || c.width == 0 || w > left {
			continue
		}
		columns[i].width, group = w, c.group
		shown, left = append(shown, i), left-w-2
	}
	slices.SortFunc(shown, func(i, j int) int {
		if columns[i].must != columns[j].must {
			if columns[i].must {
				return -1
			}
			return 1
		}
		return cmp.Compare(i, j)
	})
	return shown
}

// headOf is one line of names, or two: groups and names.
func headOf(columns []tableColumn, shown []int) [][]string {
	groups, names, any, last := make([]string, len(shown)), make([]string, len(shown)), false, ""
	for i, at := range shown {
		c := columns[at]
		names[i] = c.head()
		if c.group != last {
			groups[i], last = c.group, c.group
			columns[at].width = max(c.width, len(c.group))
		}
		any = any || c.group != ""
	}
	if !any {
		return [][]string{names}
	}
	return [][]string{groups, names}
}

// cell is a value in a table: "-" for NULL. A long one is cut, unless it was asked for by its name.
func (c tableColumn) cell(v query.Cell, chosen bool) string {
	if v.IsNull() {
		return "-"
	}
	if t, is := v.Time(); is {
		return t.Format("2006-01-02 15:04:05")
	}
	whole := c.must && chosen
	text := v.Text()
	if v.IsNumber() && whole {
		return text
	}
	if v.IsNumber() {
		return terminal.CutNumber(text, mostNumber)
	}
	text = fieldOf(v, c.texts)
	if text == "-" {
		text = `"-"`
	}
	switch {
	case c.name == "run_id": // it is what other commands are given
		return terminal.CutMiddle(text, mostWidth)
	case whole:
		return terminal.Cut(text, mostWidth)
	}
	return terminal.Cut(text, mostText)
}

// foot says how many rows there are, and how many columns of the root are not among those above.
func foot(out *bufio.Writer, rows int64, hidden int) error {
	text := "(" + strconv.FormatInt(rows, 10) + " rows"
	if rows == 1 {
		text = "(1 row"
	}
	switch {
	case hidden == 1:
		text += "; 1 more column: --columns '*'"
	case hidden > 0:
		text += "; " + strconv.Itoa(hidden) + " more columns: --columns '*'"
	}
	_, err := out.WriteString(text + ")\n")
	return err
}
