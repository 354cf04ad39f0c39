package query

import (
	"context"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// Query asks for values of rows. The zero Query yields every row, in snapshot_seq order, and no value of it.
type Query struct {
	// Columns are the values that each row has, as the index or an expression calls them. Of a name that ends with *, see Source.Expand.
	Columns []string
	// Where selects rows. If zero, all.
	Where Expr
	// Cohort and Stage select rows, too. If empty, all.
	Cohort cohort.ID
	Stage  string
	// Since selects rows with a timestamp at or after it, and Until those with one before it, so none without a timestamp. If zero, all.
	Since, Until time.Time
	// Sort says in which order rows come. Equal ones, and all if it is empty, come in snapshot_seq order.
	Sort []Order
	// Numbers makes Rows leave out rows that have something else than a number as the first column of Sort, or nothing.
	Numbers bool
	// Offset is how many rows are passed over first.
	Offset int64
	// Limit is how many rows there are at most. If zero, all.
	Limit int64
	// TextBytes cuts texts, lists and objects to so many bytes, but not keys, so that rows with huge ones need no memory for what nobody shows. What is cut is a
	// text. If zero, nothing is.
	TextBytes int
}

// Source is the rows that are asked: those of a generation, and what a fold would change of it now.
type Source struct {
	// Index has the rows of the generation. If nil, there are none.
	Index *index.File
	// Gone are the keys of rows of Index that are passed over.
	Gone map[cohort.Key]bool
	// Fresh are rows after those of Index, in the order of their seqs. Their values are those of Schema.
	Fresh  []index.Typed
	Schema index.Schema
}

// Row is one row of an answer.
type Row struct {
	// Cells are the values of Query.Columns. They stay.
	Cells []Cell
	// Fresh is the number of the row in Source.Fresh, or -1 if it is of the index.
	Fresh int
}

// Rows yields the rows that q asks for. A name in q that no row has and no column is an error before the first row: an *Error if it stands
// in Where, else a *NameError. It ends after the first error.
//
// It reads the columns that q names, and _extra of row groups that have one if a name is not that of a fixed column. Row groups are left out whose
// footer tells that no row is selected, or none that the rows found so far do not come before. Row groups are read by
// all cores; the answer is always the same.
//
// Memory is that of some row groups. With Sort it is that of Offset and Limit together, and with no Limit that of all selected rows.
func (q Query) Rows(ctx context.Context, src Source) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		a, err := q.ask(ctx, src)
		if err != nil {
			yield(Row{}, err)
			return
		}
		if len(q.Sort) > 0 {
			a.sorted(ctx, yield)
		} else {
			a.inSeqOrder(ctx, yield)
		}
	}
}

// Count is how many rows Rows yields without Offset, Limit and Numbers.
func (q Query) Count(ctx context.Context, src Source) (n int64, err error) {
	q.Columns, q.Sort, q.Offset, q.Limit = nil, nil, 0, 0
	a, err := q.ask(ctx, src)
	if err != nil {
		return 0, err
	}
	for p, err := range inOrder(ctx, len(a.groups)+1, a.choose) {
		if err != nil {
			return 0, err
		}
		n += p.count
	}
	return n, nil
}

// asked is a Query about a Source.
type asked struct {
	Query
	src    Source
	filter Expr // zero: all rows
	groups []index.Group
	keys   reader // the names of Sort
	out    reader // Columns
	gone   []string
}

func (q Query) ask(ctx context.Context, src Source) (*asked, error) {
	a := &asked{Query: q, src: src, filter: q.filter()}
	a.Sort = nil
	var sort, columns []name
	for _, o := range q.Sort {
		n := namedColumn(o.Column)
		if slices.ContainsFunc(sort, func(m name) bool { return m.column == n.column }) {
			continue // rows that are equal there stay so
		}
		a.Sort, sort = append(a.Sort, o), append(sort, n)
	}
	for _, c := range q.Columns {
		columns = append(columns, namedColumn(c))
	}
	if err := src.check(ctx, q.Where, slices.Concat(sort, columns)); err != nil {
		return nil, err
	}
	a.keys, a.out = readerOf(sort), readerOf(columns)
	if src.Index != nil {
		a.groups = src.Index.Groups()
	}
	for key := range src.Gone {
		a.gone = append(a.gone, string(key))
	}
	slices.Sort(a.gone)
	return a, nil
}

