package query

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Order is one column of a sort.
//
// Numbers stand first, then what is no number (NaN), then texts, then false and true, then arrays and objects, and rows without a value last.
// Descending turns the values within each of these around, and not these: the best runs stand at the top, and those without a
// value at the end, either way. Integers and doubles are compared exactly; texts, arrays and objects by their bytes.
type Order struct {
	Column     string
	Descending bool
}

// ParseOrder reads names with a comma between them, each with a - before it for descending: -metrics.auc,run_id. Names are spelled as in expressions.
func ParseOrder(text string) ([]Order, error) {
	var orders []Order
	err := eachName(text, func(n nameSpelling) error {
		orders = append(orders, Order{n.column, n.minus})
		return nil
	})
	return orders, err
}

// ParseColumns reads names with a comma between them, as they are spelled in expressions. A name that ends with * stands for all columns that begin so, see Columns.
func ParseColumns(text string) (columns []string, err error) {
	err = eachName(text, func(n nameSpelling) error {
		if n.minus {
			return &Error{text, n.offset, "a - before a name is for sorting"}
		}
		columns = append(columns, n.column)
		return nil
	})
	return columns, err
}

// nameSpelling is a name of a list.
type nameSpelling struct {
	column string
	minus  bool
	offset int
}

// eachName reads the names of a list.
func eachName(text string, do func(nameSpelling) error) error {
	for at := 0; ; {
		for at < len(text) && text[at] == ' ' {
			at++
		}
		n := nameSpelling{offset: at}
		if at < len(text) && (text[at] == '-' || text[at] == '+') {
			n.minus = text[at] == '-'
			at++
		}
		t, end, err := nextName(text, at)
		if err != nil {
			return err
		}
		n.column = t.text
		if err := do(n); err != nil {
			return err
		}
		rest := strings.TrimLeft(text[end:], " ")
		if rest == "" {
			return nil
		}
		if rest[0] != ',' {
			return &Error{text, len(text) - len(rest), "names have a comma between them; a name with other characters stands in double quotes"}
		}
		at = len(text) - len(rest) + 1
	}
}

// nextName reads one name of a list. One without quotes ends at the comma: words of the language, digits and * are allowed there.
func nextName(text string, at int) (token, int, error) {
	if at < len(text) && text[at] == '"' {
		t, end, err := quotedToken(text, at)
		if err == nil && t.text == "" {
			err = &Error{text, at, "a name is empty"}
		}
		return t, end, err
	}
	end := len(text)
	if i := strings.IndexByte(text[at:], ','); i >= 0 {
		end = at + i
	}
	bare := strings.TrimRight(text[at:end], " ")
	if bare == "" {
		return token{}, 0, &Error{text, at, "the name of a column is missing"}
	}
	if i := strings.IndexAny(bare, `"'`); i >= 0 {
		return token{}, 0, &Error{text, at + i, "a quote belongs around the whole name"}
	}
	return token{nameToken, bare, at}, at + len(bare), nil
}

// SpellName is a name as lists and expressions spell it.
func SpellName(column string) string {
	if t, end, err := next(column, 0); err == nil && end == len(column) && t.kind == wordToken && !isReserved(t) && t.text == column {
		return column
	}
	return `"` + strings.ReplaceAll(column, `"`, `""`) + `"`
}

// The ranks of values in a sort.
const (
	rankNumber = iota
	rankNaN
	rankText
	rankBool
	rankNested
	rankNull
)

func (v value) rank() int {
	switch v.kind {
	case integer, large:
		return rankNumber
	case double:
		if math.IsNaN(v.double) {
			return rankNaN
		}
		return rankNumber
	case text:
		return rankText
	case boolean:
		return rankBool
	case nested:
		return rankNested
	}
	return rankNull
}

// compareValues is negative if a stands before b.
func compareValues(a, b value, descending bool) int {
	rank := a.rank()
	if c := cmp.Compare(rank, b.rank()); c != 0 {
		return c
	}
	c := 0
	switch rank {
	case rankNumber:
		c = compareNumbers(a, b)
	case rankText, rankNested:
		c = bytes.Compare(a.text, b.text)
	case rankBool:
		c = cmp.Compare(a.int, b.int)
	}
	if descending {
		return -c
	}
	return c
}

func compareNumbers(a, b value) int {
	switch {
	case a.kind == double && b.kind == double:
		return cmp.Compare(a.double, b.double)
	case a.kind == integer && b.kind == integer:
		return cmp.Compare(a.int, b.int)
	case a.kind == large || b.kind == large:
		return exactOf(a).compare(exactOf(b))
	case a.kind == integer:
		n := numberOf(a.int)
		return -n.compareDouble(b.double)
	}
	n := numberOf(b.int)
	return n.compareDouble(a.double)
}

func exactOf(v value) decimal {
	switch v.kind {
	case integer:
		return parseDecimal(strconv.FormatInt(v.int, 10))
	case double:
		if math.IsInf(v.double, 0) {
			return decimal{negative: v.double < 0, digits: "1", point: math.MaxInt64}
		}
		return parseDecimal(strconv.FormatFloat(v.double, 'f', -1, 64))
	}
	return parseDecimal(string(v.text))
}

// NameError says that no column and no row has a name that was asked for.
type NameError struct {
	Column string
	Near   []string // names that may be meant
}

func (e *NameError) Error() string {
	message := fmt.Sprintf("no column and no row has the name %s", quoted(e.Column, '"'))
	if len(e.Near) > 0 {
		return message + ": did you mean " + strings.Join(e.Near, " or ") + "?"
	}
	if words := strings.Fields(e.Column); len(words) == 2 && (strings.EqualFold(words[1], "desc") || strings.EqualFold(words[1], "asc")) {
		return message + ": to sort descending write -" + words[0]
	}
	if i := strings.IndexByte(e.Column, '*'); i >= 0 && i < len(e.Column)-1 {
		return message + ": a * that stands for other characters is the last one of a name, as in metrics.*"
	}
	return message + `: "compactd columns" lists the names; declare a column if records will bring it`
}
