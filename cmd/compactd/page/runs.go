package page

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/runfold/runfold/cmd/compactd/found"
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

// begins leads to the runs whose id begins with what somebody has written where an expression belongs; empty if that is no name.
func begins(v view) string {
	if v.Where == "" || strings.ContainsAny(v.Where, " =<>!'\"()") {
		return ""
	}
	v.Where, v.From = "run_id like "+query.Text(found.Like(v.Where)+"%")+` escape '\'`, 0
	return v.list()
}

// explain says why a list is empty.
func (p *Page) explain(ctx context.Context, l *list, b *reading) error {
	q, err := l.View.query(p.Now())
	if err != nil {
		return err
	}
	if b.Source.Index != nil || len(b.Source.Fresh) > 0 {
		why, err := found.Missed(ctx, b.Source, q)
		if why != "" {
			l.Why = strings.ToUpper(why[:1]) + why[1:]
		}
		if err != nil || q.Where.String() == "" || b.Source.Index == nil {
			return err
		}
		l.Hints, err = query.Hints(ctx, q.Where, b.Source.Index)
		return err
	}
	if l.Never = true; l.View.Unfolded {
		return nil
	}
	fresh := l.View
	fresh.Unfolded, fresh.At = true, 0
	l.Fresh = fresh.list()
	done, err := p.alone(ctx) // it reads all that waits
	if err != nil {
		return err
	}
	defer done()
	l.Waits, err = found.Waiting(ctx, p.Root)
	return err
}

// isWrong tells whether the reader has made a mistake.
func isWrong(err error) bool {
	return errors.As(err, new(*query.Error)) || errors.As(err, new(*query.NameError)) || errors.As(err, new(*usageError))
}

// ticked is the address that a form with ticked columns means; empty if none are ticked.
func ticked(q url.Values, v view) string {
	names := q["c"]
	if len(names) == 0 {
		return ""
	}
	v.Columns = strings.Join(names, ",")
	return v.list()
}

// hasEmpty tells whether an address has fields of a form in which nothing was written. Without them it is short enough to be handed on.
func hasEmpty(q url.Values) bool {
	for _, all := range q {
		if slices.Contains(all, "") {
			return true
		}
	}
	return false
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

// seqOrder tells whether a sort asks for the order of snapshot_seq, in which rows stand anyway, or for its reverse. Without a sort the newest come first: they are
// what somebody who follows a sweep looks for.
func seqOrder(sort []query.Order) (is, descending bool) {
	if len(sort) == 0 {
		return true, true
	}
	return sort[0].Column == "snapshot_seq", sort[0].Descending // which is that of one row only
}

// rowsOf yields the rows of a query. In the order of snapshot_seq, or its reverse, no place is too far: there are total rows, and those that are asked for are counted
// from the beginning or from the end.
func rowsOf(ctx context.Context, q query.Query, total int64, src query.Source) iter.Seq2[query.Row, error] {
	bySeq, descending := seqOrder(q.Sort)
	filtered := q.Where.String() != "" || q.Cohort != "" || q.Stage != "" || !q.Since.IsZero() || !q.Until.IsZero()
	switch {
	case !bySeq:
		return q.Rows(ctx, src)
	case !descending:
		q.Sort = nil
		return q.Rows(ctx, src)
	case filtered && q.Offset+q.Limit <= deepRows: // most row groups need not be read
		q.Sort = []query.Order{{Column: "snapshot_seq", Descending: true}}
		return q.Rows(ctx, src)
	}
	n := min(q.Limit, total-q.Offset)
	if n <= 0 {
		return func(func(query.Row, error) bool) {}
	}
	q.Sort, q.Offset, q.Limit = nil, total-q.Offset-n, n
	return func(yield func(query.Row, error) bool) {
		var rows []query.Row
		for row, err := range q.Rows(ctx, src) {
			if err != nil {
				yield(row, err)
				return
			}
			rows = append(rows, row)
		}
		for _, row := range slices.Backward(rows) {
			if !yield(row, nil) {
				return
			}
		}
	}
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

// turnable links the other pages of a list, and all of it. They are of the same generation, so that no run is met twice, or never.
func (l *list) turnable(b *reading) {
	v := l.View
	if !v.Unfolded {
		v.At = b.Newest.Generation
		all := v
		all.From, all.Limit, all.Every = 0, 0, 0
		if l.Sorted = !l.BySeq && l.Total <= exportSort; !l.Sorted {
			all.Sort = ""
		}
		l.CSV = all.at("/runs.csv")
	}
	at := func(text, rel string, from int64) {
		v.From = max(0, from)
		l.Pages = append(l.Pages, pageLink{text, v.list(), rel})
	}
	if l.View.From > 0 {
		at("First", "", 0)
		at("Previous", "prev", l.View.From-l.View.Limit)
	}
	if l.Last >= l.Total || len(l.Rows) == 0 {
		return
	}
	next, last := l.View.From+l.View.Limit, (l.Total-1)/l.View.Limit*l.View.Limit
	if l.BySeq || next < mostSorted {
		at("Next", "next", next)
	}
	if l.BySeq || last < mostSorted {
		at("Last", "", last)
	} else {
		l.Ends = count(mostSorted)
	}
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
