package arrows

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// forTests are the fields of public types that have an internal type: a program leaves them nil, as their comments say.
var forTests = []string{"journal.Root.FS", "journal.RootOptions.FS", "compactor.Config.FS", "generation.Store.FS", "file.Lock.FS"}

// TestPublicNamesNoInternal looks at what the public packages export: a program of another module must be able to name each
// type in it. A nil in the place of one is a crash in that program.
func TestPublicNamesNoInternal(t *testing.T) {
	met := map[string]bool{}
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if strings.HasPrefix(name, "internal/") || strings.HasPrefix(name, "cmd/") {
			continue
		}
		for _, file := range p.GoFiles {
			for _, found := range internalsIn(t, filepath.Join(p.Dir, file), path.Base(name)) {
				met[found] = true
				if !slices.Contains(forTests, found) {
					t.Errorf("%s/%s: %s has an internal type: no program of another module can name it", name, file, found)
				}
			}
		}
	}
	for _, name := range forTests {
		if !met[name] {
			t.Errorf("%s has no internal type any more: is this test looking in the right place?", name)
		}
	}
}

// internalsIn lists the exported functions, methods and fields of a file in which an internal type stands.
func internalsIn(t *testing.T, path, pkg string) (found []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	internal := map[string]bool{} // the names of internal packages in this file
	for _, imp := range file.Imports {
		path, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(path, module+"/internal/") {
			name := path[strings.LastIndex(path, "/")+1:]
			if imp.Name != nil {
				name = imp.Name.Name
			}
			internal[name] = true
		}
	}
	note := func(n ast.Node, name ...string) {
		if n != nil && hasPackage(n, internal) {
			found = append(found, strings.Join(append([]string{pkg}, name...), "."))
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && ast.IsExported(receiver(d)) {
				note(d.Type, receiver(d), d.Name.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() {
					typeNotes(s, note)
				}
			}
		}
	}
	return found
}

// receiver is the name of a method's type, or Func of a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return "Func"
	}
	of := d.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	name, _ := of.(*ast.Ident) // nothing of ours is generic
	return name.Name
}

// typeNotes looks at the exported fields of a struct, and at the whole of any other type.
func typeNotes(s *ast.TypeSpec, note func(ast.Node, ...string)) {
	st, ok := s.Type.(*ast.StructType)
	if !ok {
		note(s.Type, s.Name.Name)
		return
	}
	for _, f := range st.Fields.List {
		if len(f.Names) == 0 {
			note(f.Type, s.Name.Name) // its methods are those of the struct
		}
		for _, name := range f.Names {
			if name.IsExported() {
				note(f.Type, s.Name.Name, name.Name)
			}
		}
	}
}

// hasPackage tells whether one of the packages is named in a type.
func hasPackage(n ast.Node, names map[string]bool) (has bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok {
				has = has || names[x.Name]
			}
		}
		return true
	})
	return has
}
