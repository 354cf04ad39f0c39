package index

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/internal/jsonscan"
)

// Reason says why a scalar stands in _extra and not in a column.
type Reason string

// The reasons, as they are spelled wherever they are told.
const (
	// OtherType is a value of another type than its column's: a text among numbers, a bool among metrics.
	OtherType Reason = "type"
	// OutOfRange is a number that its column cannot hold without loss: it is outside int64 or double, or an integer that no
	// double equals.
	OutOfRange Reason = "range"
	// LongText is a text of more than 4096 bytes, or with an escape that is not a character.
	LongText Reason = "long"
	// NoColumn is a value whose name has no column: the record had too many new names, or the root has its largest number of
	// columns.
	NoColumn Reason = "limit"
	// BadName is a value whose name no column may have.
	BadName Reason = "name"
	// Twice is the second value of one column: a literal "metrics.auc" beside an auc within metrics.
	Twice Reason = "twice"
)

// Extra counts the values of one name that stand in _extra for one reason. A value that stands in its column, with its
// exact token in _extra (see Kind), is not counted, because it is not hidden.
type Extra struct {
	Column string `json:"column"`
	Reason Reason `json:"reason"`
	Values int64  `json:"values"`
}

// words say a reason to people.
func (r Reason) words() string {
	switch r {
	case OtherType:
		return "it is of another type than the column"
	case OutOfRange:
		return "it is a number that the column cannot hold exactly"
	case LongText:
		return "it is a text that is too long for a column, or no text"
	case NoColumn:
		return "the root has no room for more columns, or this one was dropped"
	case BadName:
		return "no column may have this name"
	case Twice:
		return "the record has two values for the column"
	}
	return string(r)
}

// Extras are sorted by column and reason.
type Extras []Extra

// MarshalJSON writes a list, also of none.
func (e Extras) MarshalJSON() ([]byte, error) {
	if e == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]Extra(e))
}

// Values counts all.
func (e Extras) Values() (n int64) {
	for _, x := range e {
		n += x.Values
	}
	return n
}

// ByReason are the parts that have one reason each, those with most values first.
func (e Extras) ByReason() (parts []Extras) {
	places := map[Reason]int{}
	for _, x := range e {
		i, ok := places[x.Reason]
		if !ok {
			i = len(parts)
			places[x.Reason] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], x)
	}
	slices.SortStableFunc(parts, func(a, b Extras) int { return cmp.Compare(b.Values(), a.Values()) })
	return parts
}

// Lines are one for each reason, for people: they name the columns with most values, and count the others.
func (e Extras) Lines() (lines []string) {
	for _, part := range e.ByReason() {
		lines = append(lines, part.line())
	}
	return lines
}

// line is for extras of one reason.
func (e Extras) line() string {
	const most, longest = 5, 40
	byValues := slices.Clone(e)
	slices.SortStableFunc(byValues, func(a, b Extra) int { return cmp.Compare(b.Values, a.Values) })
	var names []string
	for _, x := range byValues[:min(most, len(byValues))] {
		name := x.Column
		if len(name) > longest {
			name = strings.ToValidUTF8(name[:longest], "") + "..."
		}
		names = append(names, strconv.Quote(name))
	}
	if more := len(e) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	values := "values are"
	if e.Values() == 1 {
		values = "value is"
	}
	return fmt.Sprintf("%s: %d %s in _extra and in no column: %s", strings.Join(names, ", "), e.Values(), values, e[0].Reason.words())
}

// Plus is the sum of both.
func (e Extras) Plus(more Extras) Extras {
	sum := extras{}
	for _, x := range slices.Concat(e, more) {
		sum.add(x.Column, x.Reason, x.Values)
	}
	return sum.sorted()
}

// extras counts by column and reason.
type extras map[extraKey]int64

type extraKey struct {
	column string
	reason Reason
}

// maxExtras bounds how many names are counted one by one. All other names are counted under otherNames.
const (
	maxExtras  = 1000
	otherNames = "(other names)"
)

func (e extras) add(column string, reason Reason, n int64) {
	k := extraKey{column, reason}
	if _, known := e[k]; !known && len(e) >= maxExtras {
		k.column = otherNames
	}
	e[k] += n
}

func (e extras) addAll(more extras) {
	for k, n := range more {
		e.add(k.column, k.reason, n)
	}
}

func (e extras) sorted() Extras {
	out := make(Extras, 0, len(e))
	for k, n := range e {
		out = append(out, Extra{k.column, k.reason, n})
	}
	slices.SortFunc(out, func(a, b Extra) int { return cmp.Or(cmp.Compare(a.Column, b.Column), cmp.Compare(a.Reason, b.Reason)) })
	return out
}

// isBeside tells whether a token of the kind of in _extra belongs to a value that its column holds as text.
func isBeside(column, of jsonscan.Kind, token []byte) bool {
	if column != jsonscan.String {
		return false
	}
	switch of {
	case jsonscan.Int, jsonscan.Double, jsonscan.Bool:
		return len(token) <= maxString
	}
	return false
}

