package query

import (
	"context"
	"fmt"
	"strings"

	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Hints tells of literals that no value can be equal to, because none is of their type: such as '0.01' beside a column of
// numbers, and all of them beside lists. It is for people; Select does not need it. It has nothing to say of names that no file has, as Select refuses them.
func Hints(ctx context.Context, e Expr, files ...*index.File) (hints []string, err error) {
	if e.root == nil {
		return nil, nil
	}
	var odd []oddity
	var names []name
	for _, of := range literalsOf(e.root, nil) {
		n := e.names[of.name]
		if n.fixed {
			continue
		}
		if k, ok := columnKind(files, n.column); !ok || !suits(k, of.kind) {
			odd, names = append(odd, oddity{n.column, k, nil, of}), append(names, n)
		}
	}
	if len(odd) == 0 {
		return nil, nil
	}
	there, err := extraKinds(ctx, files, names)
	if err != nil {
		return nil, err
	}
	for _, o := range odd {
		if o.there = there[o.column]; !o.there.has(o.kind) && (o.is != 0 || len(o.there) > 0) {
			hints = append(hints, o.String())
		}
	}
	return hints, nil
}

// typed is a literal that is compared with a name.
type typed struct {
	name  int
	kind  valueKind
	token token

	pattern bool // it is that of like
}

func literalsOf(n node, found []typed) []typed {
	switch n := n.(type) {
	case allOf:
		for _, n := range n {
			found = literalsOf(n, found)
		}
	case anyOf:
		for _, n := range n {
			found = literalsOf(n, found)
		}
	case notOf:
		found = literalsOf(n.node, found)
	case compared:
		found = append(found, typed{n.name, n.with.kind, n.with.token, false})
	case oneOf:
		for _, l := range n.tokens {
			found = append(found, typed{n.name, l.kind, l.token, false})
		}
	case liked:
		found = append(found, typed{n.name, text, n.token, true})
	}
	return found
}

func columnKind(files []*index.File, column string) (index.Kind, bool) {
	for _, f := range files {
		if f == nil {
			continue
		}
		if k, ok := f.Kind(column); ok {
			return k, true
		}
	}
	return 0, false
}

// suits tells whether the values of a column are of the type of a literal.
func suits(column index.Kind, literal valueKind) bool {
	switch column {
	case index.String:
		return literal == text
	case index.Bool:
		return literal == boolean
	}
	return literal == double
}

func (k kinds) has(literal valueKind) bool {
	switch literal {
	case text:
		return k[jsonscan.String]
	case boolean:
		return k[jsonscan.Bool]
	}
	return k[jsonscan.Int] || k[jsonscan.Double]
}

// String lists what the values are.
func (k kinds) String() string {
	var are []string
	for _, of := range []struct {
		kind jsonscan.Kind
		name string
	}{{jsonscan.Array, "lists"}, {jsonscan.Object, "objects"}, {jsonscan.String, "texts"}, {jsonscan.Bool, "true and false"}} {
		if k[of.kind] {
			are = append(are, of.name)
		}
	}
	if k[jsonscan.Int] || k[jsonscan.Double] {
		are = append(are, "numbers")
	}
	return strings.Join(are, " and ")
}

// oddity is a literal of another type than its column.
type oddity struct {
	column string
	is     index.Kind // 0 if there is no column
	there  kinds      // in _extra
	typed
}

func (o oddity) String() string {
	if o.is == 0 {
		return fmt.Sprintf("%s has %s, and no row has a value there that can be compared with %v", o.column, o.there, o.token)
	}
	has, write := "numbers", "a number"
	switch o.is {
	case index.String:
		has, write = "texts", quoted(o.token.text, '\'')
	case index.Bool:
		has, write = "true and false", "true or false"
	}
	if o.is != index.String && o.kind == text && parses(o.token.text) {
		write = o.token.text
	}
	told := fmt.Sprintf("%s has %s, and no row has a value there that can be compared with %v", o.column, has, o.token)
	if o.pattern {
		return told
	}
	return told + ": write " + write
}

// parses tells whether a text would be a number without its quotes.
func parses(text string) bool { return text != "" && numbers.FindString(text) == text }
