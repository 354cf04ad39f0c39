package query

import (
	"bytes"
	"cmp"
	"math"
	"strconv"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
)

// value is one value of a row.
type value struct {
	kind   valueKind
	int    int64
	double float64
	text   []byte // of a number that neither int nor double holds: its token
}

type valueKind uint8

const (
	noValue valueKind = iota
	boolean
	integer
	double
	large // a number that is neither an int64 nor a double
	text
	nested // an array or an object
)

// columnValue is a value of a column.
func columnValue(v index.Value) value {
	switch v.Kind {
	case index.Bool:
		n := int64(0)
		if v.Bool() {
			n = 1
		}
		return value{kind: boolean, int: n}
	case index.Int:
		return value{kind: integer, int: v.Int()}
	case index.Double:
		return value{kind: double, double: v.Double()}
	case index.String:
		return value{kind: text, text: v.Text()}
	}
	return value{}
}

// tokenValue is a value of _extra.
func tokenValue(token []byte) value {
	switch jsonscan.KindOf(token) {
	case jsonscan.Bool:
		v := value{kind: boolean}
		if token[0] == 't' {
			v.int = 1
		}
		return v
	case jsonscan.Int:
		if n, err := strconv.ParseInt(string(token), 10, 64); err == nil {
			return value{kind: integer, int: n}
		}
		return value{kind: large, text: token}
	case jsonscan.Double:
		if f, err := strconv.ParseFloat(string(token), 64); err == nil {
			return value{kind: double, double: f}
		}
		return value{kind: large, text: token}
	case jsonscan.String:
		return value{kind: text, text: jsonscan.TextBytes(token)}
	case jsonscan.Null:
		return value{}
	}
	return value{kind: nested}
}

// literal is what a value is compared with: a text, a bool, or a number. A time is the number of its microseconds.
type literal struct {
	kind   valueKind // text, boolean or double: any number
	text   []byte
	yes    bool
	number number
	token  token
}

// compare is the sign of v minus l. ok is false if they are of different types.
func (l *literal) compare(v value) (sign int, ok bool) {
	switch l.kind {
	case text:
		return bytes.Compare(v.text, l.text), v.kind == text
	case boolean:
		n := int64(0)
		if l.yes {
			n = 1
		}
		return cmp.Compare(v.int, n), v.kind == boolean
	}
	return l.number.compare(v)
}

// number is a number of an expression.
type number struct {
	integer bool    // it is spelled as one
	double  float64 // the nearest; an infinity if it is larger than all
	exact   decimal
	floor   int64 // see decimal.floor
	above   bool
	beyond  int
}

func parseNumber(text string) number {
	n := number{integer: true, exact: parseDecimal(text)}
	for _, c := range text {
		if c == '.' || c == 'e' || c == 'E' {
			n.integer = false
		}
	}
	f, err := strconv.ParseFloat(text, 64) // the infinity that comes with the error is what is wanted
	_ = err
	n.double = f
	n.floor, n.above, n.beyond = n.exact.floor()
	return n
}

func numberOf(i int64) number {
	return number{integer: true, double: float64(i), exact: parseDecimal(strconv.FormatInt(i, 10)), floor: i}
}

// compare is the sign of v minus n.
func (n *number) compare(v value) (sign int, ok bool) {
	switch v.kind {
	case integer:
		return n.compareInt(v.int), true
	case double:
		return n.compareDouble(v.double), true
	case large:
		return parseDecimal(string(v.text)).compare(n.exact), true
	}
	return 0, false
}

func (n *number) compareInt(i int64) int {
	c := cmp.Compare(i, n.floor)
	switch {
	case n.beyond != 0:
		return -n.beyond
	case c == 0 && n.above:
		return -1
	}
	return c
}

const (
	exactDoubles = 1 << 53 // up to here every integer is a double
	beyondInts   = 1 << 63 // the first double above all int64
)

func (n *number) compareDouble(f float64) int {
	switch {
	case !n.integer:
		return cmp.Compare(f, n.double)
	case n.beyond == 0 && n.floor <= exactDoubles && n.floor >= -exactDoubles:
		return cmp.Compare(f, float64(n.floor))
	case f >= beyondInts || f < -beyondInts: // such a double is an integer, and with no digits left out that is its text
		return parseDecimal(strconv.FormatFloat(f, 'f', 0, 64)).compare(n.exact)
	case n.beyond != 0:
		return -n.beyond
	}
	whole := math.Floor(f)
	c := cmp.Compare(int64(whole), n.floor)
	if c == 0 && f > whole {
		return 1
	}
	return c
}

// timeNumber counts the microseconds of a time in RFC 3339, cut as those of the column are. A date is its first moment in UTC.
func timeNumber(text string) (number, bool) {
	t, ok := cohort.ParseTime(text)
	if !ok {
		var err error
		t, err = time.Parse(time.DateOnly, text)
		ok = err == nil
	}
	return numberOf(t.UnixMicro()), ok
}
