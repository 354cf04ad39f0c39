package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pkg is what go list says of a package.
type pkg struct {
	ImportPath, Dir, Export            string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

func list(t *testing.T, args ...string) (pkgs []pkg) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %v", err, cmd.Stderr)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// unit is what is checked at once: a package with its tests, or its tests from outside.
type unit struct {
	path  string
	files []*ast.File
	info  *types.Info
}

// module is this whole module, with its types.
func module(t *testing.T, fset *token.FileSet) (units []*unit) {
	t.Helper()
	pkgs := list(t, "-json", "github.com/runfold/runfold/...")
	exports := exported(t, "-test", "github.com/runfold/runfold/...")
	for _, p := range pkgs {
		for _, files := range [][]string{slices.Concat(p.GoFiles, p.TestGoFiles), p.XTestGoFiles} {
			u := &unit{path: p.ImportPath, info: newInfo()}
			for _, name := range files {
				file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
				if err != nil {
					t.Fatal(err)
				}
				u.files = append(u.files, file)
			}
			imp := imported(fset, exports, p.ImportPath)
			if _, err := (&types.Config{Importer: imp}).Check(u.path, fset, u.files, u.info); err != nil {
				t.Fatal(err)
			}
			units = append(units, u)
		}
	}
	return units
}

// exported tells where the go command has put what it built of packages, and of all that they import.
func exported(t *testing.T, args ...string) map[string]string {
	t.Helper()
	exports := map[string]string{}
	for _, p := range list(t, append([]string{"-deps", "-export", "-json=ImportPath,Export"}, args...)...) {
		exports[p.ImportPath] = p.Export
	}
	return exports
}

// imported imports packages as they are while tested is being tested: it, and what imports it, may have more in them then.
func imported(fset *token.FileSet, exports map[string]string, tested string) types.Importer {
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path+" ["+tested+".test]"]
		if !ok {
			file = exports[path]
		}
		return os.Open(file)
	})
}

func newInfo() *types.Info {
	return &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{},
		Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
}

// TestOrder goes through the whole module.
func TestOrder(t *testing.T) {
	fset, effects := token.NewFileSet(), Effects{}
	units := module(t, fset)
	for _, u := range units {
		for _, file := range u.files {
			effects.Note(file, u.info)
		}
	}
	for _, u := range units {
		for _, file := range u.files {
			for _, f := range Order(file, u.info, effects) {
				t.Errorf("%s: %s", fset.Position(f.Pos), f.Text)
			}
		}
	}
	if len(effects) < 100 {
		t.Errorf("only %d functions are known: is this test looking in the right place?", len(effects))
	}
}

// TestOrderFinds compares what is found in testdata with the comments there: a line with "want NAME" has NAME read
// beside a call that may change it, and no other line has.
func TestOrderFinds(t *testing.T) {
	for _, name := range []string{"bad.go", "good.go"} {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, filepath.Join("testdata", name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		info, effects := newInfo(), Effects{}
		if _, err := (&types.Config{Importer: imported(fset, exported(t, "bytes"), "")}).Check("p", fset, []*ast.File{file}, info); err != nil {
			t.Fatal(err)
		}
		effects.Note(file, info)
		got, want := map[int]string{}, map[int]string{}
		for _, f := range Order(file, info, effects) {
			subject, _, _ := strings.Cut(f.Text, " is read")
			got[fset.Position(f.Pos).Line] += subject + " "
		}
		for _, group := range file.Comments {
			for _, c := range group.List {
				if m := regexp.MustCompile(`^// want (.*)$`).FindStringSubmatch(c.Text); m != nil {
					want[fset.Position(c.Pos()).Line] = m[1] + " "
				}
			}
		}
		for _, line := range slices.Sorted(maps.Keys(got)) {
			if got[line] != want[line] {
				t.Errorf("%s:%d: found %q, want %q", name, line, got[line], want[line])
			}
		}
		for line, w := range want {
			if got[line] == "" {
				t.Errorf("%s:%d: nothing was found, want %q", name, line, w)
			}
		}
		if name == "bad.go" && len(want) == 0 {
			t.Error("bad.go wants nothing")
		}
	}
}
