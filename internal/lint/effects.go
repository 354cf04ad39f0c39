package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
)

// Effects say what functions may write to, by their full names. They are noted for whole packages before Order uses them.
type Effects map[string]*effect

// effect says which fields one function writes to itself ("" is what a pointer points to), and which functions it calls.
type effect struct {
	fields  map[string]bool
	callees map[string]bool
	all     map[string]bool // fields, including those of the callees; nil: not computed yet
}

// Note adds the functions of one file.
func (fx Effects) Note(file *ast.File, info *types.Info) {
	p := pass{info: info}
	for _, d := range file.Decls {
		fun, ok := d.(*ast.FuncDecl)
		if !ok || fun.Body == nil {
			continue
		}
		self := info.Defs[fun.Name].(*types.Func)
		e := &effect{fields: map[string]bool{}, callees: map[string]bool{}}
		fx[self.FullName()] = e
		write := func(at place) {
			for i, step := range at.path {
				if step != nil || i == len(at.path)-1 {
					e.fields[fieldName(step)] = true
				}
			}
		}
		p.writes(fun.Body, write, func(call *ast.CallExpr) {
			f := p.callee(call.Fun)
			if f == nil {
				return
			}
			e.callees[f.FullName()] = true
			if at, ok := p.receiver(call.Fun); ok && f.Pkg() != self.Pkg() {
				write(at) // a field with methods of its own, which may be those of another module
			}
		})
	}
}

// of are all fields that a function and its callees write to. A function of another module may write to anything:
// known is false. Calls through interfaces and variables are not followed.
func (fx Effects) of(f *types.Func) (fields map[string]bool, known bool) {
	if f == nil || fx[f.FullName()] == nil {
		return nil, false
	}
	e := fx[f.FullName()]
	if e.all == nil {
		e.all = map[string]bool{}
		fx.collect(e, e.all, map[*effect]bool{})
	}
	return e.all, true
}

func (fx Effects) collect(e *effect, into map[string]bool, seen map[*effect]bool) {
	if e == nil || seen[e] {
		return
	}
	seen[e] = true
	maps.Copy(into, e.fields)
	for name := range e.callees {
		fx.collect(fx[name], into, seen)
	}
}

// fieldName tells fields apart across packages that were checked one by one.
func fieldName(f *types.Var) string {
	if f == nil || f.Pkg() == nil {
		return ""
	}
	return f.Pkg().Path() + "." + f.Name()
}

// writes goes through a function's body: the places that it writes to or takes the address of, and its calls.
func (p *pass) writes(body ast.Node, write func(place), call func(*ast.CallExpr)) {
	note := func(e ast.Expr) {
		if at, ok := p.place(e); ok {
			write(at)
		}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				note(e)
			}
		case *ast.IncDecStmt:
			note(n.X)
		case *ast.RangeStmt:
			note(n.Key)
			note(n.Value)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				note(n.X)
			}
		case *ast.CallExpr:
			call(n)
		}
		return true
	})
}