// reasonOf is reasonOf in a file of this layout. With the profile foxml a record cannot fill a column that folds make, and its mode in other letters than those
// of the column is not hidden.
func (l *layout) reasonOf(name string, kind jsonscan.Kind, token []byte) (Reason, bool) {
	of := jsonscan.KindOf(token)
	switch {
	case l.isMade(name):
		return BadName, of != jsonscan.Object && of != jsonscan.Array && of != jsonscan.Null
	case l.isFoxml() && name == columnMode && of == jsonscan.String:
		return "", false
	}
	return reasonOf(name, kind, token)
}

// reasonOf says why a scalar is in _extra. kind is that of the column with its name, 0 if there is no such column. ok is false
// for a value that is not a scalar, and for one that stands in its column as well.
func reasonOf(name string, kind jsonscan.Kind, token []byte) (reason Reason, ok bool) {
	of := jsonscan.KindOf(token)
	switch {
	case of == jsonscan.Object, of == jsonscan.Array, of == jsonscan.Null, isBeside(kind, of, token):
		return "", false
	case !columnName(name):
		return BadName, true
	case kind == 0 && columnKind(name, of) == 0:
		return OtherType, true
	case kind == 0 && !canHold(columnKind(name, of), of, token):
		return unheld(columnKind(name, of)), true
	case kind == 0:
		return NoColumn, true
	case canHold(kind, of, token):
		return Twice, true
	case kind == of || isNumber(kind) && isNumber(of):
		return unheld(kind), true
	}
	return OtherType, true
}

func isNumber(k jsonscan.Kind) bool { return k == jsonscan.Int || k == jsonscan.Double }

// unheld says why a column does not hold a value of its own type.
func unheld(k jsonscan.Kind) Reason {
	if k == jsonscan.String {
		return LongText
	}
	return OutOfRange
}

// Extras counts the values of all rows that stand in _extra and not in a column. It reads one column, and of those that hold texts the ones that have tokens
// in _extra.
func (f *File) Extras() (Extras, error) {
	sum, tokens := extras{}, map[string]int{}
	err := f.eachExtra(nil, func(_ parquet.Row, name string, token []byte) {
		kind := jsonscan.Kind(0)
		if i, ok := f.layout.place[name]; ok {
			kind = f.layout.kindAt(i)
		}
		if isBeside(kind, jsonscan.KindOf(token), token) {
			tokens[name] = 0
		} else if reason, ok := f.layout.reasonOf(name, kind, token); ok {
			sum.add(name, reason, 1)
		}
	})
	if err != nil || len(tokens) == 0 {
		return sum.sorted(), err
	}
	columns := slices.Sorted(maps.Keys(tokens))
	for i, name := range columns {
		tokens[name] = i
	}
	err = f.eachExtra(columns, func(r parquet.Row, name string, token []byte) {
		i, ok := tokens[name]
		if !ok || !isBeside(jsonscan.String, jsonscan.KindOf(token), token) {
			return
		}
		if bytes.Equal(r[i].ByteArray(), token) {
			r[i] = parquet.NullValue() // a second one is not the column's
			return
		}
		sum.add(name, Twice, 1)
	})
	return sum.sorted(), err
}

// eachExtra calls do with every member of every _extra, and with the row, which has these columns. All is valid during the call.
func (f *File) eachExtra(columns []string, do func(r parquet.Row, name string, token []byte)) error {
	places, _ := f.places(append(slices.Clone(columns), columnExtra))
	for r, err := range f.rows(places) {
		if err != nil {
			return err
		}
		obj := r[len(r)-1]
		if obj.IsNull() {
			continue
		}
		if !isObject(obj.ByteArray()) {
			return damaged("%s is not a JSON object", columnExtra)
		}
		for m := range jsonscan.EachMember(obj.ByteArray()) {
			do(r, string(m.Name), m.Value)
		}
	}
	return nil
}

func isObject(text []byte) bool { return len(text) > 1 && text[0] == '{' && jsonscan.Valid(text) }

// Use is how a dynamic column is used.
type Use struct {
	Column
	Values int64 // rows that have a value in it
}

// Uses counts for each dynamic column the rows that have a value in it, in the order of the columns. It reads the footer.
func (f *File) Uses() []Use {
	uses := make([]Use, len(f.layout.dynamic))
	for i, c := range f.layout.dynamic {
		uses[i].Column = c
		for _, g := range f.file.Metadata().RowGroups {
			m := &g.Columns[len(firstColumns)+i].MetaData
			uses[i].Values += m.NumValues - m.Statistics.NullCount
		}
	}
	return uses
}

// token is a value of a dynamic column as JSON. A double that is an int64 is written as one, with all its digits, so that a column
// which was int64, became double and becomes int64 again has all its values.
func token(v parquet.Value) []byte {
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.AppendBool(nil, v.Boolean())
	case parquet.Int64:
		return strconv.AppendInt(nil, v.Int64(), 10)
	case parquet.Double:
		f := v.Double()
		if f >= math.MinInt64 && f < math.MaxInt64 && f == math.Trunc(f) && !(f == 0 && math.Signbit(f)) {
			return strconv.AppendInt(nil, int64(f), 10)
		}
		return appendDouble(nil, f, 64)
	}
	return jsonscan.Quote(string(v.ByteArray()))
}
