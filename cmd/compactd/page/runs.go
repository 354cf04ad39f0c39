package page

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/terminal"
)

const (
	defaultColumns = 14
	looksAt        = 60        // columns of which those are chosen
	mostColumns    = 200       // that a page shows
	mostChoices    = 400       // columns that can be ticked
	longestCell    = 120       // bytes of a cell in a list
	manyNames      = 50        // cohorts and stages that a form offers
	mostSorted     = 1_000_000 // row up to which the pages of a sorted list can be turned, as a sort holds in memory what comes before
	deepRows       = 20_000    // beyond so many rows, a sort holds much memory
)

// list is the page of runs.
type list struct {
	chrome
	View            view
	Wrong           string // what is wrong with the expression, or another field
	Hints           []string
	Begins          string // finds the runs whose id begins with what was written instead of an expression
	Why             string // no run is found
	Never           bool   // no fold has made a generation
	Waits           string // what waits for the first fold
	Fresh           string // leads to what is not folded
	Ends            string // where a sorted list does
	Heads           []head
	Rows            []listRow
	Choices         []choice
	LeftOut         int // columns
	Empty           int // of those, columns without a value on this page
	ChoicesLeftOut  int
	Cohorts, Stages []string
	Total           int64
	First, Last     int64
	Pages           []pageLink
	Start           string // leads to the first page
	BySeq           bool   // the rows stand in the order of the index, so that all pages can be turned
	Newest          bool   // first
	CSV             string // leads to all of the list, but not more than can be sorted
	Sorted          bool   // so is the CSV
	Generation      string
	Chart           string
	Limits          []int64
}

type head struct {
	Name, Link, Aria, Mark string
	Number                 bool
}

type listRow struct {
	Key, Link string
	Fresh     bool // no fold has read it
	Cells     []cell
}

type cell struct {
	Head   bool // it names its row
	Text   string
	Full   string // if Text is cut
	Null   bool
	Number bool
	Link   string
}

type choice struct {
	Name, Spelled string
	Chosen        bool
}

type pageLink struct{ Text, Link, Rel string }

// runs shows a list of runs.
func (p *Page) runs(w http.ResponseWriter, r *http.Request) error {
	v, err := viewOf(r)
	if err != nil {
		return err
	}
	if to := ticked(r.URL.Query(), v); to != "" {
		redirect(w, r, to)
		return nil
	}
	if hasEmpty(r.URL.Query()) {
		redirect(w, r, v.list())
		return nil
	}
	b, done, err := p.open(r.Context(), v)
	if err != nil {
		return err
	}
	defer done()
	l := &list{chrome: p.chrome(v, b, "/"), View: v, Generation: generationText(b.Newest.Generation), Limits: []int64{25, fewRows, mostRows}}
	if !slices.Contains(l.Limits, v.Limit) {
		l.Limits = append(l.Limits, v.Limit)
		slices.Sort(l.Limits)
	}
	begin := v
	begin.From = 0
	l.Start = begin.list()
	l.Title = "Runs"
	code := http.StatusOK
	err = p.fill(r.Context(), l, b)
	if is := isWrong(err); is {
		code, l.Wrong, l.Begins, err = http.StatusBadRequest, err.Error(), begins(v), nil
	}
	if err == nil && l.Total == 0 && l.Wrong == "" {
		err = p.explain(r.Context(), l, b)
	}
	if err != nil {
		return b.Doubt(err)
	}
	if err := l.offer(r.Context(), b); err != nil {
		return b.Doubt(err)
	}
	return render(w, r, code, "runs.html", l)
}

// isWrong tells whether the reader has made a mistake.
func isWrong(err error) bool {
	return errors.As(err, new(*query.Error)) || errors.As(err, new(*query.NameError)) || errors.As(err, new(*usageError))
}

