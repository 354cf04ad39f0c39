package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// place is a variable or a part of it: the fields that lead there, and nil where the way goes through a pointer.
type place struct {
	root types.Object
	path []*types.Var
	pos  token.Pos
}

func (at place) with(steps ...*types.Var) place {
	at.path = append(slices.Clip(at.path), steps...)
	return at
}

func (at place) String() string {
	text := at.root.Name()
	for i, f := range at.path {
		if f != nil {
			text += "." + f.Name()
		} else if i == len(at.path)-1 {
			text = "*" + text
		}
	}
	return text
}

// place is the variable that an expression names, if it names one.
func (p *pass) place(e ast.Expr) (place, bool) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return p.place(e.X)
	case *ast.Ident:
		v, ok := p.info.ObjectOf(e).(*types.Var)
		return place{root: v, pos: e.Pos()}, ok
	case *ast.StarExpr:
		at, ok := p.place(e.X)
		return at.with(nil), ok
	case *ast.SelectorExpr:
		sel := p.info.Selections[e]
		if sel == nil {
			v, ok := p.info.Uses[e.Sel].(*types.Var) // of another package
			return place{root: v, pos: e.Pos()}, ok
		}
		at, ok := p.place(e.X)
		if !ok || sel.Kind() != types.FieldVal {
			return place{}, false
		}
		steps, _ := fields(sel.Recv(), sel.Index())
		return at.with(steps...), true
	}
	return place{}, false
}

// fields are the steps that an index of a selection leads through, and the type at their end.
func fields(t types.Type, index []int) (path []*types.Var, end types.Type) {
	for _, i := range index {
		if ptr, ok := t.Underlying().(*types.Pointer); ok {
			path, t = append(path, nil), ptr.Elem()
		}
		s, ok := t.Underlying().(*types.Struct)
		if !ok {
			return path, t
		}
		path, t = append(path, s.Field(i)), s.Field(i).Type()
	}
	return path, t
}

// receiver is what a method gets a pointer to.
func (p *pass) receiver(fun ast.Expr) (place, bool) {
	s, ok := ast.Unparen(fun).(*ast.SelectorExpr)
	if !ok {
		return place{}, false
	}
	sel := p.info.Selections[s]
	if sel == nil || sel.Kind() != types.MethodVal || !isPointer(sel.Obj().Type().(*types.Signature).Recv().Type()) {
		return place{}, false
	}
	at, ok := p.place(s.X)
	index := sel.Index()
	steps, t := fields(sel.Recv(), index[:len(index)-1])
	if isPointer(t) {
		steps = append(steps, nil)
	}
	return at.with(steps...), ok
}

func isPointer(t types.Type) bool {
	if t == nil {
		return false
	}
	_, ok := t.Underlying().(*types.Pointer)
	return ok
}

// callee is the function that is called, if it has a name.
func (p *pass) callee(fun ast.Expr) *types.Func {
	var f *types.Func
	switch fun := ast.Unparen(fun).(type) {
	case *ast.Ident:
		f, _ = p.info.Uses[fun].(*types.Func)
	case *ast.SelectorExpr:
		f, _ = p.info.Uses[fun.Sel].(*types.Func)
	case *ast.IndexExpr: // with a type parameter
		return p.callee(fun.X)
	}
	if f != nil {
		f = f.Origin()
	}
	return f
}
