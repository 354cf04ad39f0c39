package arrows

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTree compares the tree in docs/README.md, with the packages that it names below it, with the packages that there are.
func TestTree(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, tree, ok := strings.Cut(string(page), "\n## The tree\n")
	if !ok {
		t.Fatal("docs/README.md has no tree")
	}
	var drawn []string
	for _, m := range regexp.MustCompile(`(?m)^    ([a-z-]+(?:/[a-z-]+)*)/ {2,}\S`).FindAllStringSubmatch(tree, -1) {
		drawn = append(drawn, m[1])
	}
	for _, m := range regexp.MustCompile("`(internal/[a-z]+)`").FindAllStringSubmatch(tree, -1) {
		drawn = append(drawn, m[1])
	}
	var there []string
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if name != "internal/durable/durabletest" { // part of the room above it
			there = append(there, name)
		}
	}
	for _, name := range drawn {
		if !slices.Contains(there, name) && !isModule(name) {
			t.Errorf("docs/README.md draws %s, which is no package", name)
		}
	}
	modules, err := filepath.Glob(filepath.Join("..", "*", "go.mod"))
	if err != nil || len(modules) == 0 {
		t.Errorf("modules under internal/: %v, %v", modules, err)
	}
	for _, m := range modules {
		there = append(there, "internal/"+filepath.Base(filepath.Dir(m)))
	}
	for _, name := range there {
		if !slices.Contains(drawn, name) {
			t.Errorf("docs/README.md does not draw %s", name)
		}
	}
}

// isModule tells whether a folder is a module of its own, or a package of Python, whose packages are not listed with ours.
func isModule(name string) bool {
	folder := filepath.Join("..", "..", filepath.FromSlash(name))
	_, isGo := os.Stat(filepath.Join(folder, "go.mod"))
	_, isPython := os.Stat(filepath.Join(folder, "pyproject.toml"))
	return isGo == nil || isPython == nil
}
