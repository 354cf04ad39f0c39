// Package query selects rows of an index by an expression, sorts them, and reads the values that are asked for:
//
//	e, err := query.Parse("metrics.auc > 0.7 and params.lr = 0.01")
//	for row, err := range query.Select(ctx, e, data.Index) { ... }
//
//	q := query.Query{Where: e, Sort: []query.Order{{"metrics.auc", true}}, Limit: 20, Columns: []string{"run_id", "metrics.auc"}}
//	for row, err := range q.Rows(ctx, query.Source{Index: data.Index}) { ... }
//
// Select is for those who then do something with the rows; a Query is for people who look at them.
//
// # Expressions
//
// A comparison has a column on its left and a literal on its right:
//
//	metrics.auc > 0.7                  = != < <= > >=
//	phase in ('TRAINING', 'EVALUATION')
//	run_id like 'churn-%'              % is any text, _ any one character
//	tags.owner is null                 also: is not null, not in, not like
//	timestamp >= '2026-01-31T12:00:00Z'
//
// Comparisons are joined by and, or, not and parentheses. Words may be written in small or large letters. A name stands as it is, or
// in double quotes if it has other characters than letters, digits and _.-/:@, begins with another one than a letter or _, or is a word of the
// language. A text stands in single quotes. Both kinds of quotes are doubled within themselves.
//
// # Names
//
// A name is that of a column, or of a value in _extra. The names that records have for fixed columns work, too: stage and record_id. A name
// that no row has and no column is an error, so that a typing mistake never selects nothing, or everything, in silence.
//
// # Values
//
// The values of a row are those of index.parquet and of its _extra. So a text among numbers is found, as is an integer that no column can hold. A
// number in a column of text is both, the number and its text. A row may have two values of one name; then a comparison holds if it
// holds for one of them.
//
// A row without a value is NULL. So is a comparison of a value with a literal of another type, as it is for other
// readers of index.parquet, which find no value in the column of such a row. Then the rules of SQL hold: not NULL is NULL, NULL and
// false is false, NULL or true is true, and a row is selected only if the whole expression is true. "is null" is true or false.
//
// Integers are compared exactly, whatever their size. A double is compared with a literal that has a point or an exponent as doubles are; with
// an integer exactly. Texts are compared by their bytes, and times as instants, cut to microseconds as the column is.
package query

import (
	"slices"
	"strings"
)

// Expr is an expression. The zero Expr selects no row. Any number of goroutines may use it.
type Expr struct {
	text  string
	root  node
	names []name
}

// name is a column that an expression looks at.
type name struct {
	column string
	offset int  // where it stands first
	fixed  bool // it has no values in _extra
}

// String is the text that was parsed.
func (e Expr) String() string { return e.text }

// Names are the columns that e looks at, in their order, as the index calls them.
func (e Expr) Names() (columns []string) {
	for _, n := range e.names {
		columns = append(columns, n.column)
	}
	return columns
}

// name is the number of a column among the names of e.
func (e *Expr) name(n name) int {
	if i := slices.IndexFunc(e.names, func(m name) bool { return m.column == n.column }); i >= 0 {
		return i
	}
	e.names = append(e.names, n)
	return len(e.names) - 1
}

// Text is s as a literal of the language, in single quotes.
func Text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
