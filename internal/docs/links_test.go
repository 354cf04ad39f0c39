package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^):]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks follows every link between pages, to a heading too.
func TestLinks(t *testing.T) {
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			to, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if to != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(page), to))
			}
			if _, err := os.Stat(filepath.Join(top, target)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s: the link %s leads to no heading of %s", page, m[1], target)
			}
		}
	}
}

func anchors(text string) (all []string) {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		all = append(all, strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

var (
	testName = regexp.MustCompile("`(Test[A-Z][A-Za-z]*)`")
	fileName = regexp.MustCompile("`((?:[a-z-]+/)+[a-z_*-]+\\.(?:go|txt|txtar|md))`")
)

// TestNames looks for every test and every file that a page names.
func TestNames(t *testing.T) {
	tests, files := inRepository(t)
	for _, page := range pages(t) {
		text := read(t, page)
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(tests, m[1]) {
				t.Errorf("%s names %s, and there is no such test", page, m[1])
			}
		}
		for _, m := range fileName.FindAllStringSubmatch(text, -1) {
			if !slices.ContainsFunc(files, func(f string) bool { return isFile(m[1], f) }) {
				t.Errorf("%s names %s, and there is no such file", page, m[1])
			}
		}
	}
}

// isFile tells whether name, which may be the end of a path and have stars, is that of file.
func isFile(name, file string) bool {
	n, f := strings.Split(name, "/"), strings.Split(file, "/")
	if len(f) < len(n) {
		return false
	}
	ok, err := filepath.Match(name, strings.Join(f[len(f)-len(n):], "/"))
	return ok && err == nil
}

// inRepository lists the names of all tests, and all files.
func inRepository(t *testing.T) (tests, files []string) {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := rel(path)
		if d.IsDir() {
			if isMade(name) {
				return filepath.SkipDir
			}
			return nil
		}
		files = append(files, name)
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			tests = append(tests, m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests, files
}
