package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/internal/servertest"
)

// TestPostgres runs what the README says of psql, with a server of its own, and a daemon beside it.
func TestPostgres(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(page), "<!-- not run: TestPostgres runs it, with a server of its own -->\n\n```sh\n")
	block, _, closed := strings.Cut(block, "```\n")
	if !found || !closed || strings.Count(block, "\n") != 3 {
		t.Fatalf("the README does not have three commands from nothing to psql:\n%s", block)
	}
	s, err := servertest.NewPostgres(nil)
	if err != nil {
		servertest.Skip(t, err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	t.Setenv("PGHOST", s.Dir)
	t.Setenv("PGUSER", servertest.User)
	t.Setenv("PATH", s.Bin+":"+os.Getenv("PATH"))
	dir := t.TempDir()
	t.Chdir(dir)
	sh := func(script string) string {
		t.Helper()
		cmd := exec.Command("sh", "-e", "-c", script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		return string(out)
	}
	sh(`compactd init --root runs
		journal-append --root runs --cohort churn_eu --run-id r-1 --stage TRAINING --set metrics.auc=0.71
		journal-append --root runs --cohort churn_eu --run-id r-2 --stage TRAINING --set metrics.auc=0.87
		compactd once --root runs`)
	if out := sh(block); !strings.Contains(out, "postgres:///lab holds generation 1: 2 rows; 2 written, 0 removed") ||
		!strings.Contains(out, " r-2    |        0.87\n r-1    |        0.71\n(2 rows)") {
		t.Errorf("%s printed\n%s", block, out)
	}
	sh(`journal-append --root runs --cohort churn_eu --run-id r-3 --stage TRAINING --set metrics.auc=0.9`)
	daemon := exec.Command("compactd", "run", "--root", filepath.Join(dir, "runs"), "--schedule", "@every 1s", "--view", "postgres:///lab")
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer daemon.Wait()
	defer daemon.Process.Signal(os.Interrupt)
	for rows, asked := "", 0; rows != "3\n" && asked < 5000; asked++ {
		rows = sh(`psql -At lab -c 'SELECT count(*) FROM runs'`)
	}
	out := sh(`compactd view check postgres:///lab --root runs; compactd status --root runs --view postgres:///lab; compactd view drop postgres:///lab --root runs`)
	for _, want := range []string{"its 3 rows are those of generation 2", "view        postgres:///lab holds the newest generation, 2: 3 rows", "postgres:///lab holds nothing of root"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\nis missing in\n%s", want, out)
		}
	}
}
