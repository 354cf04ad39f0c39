package lint

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// Finding is a place where a variable is read beside a call that may change it.
type Finding struct {
	Pos  token.Pos
	Text string
}

// Order finds reads of a variable, or of a field, beside a call that may change it, if the language does not define which comes
// first. It looks at the results of a return, the arguments of a call, the elements of a literal, the operands of an operator,
// and the sides of an assignment.
//
// A call may change a variable if it gets its address, a pointer to it, or a closure that writes to it; a method
// gets its receiver. A function that effects knows must also write to such a field, itself or through a function that it calls.
// Order does not see changes of other kinds: of a package's variable, an element of a slice or map, through a copy of the
// pointer, through an interface, or of another module's own fields.
func Order(file *ast.File, info *types.Info, effects Effects) []Finding {
	p := pass{info: info, effects: effects, closures: map[types.Object]*ast.FuncLit{}}
	ast.Inspect(file, p.noteClosures)
	ast.Inspect(file, func(n ast.Node) bool {
		p.node(n)
		return true
	})
	return sorted(p.found)
}

type pass struct {
	info     *types.Info
	effects  Effects
	closures map[types.Object]*ast.FuncLit // local functions by their names
	found    []Finding
}

// change is a place that a call may write to.
type change struct {
	place
	sure bool        // it is written to
	by   *types.Func // the function that gets the place; nil: an unknown function
}

func (p *pass) noteClosures(n ast.Node) bool {
	note := func(name, value ast.Expr) {
		id, ok := name.(*ast.Ident)
		lit, isLit := value.(*ast.FuncLit)
		if ok && isLit && p.info.ObjectOf(id) != nil {
			p.closures[p.info.ObjectOf(id)] = lit
		}
	}
	switch n := n.(type) {
	case *ast.AssignStmt:
		for i := 0; i < len(n.Rhs) && len(n.Rhs) == len(n.Lhs); i++ {
			note(n.Lhs[i], n.Rhs[i])
		}
	case *ast.ValueSpec:
		for i, v := range n.Values {
			note(n.Names[min(i, len(n.Names)-1)], v)
		}
	}
	return true
}

// operand is a part of a statement: what it reads itself, and the calls within it.
type operand struct {
	reads []place
	calls []*ast.CallExpr
}

func (p *pass) operand(e ast.Expr) operand {
	return operand{p.reads(e), p.calls(e)}
}

// node looks at the operands of one statement or expression.
func (p *pass) node(n ast.Node) {
	var all []operand
	add := func(list ...ast.Expr) {
		for _, e := range list {
			all = append(all, p.operand(e))
		}
	}
	switch n := n.(type) {
	case *ast.ReturnStmt:
		add(n.Results...)
	case *ast.ValueSpec:
		add(n.Values...)
	case *ast.CompositeLit:
		add(n.Elts...)
	case *ast.BinaryExpr:
		if n.Op != token.LAND && n.Op != token.LOR {
			add(n.X, n.Y)
		}
	case *ast.CallExpr:
		all = append(all, operand{reads: p.function(n.Fun), calls: p.calls(n.Fun)})
		add(n.Args...)
	case *ast.AssignStmt:
		for _, e := range n.Lhs {
			all = append(all, p.target(n.Tok, e))
		}
		add(n.Rhs...)
	}
	p.compare(all)
}

// target is what the left side of an assignment reads before it is written.
func (p *pass) target(tok token.Token, e ast.Expr) operand {
	if tok != token.ASSIGN && tok != token.DEFINE { // x += f()
		return p.operand(e)
	}
	if at, ok := ast.Unparen(e).(*ast.IndexExpr); ok {
		return operand{reads: append(p.reads(at.X), p.reads(at.Index)...), calls: p.calls(e)}
	}
	return operand{calls: p.calls(e)}
}

