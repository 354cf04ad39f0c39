package query

import (
	"github.com/runfold/runfold/compactor/index"
)

// group is a row group, of which the footer says what its rows may hold.
type group struct {
	index.Group
	names []name
	extra bool  // rows have an _extra
	err   error // the first one
}

// bounds are those of a column. ok is false if rows may have values of the name that they do not tell of.
func (g *group) bounds(n int) (b index.Bounds, ok bool) {
	c := g.names[n]
	if c.column == digestColumn || !c.fixed && g.extra {
		return b, false
	}
	return g.Bounds(c.column), true
}

// mayHold asks the bloom filter as well.
func (g *group) mayHold(n int, sorted ...string) bool {
	if !g.names[n].fixed || len(sorted) == 0 {
		return true
	}
	may, err := g.MayHold(g.names[n].column, sorted)
	if err != nil && g.err == nil {
		g.err = err
	}
	return may
}

func (a allOf) may(g *group) (yes, no bool) {
	yes = true
	for _, n := range a {
		y, n := n.may(g)
		yes, no = yes && y, no || n
	}
	return yes, no
}

func (a anyOf) may(g *group) (yes, no bool) {
	no = true
	for _, n := range a {
		y, n := n.may(g)
		yes, no = yes || y, no && n
	}
	return yes, no
}

func (n notOf) may(g *group) (yes, no bool) {
	no, yes = n.node.may(g)
	return yes, no
}

func (c compared) may(g *group) (yes, no bool) {
	b, known, may := g.values(c.name)
	if !known {
		return may, may
	}
	low, ok := c.with.compare(columnValue(b.Min))
	high, _ := c.with.compare(columnValue(b.Max))
	if !ok {
		return false, false
	}
	if low > high {
		return true, true // bounds that no rows can have
	}
	for sign := low; sign <= high; sign++ { // as a value increases, so does its sign
		yes, no = yes || c.when.holds(sign), no || !c.when.holds(sign)
	}
	if yes && c.with.kind == text && c.when == equal {
		yes = g.mayHold(c.name, string(c.with.text))
	}
	return yes, no
}

func (o oneOf) may(g *group) (yes, no bool) {
	b, known, may := g.values(o.name)
	if !known {
		return may, may
	}
	for i := range o.tokens {
		low, ok := o.tokens[i].compare(columnValue(b.Min))
		high, _ := o.tokens[i].compare(columnValue(b.Max))
		if yes = ok && (low <= 0 && high >= 0 || low > high); yes {
			break
		}
	}
	if yes && len(o.sorted) == len(o.tokens) {
		yes = g.mayHold(o.name, o.sorted...)
	}
	return yes, true
}

func (l liked) may(g *group) (yes, no bool) {
	b, known, may := g.values(l.name)
	if !known {
		return may, may
	}
	return b.Min.Kind == index.String && l.pattern.mayBegin(b.Min.Text(), b.Max.Text()), true
}

// values are the bounds of the values of a column. If known is false they say nothing about single values, and may tells whether there may
// be any.
func (g *group) values(n int) (b index.Bounds, known, may bool) {
	b, ok := g.bounds(n)
	switch {
	case !ok:
		return b, false, true
	case b.Nulls == b.Rows:
		return b, false, false
	}
	return b, b.Min.Kind != 0, true
}

func (n isNull) may(g *group) (yes, no bool) {
	b, ok := g.bounds(n.name)
	if !ok {
		return true, true
	}
	return b.Nulls > 0, b.Nulls < b.Rows
}
