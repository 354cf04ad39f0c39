//go:build unix

package acceptance

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	goarch   = flag.String("goarch", "", "the `machine` whose commands meet our own in TestMachines: make test-machines gives it")
	emulator = flag.String("emulator", "", "the `command` that runs programs of -goarch")
)

// TestMachines lets commands of two machines work on one root. Each appends and each folds, by turns. From the same streams both
// make the same files, and each checks and reads what the other one made.
func TestMachines(t *testing.T) {
	if *goarch == "" {
		t.Skip("no -goarch: make test-machines runs this with commands of other machines")
	}
	theirs, ours := emulated(t, *goarch, *emulator), programs("")
	root, twin := filepath.Join(t.TempDir(), "runs"), filepath.Join(t.TempDir(), "runs")
	mustRun(t, ours, "", "compactd", "init", "--root", root, "--column", "git:string")
	for round := range 3 {
		for i, p := range []programs{ours, theirs} {
			mustRun(t, p, machineLines(round, i), "journal-append", "--root", root, "--cohort", fmt.Sprintf("c%d", i))
		}
		if err := os.RemoveAll(twin); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-a", root, twin).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v: %s", err, out)
		}
		// The next round goes on with what the one made, and then with what the other one made.
		roots := []string{root, twin}
		mustRun(t, ours, "", "compactd", "once", "--root", roots[round%2])
		mustRun(t, theirs, "", "compactd", "once", "--root", roots[1-round%2])
		for _, name := range []string{"index.parquet", "snapshot_index.json"} {
			if !bytes.Equal(published(t, root, name), published(t, twin, name)) {
				t.Errorf("round %d: %s of the two machines differ", round, name)
			}
		}
		var rows []string
		for _, r := range roots {
			for _, p := range []programs{ours, theirs} {
				mustRun(t, p, "", "compactd", "check", "--root", r)
				rows = append(rows, mustRun(t, p, "", "compactd", "runs", "--root", r, "--json"))
			}
		}
		for i := range rows {
			if diff := cmp.Diff(rows[0], rows[i]); diff != "" || rows[0] == "" {
				t.Errorf("round %d: rows as two machines read them:\n%s", round, diff)
			}
		}
	}
}

// machineLines are new runs, and runs of both machines that are replaced.
func machineLines(round, machine int) string {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, `{"run_id":"r-%d-%d-%d","stage":"S","git":"%x","n":%d,"ok":%t,"metrics":{"auc":0.%d},"tags":{"owner":"ü"},"timestamp":"2026-01-31T12:00:00Z"}`+"\n",
			machine, round, i, i*7919, int64(i)<<40, i%2 == 0, i)
		if round > 0 && i%20 == 0 {
			fmt.Fprintf(&b, `{"run_id":"r-%d-%d-%d","stage":"S","n":-1,"timestamp":"2026-01-31T13:00:00Z"}`+"\n", 1-machine, round-1, i)
		}
	}
	return b.String()
}

// inFooter is the token of a generation.
var inFooter = regexp.MustCompile(`[0-9a-f]{16}`)

// published is a published file without the token of its generation.
func published(t *testing.T, root, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(root, "data", "index-*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no data files: %v", err)
	}
	for _, n := range names {
		token := inFooter.FindString(n[strings.LastIndex(n, "-"):])
		data = bytes.ReplaceAll(data, []byte(token), []byte(strings.Repeat("0", 16)))
	}
	return data
}

func mustRun(t *testing.T, p programs, stdin, name string, args ...string) string {
	t.Helper()
	stdout, stderr, code := p.run(t, stdin, name, args...)
	if code != 0 {
		t.Fatalf("%s %v of %q: exit code %d: %s", name, args, p, code, stderr)
	}
	return stdout
}

// emulated builds the commands of another machine, and scripts of their names that run them.
func emulated(t *testing.T, goarch, emulator string) programs {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "real")+string(filepath.Separator), "github.com/runfold/runfold/cmd/...")
	build.Env = append(os.Environ(), "GOARCH="+goarch, "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	for _, name := range []string{"compactd", "journal-append"} {
		script := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", emulator, filepath.Join(dir, "real", name))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return programs(dir)
}
