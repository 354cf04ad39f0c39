package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// phrase is a turn of phrase that readers of English as a second language stumble over.
type phrase struct {
	find *regexp.Regexp
	say  string // what to write instead, and why
	bad  string // an example in which it is found
	good string // one that is similar and allowed
}

// in returns the part of a text that should be written otherwise, or nothing.
func (p phrase) in(text string) string {
	for _, hit := range p.find.FindAllString(text, -1) {
		if hit != "there is none" { // good English
			return hit
		}
	}
	return ""
}

// phrases stood in this repository, each several times. A phrase belongs here only if it has no good use: "behind" alone is
// not here, because it is right for a place.
var phrases = []phrase{
	{regexp.MustCompile(`\b(?:\w+ )?is none\b`), `say what it is: "is not a ULID", "does not exist"`,
		"version 7 is none", "nil if there is none"},
	{regexp.MustCompile(`\bnone before it\b`), `say "the first", or "has no parent"`,
		"generation 3, which is none before it", "no row comes before it"},
	{regexp.MustCompile(`\b(?i:but for)\b`), `say "except", or "without"`,
		"all of it but for the key", "it is not for readers but is for writers"},
	{regexp.MustCompile(`\bnothing but\b`), `say "only"`,
		"it changes nothing but r", "nothing changes, but r is read"},
	{regexp.MustCompile(`\bmakes no sense\b`), `say which values are allowed`,
		"a negative number makes no sense here", "must be 0 or more"},
	{regexp.MustCompile(`\bas it were\b`), `leave it out`, "a lock, as it were", "it stays as it was"},
	{regexp.MustCompile(`\b[Ww]hoever\b`), `name the subject: "a reader", "a process that ..."`,
		"whoever finds the name", "the process that finds the name"},
	{regexp.MustCompile(`(?:^|[.!] )Who [a-z]+s\b[^?]*$`), `name the subject: "a program that ..."`,
		"The lock is free. Who holds it writes.", "Who holds the lock?"},
	{regexp.MustCompile(`\bon (?:the word of|its word|their word)\b`), `say "because ... says so"`,
		"deletes on the word of two manifests", "depends on the word size"},
	{regexp.MustCompile(`\b(?:of|than|refuses|finds|for) what is no\b`), `say what it is not: "that is not JSON"`,
		"refuses what is no such object", "tells what is not there"},
	{regexp.MustCompile(`\b[Bb]ehind (?:the|a|an|its|each|that|our|every) (?:\w+ )?(?:commit|create|fold|write|sync|append|seal|crash|repair|deletion|` +
		`end|last|record|entry|update|acknowledgement)\b`), `say "after": "behind" is for places only`,
		"deleted behind the commit of N+1", "a link behind the root, the door behind the house"},
}

// TestPhrases looks for the phrases in the comments and strings of every Go file, and in every Markdown page. Decisions are left
// out, because they stay as they were written.
func TestPhrases(t *testing.T) {
	root := filepath.Join("..", "..")
	texts := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		name = filepath.ToSlash(name)
		switch {
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || name == "docs/decisions"):
			return fs.SkipDir
		case name == "internal/lint/phrases_test.go":
			return nil
		}
		found := textsOf(t, path)
		texts += len(found)
		for _, text := range found {
			for _, p := range phrases {
				if hit := p.in(text); hit != "" {
					t.Errorf("%s: %q in %.200q: %s", name, hit, text, p.say)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if texts < 5000 {
		t.Errorf("only %d texts: is this test looking in the right place?", texts)
	}
}

// TestPhrasesFind looks for each phrase in its own examples.
func TestPhrasesFind(t *testing.T) {
	for _, p := range phrases {
		if p.in(p.bad) == "" {
			t.Errorf("%v is not found in %q", p.find, p.bad)
		}
		if hit := p.in(p.good); hit != "" {
			t.Errorf("%v finds %q in %q", p.find, hit, p.good)
		}
	}
}

// textsOf is what people read in a file, each comment, string or paragraph on one line. It is nil if the file is neither Go nor
// Markdown.
func textsOf(t *testing.T, path string) (texts []string) {
	t.Helper()
	switch filepath.Ext(path) {
	case ".go":
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range file.Comments {
			texts = append(texts, strings.Join(strings.Fields(c.Text()), " "))
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					texts = append(texts, text)
				}
			}
			return true
		})
	case ".md":
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split(string(data), "```") {
			if i%2 == 1 { // code
				continue
			}
			for _, text := range strings.Split(part, "\n\n") {
				texts = append(texts, strings.Join(strings.Fields(text), " "))
			}
		}
	}
	return texts
}
