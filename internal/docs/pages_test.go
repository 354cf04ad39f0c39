package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const top = "../.."

// block is a code block of a page.
type block struct {
	page     string
	line     int    // where it begins, from 1
	language string // "" if it has none
	text     string
	notRun   string // why; "" if it is to be run
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// pages are the documents that somebody reads to use runfold, or to change it. Decisions stay as they were
// written, and make bench writes docs/bench.
func pages(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := rel(path)
		if d.IsDir() && (isMade(name) || name == "docs/decisions" || name == "docs/bench") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// rel is a path relative to the top of the repository.
func rel(path string) string {
	name, err := filepath.Rel(top, path)
	if err != nil {
		panic(err)
	}
	return filepath.ToSlash(name)
}

// isMade tells whether something was made in a clone: by git, by make, by Python, by who follows the README.
func isMade(name string) bool {
	return strings.HasPrefix(path.Base(name), ".") && name != "." || path.Base(name) == "__pycache__" ||
		slices.Contains([]string{"bin", "example-runs", "runs", "journal/python/build", "journal/python/dist", "journal/python/src/runfold/bin"}, name)
}

func read(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	notRunComment = regexp.MustCompile(`^<!-- not run: (.+) -->$`)
	listItem      = regexp.MustCompile(`^ *([-*]|[0-9]+\.) `)
)

// blocksOf finds the code blocks of a page: those between fences, and those that are indented by four spaces.
func blocksOf(page, text string) (blocks []block) {
	lines := strings.Split(text, "\n")
	isList := false // an indented line belongs to an item of a list
	for i := 0; i < len(lines); i++ {
		language, fenced := strings.CutPrefix(lines[i], "```")
		indented := strings.HasPrefix(lines[i], "    ") && i > 0 && lines[i-1] == "" && !isList
		if lines[i] != "" && !strings.HasPrefix(lines[i], " ") || listItem.MatchString(lines[i]) {
			isList = listItem.MatchString(lines[i])
		}
		if !fenced && !indented {
			continue
		}
		b := block{page: page, line: i + 1, language: language, notRun: reasonAbove(lines[:i])}
		if indented {
			b.language = ""
		} else {
			i++
		}
		for ; i < len(lines) && (fenced && lines[i] != "```" || indented && (lines[i] == "" || strings.HasPrefix(lines[i], "    "))); i++ {
			b.text += lines[i] + "\n"
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// reasonAbove is the reason in a comment that stands above a block.
func reasonAbove(lines []string) string {
	for _, line := range slices.Backward(lines) {
		if m := notRunComment.FindStringSubmatch(line); m != nil {
			return m[1]
		}
		if line != "" {
			break
		}
	}
	return ""
}

func TestBlocksOf(t *testing.T) {
	const text = "a\n\n```sh\none\n\ntwo\n```\n- item\n\n    of the item\n\ntext\n\n    indented\n\n    more\n\n<!-- not run: why -->\n\n```\nthree\n```\n"
	want := []block{
		{page: "P", line: 3, language: "sh", text: "one\n\ntwo\n"},
		{page: "P", line: 14, text: "    indented\n\n    more\n\n"},
		{page: "P", line: 20, text: "three\n", notRun: "why"},
	}
	if got := blocksOf("P", text); !slices.Equal(got, want) {
		t.Errorf("blocksOf = %+v\nwant       %+v", got, want)
	}
}

// notRun is how many blocks of each page are not run. Change it when you add one.
var notRun = map[string]int{
	"README.md":                  3, // internal/acceptance runs one
	"bench/README.md":            1,
	"docs/README.md":             2,
	"docs/engines/clickhouse.md": 1,
	"docs/engines/duckdb.md":     1,
	"docs/engines/spark.md":      3,
	"docs/engines/trino.md":      2,
	"docs/format/README.md":      1,
	"docs/import.md":             1,
	"docs/format/journal.md":     1,
	"docs/format/lock.md":        1, // internal/durable reads it
	"docs/format/settings.md":    1,
	"docs/locks.md":              4, // internal/acceptance and the tests of compactor/lock run the like
	"docs/operations.md":         1,
	"docs/python.md":             1, // a test of the package does it
	"docs/views.md":              1,
	"journal/python/README.md":   1, // as in docs/python.md
}

// TestNothingIsHidden holds what is not run against what is known of it: each block is run, compared, a vector, or counted here.
func TestNothingIsHidden(t *testing.T) {
	for _, page := range pages(t) {
		n := 0
		var before block
		for _, b := range blocksOf(page, read(t, page)) {
			switch {
			case b.notRun != "":
				n++
			case b.language == "output" && !isRun(before):
				t.Errorf("%v: output of no block: the one before it is not run", b)
			case !isRun(b) && b.language != "output" && !isReadElsewhere(b):
				t.Errorf("%v: nothing runs a block of %q: name a language that is run, or say above it why not (see doc.go)", b, b.language)
			}
			before = b
		}
		if n != notRun[page] {
			t.Errorf("%s: %d blocks are not run, and %d are known: run them, or change notRun", page, n, notRun[page])
		}
	}
}

func isRun(b block) bool {
	return b.notRun == "" && slices.Contains([]string{"sh", "python", "sql", "go"}, b.language) && !isReadElsewhere(b)
}

// elsewhere names the test that reads the blocks of a language in a page.
var elsewhere = map[[2]string]string{
	{"docs/format/journal.md", "vector"}:    "journal/frame_test.go",
	{"docs/format/manifest.md", "vector"}:   "compactor/generation/manifest_test.go",
	{"docs/format/quarantine.md", "vector"}: "compactor/quarantine_test.go",
	{"docs/format/settings.md", "vector"}:   "journal/root_test.go",
	{"docs/format/snapshots.md", "vector"}:  "compactor/index/snapshots_test.go",
	{"docs/format/withdrawn.md", "vector"}:  "compactor/generation/actions_test.go",
	{"docs/format/erased.md", "vector"}:     "compactor/generation/erased_test.go",
	{"docs/library.md", "go"}:               "internal/outside/library_test.go",
}

func isReadElsewhere(b block) bool { return elsewhere[[2]string{b.page, b.language}] != "" }

// TestElsewhere looks whether the tests that read blocks of other pages are there, and name the page.
func TestElsewhere(t *testing.T) {
	for _, page := range pages(t) {
		for _, b := range blocksOf(page, read(t, page)) {
			if test := elsewhere[[2]string{page, b.language}]; test != "" && !strings.Contains(read(t, test), filepath.Base(page)) {
				t.Errorf("%v: %s does not read this page", b, test)
			}
		}
	}
}
