package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// TestHostileName names a file that would color the terminal and forge a line: it shows as what it is.
func TestHostileName(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := journal.InitRoot(cohort.Root(filepath.Join(dir, "runs")), cohort.Settings{}, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "\x1b[31mbad\nfile")
	if err := os.WriteFile(name, []byte("nonsense"), 0o666); err != nil {
		t.Skip(err) // not on Windows
	}
	var stdout, stderr bytes.Buffer
	code := run([]string{"--root", filepath.Join(dir, "runs"), "--cohort", "a", name}, strings.NewReader(""), &stdout, &stderr)
	if got, want := stderr.String(), `\u001b[31mbad\nfile:1: record is not JSON`; code != exitFailed || !strings.Contains(got, want) || strings.Contains(got, "\x1b") {
		t.Errorf("exit code %d, standard error %q, want %q in it", code, got, want)
	}
}
