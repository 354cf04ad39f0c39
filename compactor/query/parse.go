package query

import (
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/compactor/index"
)

// Parse reads an expression. What is wrong with it is an *Error.
//
//	any     = all { "or" all }
//	all     = not { "and" not }
//	not     = "not" not | "(" any ")" | test
//	test    = NAME ( sign literal | [ "not" ] "in" "(" literal { "," literal } ")"
//	               | [ "not" ] "like" TEXT [ "escape" TEXT ] | "is" [ "not" ] "null" )
//	sign    = "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">="
//	literal = TEXT | NUMBER | "true" | "false"
func Parse(text string) (Expr, error) {
	p := &parser{expr: Expr{text: text}}
	root, err := p.parse()
	if err != nil {
		return Expr{}, err
	}
	p.expr.root = root
	return p.expr, nil
}

// deepest bounds how deep parentheses and "not" may stand in each other.
const deepest = 500

type parser struct {
	expr  Expr
	now   token // not taken yet
	at    int   // where now ends
	depth int
}

func (p *parser) parse() (node, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	if p.now.kind == endToken {
		return nil, p.wrong(p.now, "the expression is empty: write one such as metrics.auc > 0.7")
	}
	n, err := p.any()
	if err == nil && p.now.kind != endToken {
		err = p.wrong(p.now, "%v does not belong here: is and, or or a parenthesis missing before it?", p.now)
	}
	return n, err
}

// step takes the token.
func (p *parser) step() (err error) {
	p.now, p.at, err = next(p.expr.text, p.at)
	return err
}

// take takes the token if it is the word.
func (p *parser) take(word string) (bool, error) {
	if !p.now.is(word) {
		return false, nil
	}
	return true, p.step()
}

// need takes a sign that must stand here.
func (p *parser) need(sign, why string) error {
	if !p.now.isSign(sign) {
		return p.wrong(p.now, "%s is missing before %v: %s", sign, p.now, why)
	}
	return p.step()
}

func (p *parser) wrong(t token, format string, args ...any) error {
	return &Error{p.expr.text, t.offset, fmt.Sprintf(format, args...)}
}

func (p *parser) any() (node, error) {
	return p.list("or", p.all, func(of []node) node { return anyOf(of) })
}

func (p *parser) all() (node, error) {
	return p.list("and", p.not, func(of []node) node { return allOf(of) })
}

