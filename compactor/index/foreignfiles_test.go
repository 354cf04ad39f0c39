package index

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var live = flag.Bool("live", false, "make files with the writers of others, and read them; needs python3 and its packages")

const foreignDir = "testdata/foreign"

// TestForeignFiles reads files of pyarrow, pandas, polars, DuckDB, fastparquet and Spark. The rows that they must have
// were told by pyarrow or DuckDB; testdata/foreign/make.py and spark.py made both.
func TestForeignFiles(t *testing.T) {
	n := checkForeign(t, foreignDir, "cases.txt") + checkForeign(t, foreignDir, "spark-cases.txt")
	if n < 50 {
		t.Errorf("%d files were read: where are the others?", n)
	}
}

// TestForeignLive has every codec, page version, size and writer. The packages of Python are installed once, into the
// user's cache.
func TestForeignLive(t *testing.T) {
	if !*live {
		t.Skip("only with -live")
	}
	packages := pythonPackages(t)
	out := t.TempDir()
	cmd := exec.Command("python3", "-B", filepath.Join(foreignDir, "make.py"), out, "--all")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+packages)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make.py: %v\n%s", err, text)
	}
	n := checkForeign(t, out, "cases.txt")
	t.Logf("figure: %d files of other writers were read, row by row as other readers read them", n)
	if n < 250 {
		t.Errorf("%d files were made: where are the others?", n)
	}
}

// pythonPackages installs what requirements.txt lists, and returns where.
func pythonPackages(t *testing.T) string {
	t.Helper()
	list := filepath.Join(foreignDir, "requirements.txt")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command("python3", "-c", "import sys; print(sys.implementation.cache_tag)").Output()
	if err != nil {
		t.Fatalf("python3 makes the files of this test: %v", err)
	}
	sum := sha256.Sum256([]byte(readFile(t, list) + string(version)))
	dir := filepath.Join(cache, "runfold-foreign", fmt.Sprintf("%x", sum[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if text, err := exec.Command("python3", "-m", "pip", "install", "--quiet", "--target", tmp, "-r", list).CombinedOutput(); err != nil {
		t.Fatalf("pip install: %v\n%s", err, text)
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, gone := os.Stat(dir); gone != nil { // else another test was quicker
			t.Fatal(err)
		}
	}
	return dir
}

// checkForeign reads the files that a list names, each with the name of its rows.
func checkForeign(t *testing.T, dir, list string) (n int) {
	t.Helper()
	for line := range strings.Lines(readFile(t, filepath.Join(dir, list))) {
		file, rows, _ := strings.Cut(strings.TrimSpace(line), " ")
		n++
		t.Run(file, func(t *testing.T) {
			got := foreignRows(t, []byte(readFile(t, filepath.Join(dir, file))))
			want := strings.Split(readFile(t, filepath.Join(dir, rows+".jsonl")), "\n")
			want = want[:len(want)-1]
			if len(got) != len(want) {
				t.Fatalf("%d rows, want %d", len(got), len(want))
			}
			for i := range got {
				if got[i] == want[i] {
					continue
				}
				if diff := cmp.Diff(parsed(t, want[i]), parsed(t, got[i]), sameNumbers); diff != "" {
					t.Fatalf("row %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
	return n
}

func parsed(t *testing.T, row string) (v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(row))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// sameNumbers compares what numbers say, to the last digit: Python and Go write exponents differently.
var sameNumbers = cmp.Comparer(func(a, b json.Number) bool {
	x, okX := new(big.Rat).SetString(string(a))
	y, okY := new(big.Rat).SetString(string(b))
	return okX && okY && x.Cmp(y) == 0
})

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
