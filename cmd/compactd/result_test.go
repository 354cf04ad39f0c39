package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlite"
	"github.com/runfold/runfold/journal"
)

// TestResults prints what is awkward: long text, line breaks, escape sequences, bytes, NULL, truth, and more rows than the widths are taken of.
func TestResults(t *testing.T) {
	store, err := generation.Open(newRoot(t, "r-1"), journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "v.db")
	v, err := sqlite.Open(file, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := view.Sync(t.Context(), store, v, view.Options{}); err != nil {
		t.Fatal(err)
	}
	const awkward = `SELECT 'a' || char(10) || '"|' AS t, x'00ff' AS b, NULL AS "n\", 1.5 AS d, 9007199254740993 AS i, char(27) || '[31m' AS e, '{"a":1}' AS snapshot`
	for _, tt := range []struct {
		write      func(*bufio.Writer, result) error
		stmt, want string
	}{
		{writeCSV, awkward, "t,b,n\\,d,i,e,snapshot\n\"a\n\"\"|\",00ff,,1.5,9007199254740993,\x1b[31m,\"{\"\"a\"\":1}\"\n"},
		{writeCSV, `SELECT NULL AS a, '' AS b, ' x' AS c, '\.' AS d, char(13) AS e, 1e999 AS f`, "a,b,c,d,e,f\n,\"\",\" x\",\"\\.\",\"\r\",+Inf\n"},
		{writeCSV, `SELECT NULL AS a UNION ALL SELECT '' UNION ALL SELECT 'x'`, "a\n\"\"\n\"\"\nx\n"},
		{writeJSONRows, awkward, `{"t":"a\n\"|","b":"00ff","n\\":null,"d":1.5,"i":9007199254740993,"e":"\u001b[31m","snapshot":{"a":1}}` + "\n"},
		{writeJSONRows, `SELECT 9e999 AS a, -9e999 AS b, 0.0 AS c`, `{"a":1e999,"b":-1e999,"c":0}` + "\n"},
		{writeMarkdown, awkward, "| t | b | n\\ | d | i | e | snapshot |\n|---|---|---|---|---|---|---|\n" + `| a\n"\| | 00ff |  | 1.5 | 9007199254740993 | \u001b[31m | {"a":1} |` + "\n"},
		{writeTable, awkward, "t      b     n\\    d                 i  e           snapshot\n" + `a\n"|  00ff      1.5  9007199254740993  \u001b[31m  {"a":1}` + "\n(1 rows)\n"},
		{writeTable, `SELECT 'x' AS a, 10 AS n UNION ALL SELECT printf('%050d', 0), 7`,
			"a                                          n\n" + "x                                         10\n" + strings.Repeat("0", 39) + "…   7\n(2 rows)\n"},
		{writeTable, `SELECT 1 AS n WHERE 0`, "n\n(0 rows)\n"},
		{writeTable, `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000) SELECT i FROM c WHERE i = 1 OR i > 790`,
			"  i\n  1\n" + numbers(791, 990) + numbers(991, 1000) + "(211 rows)\n"},
	} {
		r, err := sqlite.OpenReader(t.Context(), file, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		rows, err := r.Query(t.Context(), tt.stmt)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var b strings.Builder
		out := bufio.NewWriter(&b)
		if err := tt.write(out, result{rows}); err != nil {
			t.Errorf("%s: %v", tt.stmt, err)
		}
		out.Flush()
		if b.String() != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.stmt, b.String(), tt.want)
		}
	}
}

// TestSignalEndsQuery ends a query without an end by a signal.
func TestSignalEndsQuery(t *testing.T) {
	cmd := exec.Command("compactd", "query", "--root", string(newRoot(t, "r-1")),
		`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT i FROM c`)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir())
	var words strings.Builder
	cmd.Stderr = &words
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	if _, err := io.ReadFull(stdout, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, stdout); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(words.String(), "compactd: the query was stopped\n") {
		t.Errorf("exit code %d: %s", code, words.String())
	}
}

// numbers are lines of numbers.
func numbers(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		b.WriteString(valueText(int64(i)) + "\n")
	}
	return b.String()
}