// chrome is what stands around a page about a generation.
func (p *Page) chrome(v view, b *reading, section string) chrome {
	c := chrome{Section: section, Root: string(p.Root.Root), Every: v.Every}
	if v.At == 0 && (section == "/" || section == "/chart") {
		c.Again = again(v).at(section)
	}
	if b.Newest.Generation < b.latest && v.At != 0 {
		c.At = generationText(v.At)
		newer := v
		newer.At, newer.From = 0, 0
		text := fmt.Sprintf("This is generation %d; the newest is %d.", b.Newest.Generation, b.latest)
		if v.From > 0 {
			text += " What you page through stays the same."
		}
		c.Notes = append(c.Notes, note{Text: text, Link: newer.at(section), Instead: "Show the newest"})
	}
	if v.Instead != 0 {
		c.Notes = append(c.Notes, note{Text: fmt.Sprintf("This is the newest generation with what is not folded yet, and not generation %d, which was asked for, too.", v.Instead)})
	}
	if b.Damage != nil {
		c.Notes = append(c.Notes, note{Text: "Something is missing of this root, and what is shown is what is left: " + terminal.Line(b.Damage.Error()), Bad: true})
	}
	return c
}

// again is v loaded again now and then, or not any more if it is.
func again(v view) view {
	const every = 10
	if v.Every > 0 {
		v.Every = 0
	} else {
		v.Every = every
	}
	return v
}

// fill asks for the rows.
func (p *Page) fill(ctx context.Context, l *list, b *reading) error {
	q, err := l.View.query(p.Now())
	if err != nil {
		return err
	}
	if q.Columns, err = l.columns(ctx, q, b); err != nil {
		return err
	}
	l.BySeq, l.Newest = seqOrder(q.Sort)
	if !l.BySeq && q.Offset >= mostSorted {
		return usage(fmt.Errorf("a sorted list can be turned to row %s: narrow it down, or sort it the other way", count(mostSorted)))
	}
	if !l.BySeq && q.Offset > deepRows && !l.View.Unfolded { // what is unfolded is looked at alone already
		done, err := p.alone(ctx)
		if err != nil {
			return err
		}
		defer done()
	}
	if l.Total, err = q.Count(ctx, b.Source); err != nil {
		return err
	}
	shown, sort := len(q.Columns), q.Sort
	q.Columns, q.TextBytes = append(q.Columns, "_key"), 20*longestCell
	numbers, others := make([]int, shown), make([]int, shown)
	for row, err := range rowsOf(ctx, q, l.Total, b.Source) {
		if err != nil {
			return err
		}
		key := row.Cells[shown].Text()
		lr := listRow{Key: key, Link: l.View.run(key), Fresh: row.Fresh >= 0}
		for i, c := range row.Cells[:shown] {
			of := cellOf(q.Columns[i], c)
			if of.Number {
				numbers[i]++
			} else if !of.Null {
				others[i]++
			}
			lr.Cells = append(lr.Cells, of)
		}
		at := max(0, slices.Index(q.Columns[:shown], "run_id"))
		if shown > 0 {
			lr.Cells[at].Link, lr.Cells[at].Head = lr.Link, true
		}
		l.Rows = append(l.Rows, lr)
	}
	if l.View.Columns == "" {
		shown = l.choose(&q, numbers, others)
	}
	for i, name := range q.Columns[:shown] {
		h := head{Name: name, Link: l.View.sorted(sort, name).list(), Number: numbers[i] > others[i]}
		if len(sort) > 0 && sort[0].Column == name {
			h.Aria, h.Mark = "ascending", "▲"
			if sort[0].Descending {
				h.Aria, h.Mark = "descending", "▼"
			}
		}
		for _, row := range l.Rows {
			row.Cells[i].Number = row.Cells[i].Number || row.Cells[i].Null && h.Number
		}
		l.Heads = append(l.Heads, h)
	}
	l.First, l.Last = min(l.View.From+1, l.Total), l.View.From+int64(len(l.Rows))
	l.turnable(b)
	return nil
}

