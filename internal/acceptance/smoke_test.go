package acceptance

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSmoke is the least that must go on every system: append, publish, publish again, read, and go on after a writer that was
// killed.
func TestSmoke(t *testing.T) {
	root := filepath.Join(t.TempDir(), "runs")
	p := programs("")
	mustDo := func(name string, args ...string) string {
		t.Helper()
		stdout, stderr, code := p.run(t, "", name, append(args, "--root", root)...)
		if code != 0 {
			t.Fatalf("%s %v: exit code %d: %s", name, args, code, stderr)
		}
		return stdout
	}
	mustDo("compactd", "init")
	for _, run := range []string{"r-1", "r-2", "r-2"} { // the third replaces a row
		mustDo("journal-append", "--cohort", "a", "--run-id", run, "--stage", "S")
		mustDo("compactd", "once")
	}

	w := exec.Command("journal-append", "--root", root, "--cohort", "b", "--ack")
	in, err := w.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Process.Kill() })
	if _, err := io.WriteString(in, `{"run_id":"r-3","stage":"S"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.Contains(answer, "error") {
		t.Fatalf("answer %q, %v", answer, err)
	}
	mustDo("compactd", "once") // while the writer lives
	if err := w.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	w.Wait()

	mustDo("journal-append", "--cohort", "a", "--run-id", "r-4", "--stage", "S")
	mustDo("compactd", "once")
	mustDo("compactd", "columns", "set", "git:string")
	mustDo("compactd", "check")
	rows := mustDo("compactd", "runs")
	for _, run := range []string{"r-1", "r-2", "r-3", "r-4"} {
		if strings.Count(rows, run+":S\t") != 1 {
			t.Errorf("%s is not there once:\n%s", run, rows)
		}
	}
	if status := mustDo("compactd", "status", "--json"); !strings.Contains(status, `"generation"`) {
		t.Errorf("status: %s", status)
	}
}
