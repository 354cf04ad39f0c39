package query

import (
	"bytes"
	"fmt"

	"github.com/runfold/runfold/compactor/index"
)

// row has the values of one row, in the order of the names of an expression.
type row struct {
	names  []name
	extras [][]byte // how the names stand in _extra
	values []index.Value
	extra  []byte // _extra, nil if it is NULL or nothing asks for it
}

// holds tells whether a test holds for one of the values of a name. It is unknown if there is none that the test can be made of.
func (r *row) holds(n int, test func(value) truth) (truth, error) {
	t := unknown
	if v := r.values[n]; v.Kind != 0 {
		t = test(r.valueOf(n, v))
	}
	if t == yes || r.names[n].fixed || r.extra == nil || !bytes.Contains(r.extra, r.extras[n]) {
		return t, nil
	}
	for m, err := range index.EachExtra(r.extra) {
		if err != nil {
			return t, err
		}
		if string(m.Name) != r.names[n].column {
			continue
		}
		if t = max(t, test(tokenValue(m.Token))); t == yes {
			break
		}
	}
	return t, nil
}

// valueOf is a value of a column. That of _digest is the text that people see.
func (r *row) valueOf(n int, v index.Value) value {
	if r.names[n].column == digestColumn {
		return value{kind: text, text: fmt.Appendf(nil, "%016x", uint64(v.Int()))}
	}
	return columnValue(v)
}
