package query

import (
	"math"
	"slices"
)

// truth is what an expression is for a row.
type truth uint8

const (
	unknown truth = iota // NULL
	no
	yes
)

func truthOf(is bool) truth {
	if is {
		return yes
	}
	return no
}

// node is a part of an expression.
type node interface {
	// of is what the part is for a row.
	of(*row) (truth, error)
	// may tells whether a row of a row group may make the part true, and whether one may make it false.
	may(*group) (yes, no bool)
}

type (
	allOf []node // and
	anyOf []node // or
	notOf struct{ node }
)

func (a allOf) of(r *row) (truth, error) {
	t := yes
	for _, n := range a {
		is, err := n.of(r)
		if err != nil || is == no {
			return no, err
		}
		if is == unknown {
			t = unknown
		}
	}
	return t, nil
}

func (a anyOf) of(r *row) (truth, error) {
	t := no
	for _, n := range a {
		is, err := n.of(r)
		if err != nil || is == yes {
			return is, err
		}
		if is == unknown {
			t = unknown
		}
	}
	return t, nil
}

func (n notOf) of(r *row) (truth, error) {
	is, err := n.node.of(r)
	switch is {
	case yes:
		return no, err
	case no:
		return yes, err
	}
	return unknown, err
}

// compared compares a column with a literal.
type compared struct {
	name int
	when outcome
	with literal
}

// outcome tells for which signs of a difference a comparison holds: for -1, 0 and 1.
type outcome [3]bool

func (o outcome) holds(sign int) bool { return o[sign+1] }

var equal = outcome{1: true}

func (c compared) of(r *row) (truth, error) {
	return r.holds(c.name, func(v value) truth {
		sign, ok := c.with.compare(v)
		if !ok {
			return unknown
		}
		return truthOf(c.when.holds(sign))
	})
}

// oneOf looks for a column's value in a list.
type oneOf struct {
	name   int
	texts  map[string]bool
	sorted []string // the texts
	ints   map[int64]bool
	others []literal // other numbers, and bools
	tokens []literal // all of them
}

func listed(name int, list []literal) oneOf {
	o := oneOf{name: name, texts: map[string]bool{}, ints: map[int64]bool{}, tokens: list}
	for _, l := range list {
		switch {
		case l.kind == text:
			o.texts[string(l.text)] = true
			o.sorted = append(o.sorted, string(l.text))
		case l.kind == double && l.number.integer && l.number.beyond == 0:
			o.ints[l.number.floor] = true
		default:
			o.others = append(o.others, l)
		}
	}
	slices.Sort(o.sorted)
	return o
}

func (o oneOf) of(r *row) (truth, error) { return r.holds(o.name, o.has) }

func (o oneOf) has(v value) truth {
	t := unknown
	switch v.kind {
	case text:
		if len(o.texts) > 0 {
			return truthOf(o.texts[string(v.text)])
		}
	case integer, double, large:
		if len(o.ints) > 0 {
			t = no
		}
		if v.kind == integer && o.ints[v.int] || v.kind == double && isInt64(v.double) && o.ints[int64(v.double)] {
			return yes
		}
	}
	for i := range o.others {
		if sign, ok := o.others[i].compare(v); ok && sign == 0 {
			return yes
		} else if ok {
			t = no
		}
	}
	return t
}

func isInt64(f float64) bool { return f >= -beyondInts && f < beyondInts && f == math.Trunc(f) }

// liked compares texts with a pattern.
type liked struct {
	name    int
	pattern pattern
	token   token
}

func (l liked) of(r *row) (truth, error) {
	return r.holds(l.name, func(v value) truth {
		if v.kind != text {
			return unknown
		}
		return truthOf(l.pattern.matches(v.text))
	})
}

// isNull tells whether a row has no value.
type isNull struct{ name int }

func (n isNull) of(r *row) (truth, error) {
	has, err := r.holds(n.name, func(value) truth { return yes })
	return truthOf(has != yes), err
}