// choose leaves columns out that have no value on this page, and those for which there is no room. It returns how many stay.
func (l *list) choose(q *query.Query, numbers, others []int) int {
	asked := q.Where.Names()
	for _, o := range q.Sort {
		asked = append(asked, o.Column)
	}
	var stay []int
	for i := range numbers {
		empty := numbers[i]+others[i] == 0 && !slices.Contains(asked, q.Columns[i]) && i > 1
		switch {
		case empty:
			l.Empty++
			l.LeftOut++
		case len(stay) == defaultColumns:
			l.LeftOut++
		default:
			stay = append(stay, i)
		}
	}
	for n, i := range stay { // none is moved over one that is still to come
		q.Columns[n], numbers[n], others[n] = q.Columns[i], numbers[i], others[i]
		for _, r := range l.Rows {
			r.Cells[n] = r.Cells[i]
		}
	}
	for i := range l.Rows {
		l.Rows[i].Cells = l.Rows[i].Cells[:len(stay)]
	}
	return len(stay)
}

// columns are those of the list.
func (l *list) columns(ctx context.Context, q query.Query, b *reading) ([]string, error) {
	if l.View.Columns != "" {
		names, err := query.ParseColumns(l.View.Columns)
		if err == nil {
			names, err = b.Source.Expand(ctx, names)
		}
		if err != nil {
			return nil, err
		}
		var once []string
		for _, name := range names {
			if !slices.Contains(once, name) {
				once = append(once, name)
			}
		}
		l.LeftOut = max(0, len(once)-mostColumns)
		return once[:len(once)-l.LeftOut], nil
	}
	names := []string{"run_id", "stage"}
	add := func(more ...string) {
		for _, name := range more {
			if !slices.Contains(names, name) && name != "phase" {
				names = append(names, name)
			}
		}
	}
	if q.Cohort == "" {
		add("cohort_id")
	}
	used := b.Source.Used()
	for _, name := range b.Key.More() {
		if slices.Contains(used, name) {
			add(name)
		}
	}
	for _, o := range q.Sort {
		add(o.Column)
	}
	add(q.Where.Names()...)
	add("timestamp")
	for _, prefix := range []string{"metrics.", "params."} {
		for _, name := range used {
			if strings.HasPrefix(name, prefix) {
				add(name)
			}
		}
	}
	l.LeftOut = max(0, len(names)-looksAt)
	return names[:len(names)-l.LeftOut], nil
}

// cellOf is a value as a list shows it.
func cellOf(column string, c query.Cell) cell {
	if c.IsNull() {
		return cell{Null: true}
	}
	text := c.Text()
	if t, is := c.Time(); is && column == "timestamp" {
		return cell{Text: t.Format("2006-01-02 15:04:05"), Full: text}
	}
	out := cell{Number: c.IsNumber()}
	whole := text
	if text == "" {
		out.Text = `""`
		return out
	}
	short, was := cut(text, longestCell)
	if out.Text = terminal.Field(short); was {
		whole, _ = cut(whole, 10*longestCell)
		out.Full = terminal.Field(whole)
	}
	return out
}

// offer lists what the form can be filled with.
func (l *list) offer(ctx context.Context, b *reading) error {
	const within = 2 * time.Second // more is not worth the wait
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	var err error
	if l.Cohorts, _, err = b.Source.Distinct(ctx, "cohort_id", manyNames); err != nil && ctx.Err() == nil {
		return err
	}
	if l.Stages, _, err = b.Source.Distinct(ctx, "stage", manyNames); err != nil && ctx.Err() == nil {
		return err
	}
	odd := func(text string) bool { return !isPlain(text) }
	l.Cohorts, l.Stages = slices.DeleteFunc(l.Cohorts, odd), slices.DeleteFunc(l.Stages, odd)
	var chosen []string
	for _, h := range l.Heads {
		chosen = append(chosen, h.Name)
	}
	for _, name := range slices.Concat(query.FixedColumns, b.Source.Used()) {
		if len(l.Choices) == mostChoices || !isPlain(name) {
			l.ChoicesLeftOut++
			continue
		}
		l.Choices = append(l.Choices, choice{name, query.SpellName(name), slices.Contains(chosen, name)})
	}
	metric := ""
	for _, o := range l.Heads {
		if strings.HasPrefix(o.Name, "metrics.") && (metric == "" || o.Mark != "") {
			metric = o.Name
		}
	}
	if metric != "" {
		v := l.View
		v.From, v.Limit, v.Columns, v.Sort, v.Y = 0, 0, "", "", query.SpellName(metric)
		l.Chart = v.at("/chart")
	}
	return nil
}