func namedColumn(column string) name { return columnOf(token{text: column}) }

// filter is Where with what other fields of q ask for.
func (q Query) filter() Expr {
	e := Expr{text: q.Where.text, names: slices.Clone(q.Where.names)}
	var all allOf
	of := func(column string) int { return e.name(namedColumn(column)) }
	if q.Cohort != "" {
		all = append(all, compared{of("cohort_id"), equal, literal{kind: text, text: []byte(q.Cohort)}})
	}
	if q.Stage != "" {
		all = append(all, compared{of("phase"), equal, literal{kind: text, text: []byte(q.Stage)}})
	}
	if !q.Since.IsZero() {
		all = append(all, compared{of(timestampColumn), signsOf[">="], literal{kind: double, number: numberOf(q.Since.UnixMicro())}})
	}
	if !q.Until.IsZero() {
		all = append(all, compared{of(timestampColumn), signsOf["<"], literal{kind: double, number: numberOf(q.Until.UnixMicro())}})
	}
	if q.Where.root != nil {
		all = append(all, q.Where.root)
	}
	if len(all) > 0 {
		e.root = all
	}
	return e
}

// most is how many rows are needed at most.
func (a *asked) most() int64 {
	if a.Limit == 0 || a.Offset > math.MaxInt64-a.Limit {
		return math.MaxInt64
	}
	return a.Offset + a.Limit
}

// sieve decides over the rows of one row group. It belongs to one goroutine.
type sieve struct {
	*asked
	row     row
	columns []string // to read: those of the filter, those of the sort, _extra, _key
	extra   int      // where they stand, or -1
	key     int
	passes  bool // each row is selected
}

// sieve of a group. ok is false if no row of it is selected.
func (a *asked) sieve(g index.Group) (s *sieve, ok bool, err error) {
	hasExtra := extraIn(g)
	s = &sieve{asked: a, extra: -1, key: -1}
	if a.filter.root != nil {
		of := &group{Group: g, names: a.filter.names, extra: hasExtra}
		if may, _ := a.filter.root.may(of); of.err != nil || !may {
			return nil, false, of.err
		}
	}
	r := readerOf(slices.Concat(a.filter.names, a.keys.names))
	s.columns, s.extra = r.columns(hasExtra)
	s.row = row{names: a.filter.names, extras: r.extras[:len(a.filter.names)]}
	if len(a.gone) > 0 {
		may, err := g.MayHold("_key", a.gone)
		if err != nil {
			return nil, false, err
		}
		if may {
			s.key = len(s.columns)
			s.columns = append(s.columns, "_key")
		}
	}
	s.passes = a.filter.root == nil && s.key < 0
	return s, true, nil
}

func extraIn(g index.Group) bool {
	b := g.Bounds(extraColumn)
	return b.Nulls < b.Rows
}

// takes tells whether a row is selected.
func (s *sieve) takes(values []index.Value) (bool, error) {
	if s.key >= 0 && s.src.Gone[cohort.Key(values[s.key].Text())] {
		return false, nil
	}
	return s.selects(values)
}

func (s *sieve) selects(values []index.Value) (bool, error) {
	if s.filter.root == nil {
		return true, nil
	}
	s.row.values, s.row.extra = values, s.extraOf(values)
	is, err := s.filter.root.of(&s.row)
	return is == yes, err
}

func (s *sieve) extraOf(values []index.Value) []byte {
	if s.extra < 0 {
		return nil
	}
	return values[s.extra].Text()
}

func (a *asked) freshSieve() *sieve {
	r := readerOf(slices.Concat(a.filter.names, a.keys.names))
	s := &sieve{asked: a, key: -1, row: row{names: a.filter.names, extras: r.extras[:len(a.filter.names)]}}
	s.columns, s.extra = r.columns(true)
	return s
}

// valuesOf are the values of columns of a row of Source.Fresh.
func valuesOf(t index.Typed, schema index.Schema, columns []string) []index.Value {
	values := make([]index.Value, len(columns))
	for i, c := range columns {
		values[i] = t.Value(schema, c)
	}
	return values
}
