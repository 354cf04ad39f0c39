package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// TestImportExamples runs the examples of the help of import and of its subcommands, each in an empty directory with the files that it names.
func TestImportExamples(t *testing.T) {
	for _, program := range []string{"sh", "cp"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	examples, err := filepath.Abs(filepath.Join("..", "..", "docs", "examples"))
	if err != nil {
		t.Fatal(err)
	}
	a := &app{}
	for _, cmd := range a.command().Commands() {
		if cmd.Name() != "import" {
			continue
		}
		for _, of := range append(cmd.Commands(), cmd) {
			lines := strings.Split(strings.ReplaceAll(of.Example, "\\\n", ""), "\n")
			if len(lines) < 2 {
				t.Errorf("%s has %d examples", of.Name(), len(lines))
			}
			for _, line := range lines {
				importExample(t, examples, strings.TrimSpace(line))
			}
		}
	}
}

func importExample(t *testing.T, examples, line string) {
	t.Helper()
	dir := t.TempDir()
	type row struct {
		Name      string  `parquet:"name"`
		Team      string  `parquet:"team"`
		StartedAt string  `parquet:"started_at"`
		AUC       float64 `parquet:"AUC"`
	}
	table := func(name string) string {
		var b bytes.Buffer
		if err := parquet.Write(&b, []row{{name, "EU", "2026-01-01T10:00:00", 0.5}}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"excel.csv": "name;team;timestamp\nr-1;EU team;2026-01-01 10:00:00\n", "old.ndjson": `{"id":"r-1","run_id":"r-2"}` + "\n", "results.parquet": table("p-1"),
		"january.parquet": table("p-1"), "february.parquet": table("p-2"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	const before = `cp -r "$1"/trackers/* .
mkdir old
compactd init --root other 2> /dev/null
journal-append --root other --cohort c --run-id r --stage S --summary none
compactd once --root other 2> /dev/null
cp other/index.parquet other/snapshot_index.json old
case $2 in *--create*) ;; *) compactd init --root runs 2> /dev/null;; esac
eval "$2"`
	cmd := exec.Command("sh", "-euc", before, "sh", examples, line)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}