// list reads one or more parts with a word between them.
func (p *parser) list(word string, part func() (node, error), join func([]node) node) (node, error) {
	var parts []node
	for {
		n, err := part()
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
		more, err := p.take(word)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return join(parts), nil
}

func (p *parser) not() (node, error) {
	if p.depth++; p.depth > deepest {
		return nil, p.wrong(p.now, "the expression is nested too deep: at most %d levels", deepest)
	}
	defer func() { p.depth-- }()
	if is, err := p.take("not"); err != nil || is {
		if err != nil {
			return nil, err
		}
		n, err := p.not()
		return notOf{n}, err
	}
	if !p.now.isSign("(") {
		return p.test()
	}
	if err := p.step(); err != nil {
		return nil, err
	}
	n, err := p.any()
	if err != nil {
		return nil, err
	}
	return n, p.need(")", "a parenthesis is open")
}

// words are those that are no bare names.
var words = []string{"and", "or", "not", "in", "like", "escape", "is", "null", "true", "false"}

func isReserved(t token) bool {
	return t.kind == wordToken && slices.ContainsFunc(words, t.is)
}

// test reads one comparison.
func (p *parser) test() (node, error) {
	t := p.now
	switch {
	case t.kind == nameToken && t.text == "":
		return nil, p.wrong(t, "a name is empty")
	case t.kind == nameToken, t.kind == wordToken && !isReserved(t):
	case t.kind == textToken, t.kind == numberToken, t.is("true"), t.is("false"):
		return nil, p.wrong(t, "the name of a column comes first, and then the value: metrics.auc > 0.7; a name with other characters stands in double quotes")
	case isReserved(t):
		return nil, p.wrong(t, "the name of a column is missing before %v; a column that is called so stands in double quotes", t)
	default:
		return nil, p.wrong(t, "the name of a column is missing before %v", t)
	}
	if err := p.step(); err != nil {
		return nil, err
	}
	c := columnOf(t)
	of := p.expr.name(c)
	return p.testOf(of, c)
}

// columnOf is the column that a name means.
func columnOf(t token) name {
	column := t.text
	switch column {
	case "stage":
		column = "phase"
	case "record_id":
		column = "_record_id"
	}
	return name{column: column, offset: t.offset, fixed: index.IsFixed(column)}
}

// testOf reads what is asked of a column.
func (p *parser) testOf(of int, c name) (node, error) {
	if is, err := p.take("is"); err != nil || is {
		if err != nil {
			return nil, err
		}
		return p.null(of)
	}
	no, err := p.take("not")
	if err != nil {
		return nil, err
	}
	switch {
	case p.now.is("in"):
		n, err := p.in(of, c)
		return negated(n, no), err
	case p.now.is("like"):
		n, err := p.like(of, c)
		return negated(n, no), err
	case no:
		return nil, p.wrong(p.now, "in or like is missing after not")
	}
	return p.compare(of, c)
}

func negated(n node, no bool) node {
	if no {
		return notOf{n}
	}
	return n
}

func (p *parser) null(of int) (node, error) {
	no, err := p.take("not")
	if err != nil {
		return nil, err
	}
	if !p.now.is("null") {
		return nil, p.wrong(p.now, "null is missing after is: values are compared with =")
	}
	return negated(isNull{of}, no), p.step()
}

// signsOf are the signs of a comparison.
var signsOf = map[string]outcome{
	"=": equal, "==": equal, "!=": equal, "<>": equal, // the last two are negated
	"<": {true, false, false}, "<=": {true, true, false}, ">": {false, false, true}, ">=": {false, true, true},
}

func (p *parser) compare(of int, c name) (node, error) {
	when, ok := signsOf[p.now.text]
	if !ok || p.now.kind != signToken {
		return nil, p.wrong(p.now, "after the name of a column comes = != < <= > >= in, like or is null, and not %v", p.now)
	}
	sign := p.now
	if err := p.step(); err != nil {
		return nil, err
	}
	l, err := p.literal(c)
	if err != nil {
		return nil, err
	}
	if l.kind == boolean && when != equal {
		return nil, p.wrong(sign, "true and false have no order: compare with = or !=")
	}
	return negated(compared{of, when, l}, sign.text == "!=" || sign.text == "<>"), nil
}

func (p *parser) in(of int, c name) (node, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	if err := p.need("(", "a list such as in ('a', 'b') stands in parentheses"); err != nil {
		return nil, err
	}
	var list []literal
	for {
		l, err := p.literal(c)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
		if !p.now.isSign(",") {
			break
		}
		if err := p.step(); err != nil {
			return nil, err
		}
	}
	return listed(of, list), p.need(")", "a list is open, whose values have a comma between them")
}

func (p *parser) like(of int, c name) (node, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	pattern := p.now
	if pattern.kind != textToken {
		return nil, p.wrong(pattern, "after like comes a text in single quotes, such as 'churn%%', and not %v", pattern)
	}
	if c.fixed && kindOfFixed(c.column) != text {
		return nil, p.wrong(pattern, "%s has no texts that could be like another", c.column)
	}
	if err := p.step(); err != nil {
		return nil, err
	}
	escape := ""
	if is, err := p.take("escape"); err != nil || is {
		if err != nil {
			return nil, err
		}
		if p.now.kind != textToken || len([]rune(p.now.text)) != 1 {
			return nil, p.wrong(p.now, "after escape comes one character in single quotes, such as '\\'")
		}
		escape = p.now.text
		if err := p.step(); err != nil {
			return nil, err
		}
	}
	parts, ok := parsePattern(pattern.text, escape)
	if !ok {
		return nil, p.wrong(pattern, "after the escape %s comes %%, _ or %[1]s itself", quoted(escape, '\''))
	}
	return liked{of, parts, pattern}, nil
}

// literal takes a literal, which must suit the column if that has values of one type only.
func (p *parser) literal(c name) (literal, error) {
	t := p.now
	l := literal{kind: double, token: t}
	switch {
	case t.kind == textToken:
		l.kind, l.text = text, []byte(t.text)
	case t.kind == numberToken:
		l.number = parseNumber(t.text)
	case t.is("true"), t.is("false"):
		l.kind, l.yes = boolean, t.is("true")
	case t.is("null"):
		return l, p.wrong(t, "nothing is = null, as in SQL: write is null or is not null")
	case t.kind == nameToken:
		return l, p.wrong(t, "double quotes are for names: a text stands in single quotes, as %s", quoted(t.text, '\''))
	case t.kind == wordToken && slices.Contains([]string{"nan", "inf", "infinity"}, strings.ToLower(t.text)):
		return l, p.wrong(t, "no value is %v: such values became null when they were appended, so write is null", t)
	case t.kind == wordToken && !isReserved(t):
		return l, p.wrong(t, "a text stands in single quotes: %s", quoted(t.text, '\''))
	default:
		return l, p.wrong(t, "a number, a text in single quotes, true or false is missing before %v", t)
	}
	if c.fixed {
		if err := p.suit(&l, c.column); err != nil {
			return l, err
		}
	}
	return l, p.step()
}

// suit refuses a literal with which no value of a fixed column can be compared, and makes a number of a time.
func (p *parser) suit(l *literal, column string) error {
	switch kind := kindOfFixed(column); {
	case column == timestampColumn && l.kind == text:
		n, ok := timeNumber(l.token.text)
		if !ok {
			return p.wrong(l.token, "%v is no time: write one such as '2026-01-31T12:00:00Z', or a date", l.token)
		}
		*l = literal{kind: double, number: n, token: l.token}
	case column == timestampColumn:
		return p.wrong(l.token, "%s has times: write one such as '2026-01-31T12:00:00Z'", column)
	case kind == text && l.kind != text:
		return p.wrong(l.token, "%s has texts: write %s", column, quoted(l.token.text, '\''))
	case kind != text && l.kind != double:
		return p.wrong(l.token, "%s has numbers", column)
	}
	return nil
}

const (
	timestampColumn = "timestamp"
	digestColumn    = "_digest"
	extraColumn     = "_extra"
)

// kindOfFixed is the kind of the values of a fixed column: text, or double for all numbers.
func kindOfFixed(column string) valueKind {
	switch column {
	case timestampColumn, "snapshot_seq", "_stamp":
		return double
	}
	return text
}
