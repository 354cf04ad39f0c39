//go:build unix

package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReaders reads the index of the examples with each of the readers, and compares what they read cell by cell.
func TestReaders(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the commands, and waits for Python")
	}
	python := findPython(t)
	if python == "" {
		t.Skip("make test-docs makes the readers")
	}
	root := filepath.Join(t.TempDir(), "runs")
	example := exec.Command(filepath.Join(top, "docs", "examples", "run.sh"), root)
	example.Env = append(os.Environ(), "BIN="+buildCommands(t), "RUNFOLD_ROOT_ID=")
	if out, err := example.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", example, err, out)
	}
	if out, err := exec.Command(python, "testdata/readers.py", filepath.Join(root, "index.parquet")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPaddedReaders reads an index with zeros between its row groups, and snapshots with spaces between their sections.
func TestPaddedReaders(t *testing.T) {
	if testing.Short() {
		t.Skip("folds 130,000 rows, and waits for Python")
	}
	python := findPython(t)
	if python == "" {
		t.Skip("make test-docs makes the readers")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "-buildvcs=false", "../padded", dir).CombinedOutput(); err != nil {
		t.Fatalf("internal/padded: %v\n%s", err, out)
	}
	script := filepath.Join(top, "internal", "acceptance", "testdata", "engines", "padded.py")
	if out, err := exec.Command(python, script, "pyarrow,pandas,polars,python", dir).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestVersions holds the versions that the README names against those that are installed.
func TestVersions(t *testing.T) {
	pinned, err := os.ReadFile("requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	readme := strings.ReplaceAll(strings.ToLower(read(t, "README.md")), " | ", " ")
	n := 0
	for _, m := range regexp.MustCompile(`(?m)^(duckdb|pandas|polars|pyarrow)==(\S+)$`).FindAllStringSubmatch(string(pinned), -1) {
		n++
		if name := m[1] + " " + m[2]; !strings.Contains(readme, name) {
			t.Errorf("README.md does not say that %s was tried", name)
		}
	}
	if n != 4 {
		t.Errorf("requirements.txt has %d of the four readers", n)
	}
}