// function is what the function of a call reads: the receiver, where the method gets a copy of it.
func (p *pass) function(fun ast.Expr) []place {
	s, ok := ast.Unparen(fun).(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	sel := p.info.Selections[s]
	if sel == nil || sel.Kind() != types.MethodVal {
		return nil
	}
	if _, ok := p.receiver(fun); ok {
		return nil // its address is taken, or the pointer is read
	}
	return p.reads(s.X)
}

func (p *pass) compare(all []operand) {
	for i, a := range all {
		for j, b := range all {
			if i == j {
				continue
			}
			for _, call := range b.calls {
				p.report(a.reads, call)
			}
		}
	}
}

func (p *pass) report(reads []place, call *ast.CallExpr) {
	if len(reads) == 0 {
		return
	}
	changes := p.changes(call)
	for _, r := range reads {
		if slices.ContainsFunc(changes, func(c change) bool { return p.meet(r, c) }) {
			p.found = append(p.found, Finding{r.pos, fmt.Sprintf(
				"%s is read beside a call that may change it, in an order that the language leaves open: give the call a statement of its own", r)})
		}
	}
}

// meet tells whether a read may see a change.
func (p *pass) meet(read place, c change) bool {
	n := min(len(read.path), len(c.path))
	if read.root != c.root || !slices.Equal(read.path[:n], c.path[:n]) || slices.Contains(c.path[n:], nil) {
		return false // another place, or one that is read through a pointer which stays
	}
	fields, known := p.effects.of(c.by)
	rest := read.path[n:]
	switch {
	case c.sure:
		return true
	case !known && len(rest) > 0 && c.by != nil:
		f := rest[len(rest)-1]
		return f == nil || f.Pkg() != c.by.Pkg() // the fields of another module are not looked at
	case !known:
		return true
	case len(rest) > 0:
		return slices.ContainsFunc(rest, func(f *types.Var) bool { return fields[fieldName(f)] })
	}
	return len(fields) > 0
}

// reads are the variables that an expression reads outside of the calls in it.
func (p *pass) reads(e ast.Expr) []place {
	if at, ok := p.place(e); ok {
		return []place{at}
	}
	var all []place
	add := func(list ...ast.Expr) {
		for _, e := range list {
			all = append(all, p.reads(e)...)
		}
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		add(e.X)
	case *ast.SelectorExpr:
		add(e.X)
	case *ast.StarExpr:
		add(e.X)
	case *ast.IndexExpr:
		add(e.X, e.Index)
	case *ast.SliceExpr:
		add(e.X, e.Low, e.High, e.Max)
	case *ast.TypeAssertExpr:
		add(e.X)
	case *ast.BinaryExpr:
		add(e.X, e.Y)
	case *ast.KeyValueExpr:
		add(e.Value)
	case *ast.CompositeLit:
		add(e.Elts...)
	case *ast.UnaryExpr:
		if _, isPlace := p.place(e.X); e.Op != token.ARROW && (e.Op != token.AND || !isPlace) {
			add(e.X)
		}
	case *ast.CallExpr:
		if p.isTransparent(e) {
			add(e.Args...)
		}
	}
	return all
}

// isTransparent tells whether a call expression calls no function: it is a conversion, or a built-in function that only reads
// its operands.
func (p *pass) isTransparent(call *ast.CallExpr) bool {
	t := p.info.Types[call.Fun]
	if t.IsBuiltin() {
		id, ok := ast.Unparen(call.Fun).(*ast.Ident)
		return ok && slices.Contains([]string{"len", "cap", "min", "max"}, id.Name)
	}
	return t.IsType()
}

// calls are those that evaluating an expression makes.
func (p *pass) calls(e ast.Expr) (all []*ast.CallExpr) {
	if e == nil {
		return nil
	}
	ast.Inspect(e, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && !p.info.Types[call.Fun].IsBuiltin() && !p.info.Types[call.Fun].IsType() {
			all = append(all, call)
		}
		_, isLit := n.(*ast.FuncLit)
		return !isLit
	})
	return all
}

// changes are the places that a call may write to.
func (p *pass) changes(call *ast.CallExpr) (all []change) {
	by := p.callee(call.Fun)
	if at, ok := p.receiver(call.Fun); ok {
		all = append(all, change{place: at, by: by})
	}
	all = append(all, p.changedBy(call.Fun)...)
	for _, arg := range call.Args {
		all = append(all, p.given(arg, by)...)
	}
	return all
}

// given are the places that an argument hands over to a function.
func (p *pass) given(arg ast.Expr, to *types.Func) (all []change) {
	if at, ok := p.place(arg); ok && isPointer(p.info.TypeOf(arg)) {
		all = append(all, change{place: at.with(nil), by: to})
	}
	switch e := ast.Unparen(arg).(type) {
	case *ast.UnaryExpr:
		at, ok := p.place(e.X)
		if ok && e.Op == token.AND {
			return append(all, change{place: at, by: to})
		}
		return append(all, p.given(e.X, to)...)
	case *ast.CompositeLit:
		for _, elt := range e.Elts {
			all = append(all, p.given(elt, to)...)
		}
	case *ast.KeyValueExpr:
		all = append(all, p.given(e.Value, to)...)
	case *ast.SelectorExpr:
		if at, ok := p.receiver(e); ok { // a method as a value
			all = append(all, change{place: at, by: p.callee(e)})
		}
	}
	return append(all, p.changedBy(arg)...)
}

// changedBy are the places around a closure that it writes to.
func (p *pass) changedBy(fun ast.Expr) (all []change) {
	lit, ok := ast.Unparen(fun).(*ast.FuncLit)
	if id, isName := ast.Unparen(fun).(*ast.Ident); isName {
		lit, ok = p.closures[p.info.ObjectOf(id)]
	}
	if !ok {
		return nil
	}
	p.writes(lit.Body, func(at place) {
		all = append(all, change{place: at, sure: true})
	}, func(call *ast.CallExpr) {
		if at, ok := p.receiver(call.Fun); ok {
			all = append(all, change{place: at, by: p.callee(call.Fun)})
		}
	})
	return all
}

// sorted puts findings in the order of their places and drops those that are told twice.
func sorted(all []Finding) []Finding {
	slices.SortFunc(all, func(a, b Finding) int { return cmp.Or(cmp.Compare(a.Pos, b.Pos), cmp.Compare(a.Text, b.Text)) })
	return slices.Compact(all)
}
