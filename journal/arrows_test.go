package journal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOnlyWalGoKnowsTheLibrary reads the sources of the whole module: only wal.go imports tidwall/wal, and
// calls its Open, which may change files, once.
func TestOnlyWalGoKnowsTheLibrary(t *testing.T) {
	var importers []string
	uses := map[string]int{}
	for _, pattern := range []string{"../*.go", "../*/*.go", "../*/*/*.go", "../*/*/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasPrefix(name, "../bench/") {
				continue // a module of its own, which measures the bare library beside ours
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range file.Imports {
				if i.Path.Value == `"github.com/tidwall/wal"` {
					importers = append(importers, name)
					countUses(t, name, uses)
				}
			}
		}
	}
	if diff := cmp.Diff([]string{filepath.Join("..", "journal", "wal.go")}, importers); diff != "" {
		t.Errorf("importers of tidwall/wal (-want +got):\n%s", diff)
	}
	// wal.Log and wal.Batch are the types of fields. Its Read and Truncate are not for us.
	want := map[string]int{"wal.Open": 1, "wal.Options": 1, "wal.Log": 1, "wal.Batch": 1, "log.WriteBatch": 1, "log.Sync": 1, "log.Close": 1}
	if diff := cmp.Diff(want, uses); diff != "" {
		t.Errorf("uses of tidwall/wal (-want +got):\n%s", diff)
	}
}

// countUses counts which names of package wal a file uses, and its calls of a log.
func countUses(t *testing.T, name string, uses map[string]int) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		switch x := s.X.(type) {
		case *ast.Ident:
			if x.Name == "wal" {
				uses["wal."+s.Sel.Name]++
			}
		case *ast.SelectorExpr:
			if x.Sel.Name == "log" {
				uses["log."+s.Sel.Name]++
			}
		}
		return true
	})
}
