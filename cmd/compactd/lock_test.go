package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// newRoot makes a root and appends one record per run id, each process a stream. The root is checked
// when the test ends.
func newRoot(t *testing.T, runIDs ...string) cohort.Root {
	t.Helper()
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, id := range runIDs {
		appendRun(t, root, id)
	}
	t.Cleanup(func() {
		if _, stderr, code := compactd(t, "check", "--root", string(root)); code != exitDone {
			t.Errorf("compactd check: exit code %d: %s", code, stderr)
		}
	})
	return root
}

func appendRun(t *testing.T, root cohort.Root, runID string) {
	t.Helper()
	out, err := exec.Command("journal-append", "--root", string(root), "--cohort", "a", "--run-id", runID, "--stage", "S").CombinedOutput()
	if err != nil {
		t.Fatalf("journal-append %s: %v: %s", runID, err, out)
	}
}

// compactd runs the command to its end.
func compactd(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command("compactd", args...)
	var out, words strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &words
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

// hold takes the lock as a compactor elsewhere would.
func hold(t *testing.T, root cohort.Root) *durable.Lock {
	t.Helper()
	lock, err := durable.TryLock(root.CompactLock(), "host elsewhere\npid 17\nstarted 2025-01-01T00:00:00Z\n", 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Unlock() })
	return lock
}

const holderWords = "host elsewhere, pid 17, started 2025-01-01T00:00:00Z"

// TestLocked shows that a command that needs the lock names its holder and exits with 3, and that what only
// reads does not care.
func TestLocked(t *testing.T) {
	root := newRoot(t, "r-1")
	lock := hold(t, root)
	for _, args := range [][]string{
		{"once"}, {"once", "--wait", "1ms"}, {"once", "--json"}, {"withdraw", "--run-id", "r-1", "--wait", "1ms"}, {"protect", "--where", "run_id = 'r-1'", "--wait", "1ms"},
		{"import", "--cohort", "a", "--snapshots", "../../docs/examples/old/snapshot_index.json"},
	} {
		args = append(args, "--root", string(root))
		stdout, stderr, code := compactd(t, args...)
		if code != exitLocked || stdout != "" {
			t.Errorf("compactd %v: exit code %d and output %q, want %d and none", args, code, stdout, exitLocked)
		}
		want := "compactd: another compactor is at work: " + root.CompactLock() + " is held by " + holderWords + "\n" +
			"compactd: hint: --wait 30s waits for it; nothing is lost either way\n"
		if !strings.HasSuffix(stderr, want) {
			t.Errorf("compactd %v says %q, want %q", args, stderr, want)
		}
	}
	stdout, stderr, code := compactd(t, "status", "--root", string(root))
	if want := "lock        " + holderWords + "\n"; code != exitDone || !strings.Contains(stdout, want) {
		t.Errorf("compactd status: exit code %d: %s%s, want a line %q", code, stdout, stderr, want)
	}
	for _, args := range [][]string{
		{"check"}, {"previous", "--cohort", "a", "--run-id", "r", "--stage", "S"},
		{"import", "--dry-run", "--cohort", "a", "--snapshots", "../../docs/examples/old/snapshot_index.json"},
	} {
		if _, stderr, code := compactd(t, append(args, "--root", string(root))...); code != exitDone {
			t.Errorf("compactd %v: exit code %d: %s, want %d", args, code, stderr, exitDone)
		}
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := compactd(t, "once", "--root", string(root)); code != exitDone {
		t.Errorf("compactd once behind the lock: exit code %d: %s", code, stderr)
	}
}

// TestRestoreLocked shows that a restore, which begins with a fold, is to be tried again later, and changes nothing.
func TestRestoreLocked(t *testing.T) {
	root := newRoot(t, "r-1")
	for range 2 {
		if _, stderr, code := compactd(t, "once", "--root", string(root)); code != exitDone {
			t.Fatalf("compactd once: exit code %d: %s", code, stderr)
		}
		appendRun(t, root, "r-2")
	}
	lock := hold(t, root)
	stdout, stderr, code := compactd(t, "restore", "--root", string(root), "1", "--apply", "--wait", "1ms")
	if code != exitAgain || stdout != "" || !strings.Contains(stderr, "compactd: a restore begins with a fold, so nothing was written: another compactor is at work: ") {
		t.Errorf("compactd restore: exit code %d, output %q, words %q", code, stdout, stderr)
	}
	if stdout, stderr, code := compactd(t, "restore", "--root", string(root), "1"); code != exitDone {
		t.Errorf("a plan beside a compactor: exit code %d: %s%s", code, stdout, stderr)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := compactd(t, "restore", "--root", string(root), "1", "--apply"); code != exitDone || !strings.Contains(stdout, "1 withdrawn") {
		t.Errorf("after that: exit code %d: %s%s", code, stdout, stderr)
	}
}

// TestCheckBesideFold shows that a generation that a compactor at work has not published yet is no
// damage.
func TestCheckBesideFold(t *testing.T) {
	root := newRoot(t, "r-1")
	if _, stderr, code := compactd(t, "once", "--root", string(root)); code != exitDone {
		t.Fatalf("compactd once: exit code %d: %s", code, stderr)
	}
	if err := os.Remove(root.Snapshots()); err != nil {
		t.Fatal(err)
	}
	lock := hold(t, root)
	stdout, stderr, code := compactd(t, "check", "--root", string(root))
	want := "note: snapshot_index.json: is not generation 1 yet, which a compactor at work has committed\n"
	if stdout != want || code != exitDone {
		t.Errorf("compactd check beside a fold: exit code %d: %s%s, want %q", code, stdout, stderr, want)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	want = "damage: snapshot_index.json: is not generation 1, which is committed: compactd once publishes it\n"
	if stdout, stderr, code = compactd(t, "check", "--root", string(root)); stdout != want || code != exitDamage {
		t.Errorf("compactd check behind it: exit code %d: %s%s, want %q", code, stdout, stderr, want)
	}
	if _, stderr, code := compactd(t, "once", "--root", string(root)); code != exitDone {
		t.Errorf("compactd once: exit code %d: %s", code, stderr)
	}
}

// TestRepairBesideFold is the same for repair: while a compactor is at work there is nothing to repair.
func TestRepairBesideFold(t *testing.T) {
	root := newRoot(t, "r-1")
	if _, stderr, code := compactd(t, "once", "--root", string(root)); code != exitDone {
		t.Fatalf("compactd once: exit code %d: %s", code, stderr)
	}
	if err := os.Remove(root.Snapshots()); err != nil {
		t.Fatal(err)
	}
	lock := hold(t, root)
	stdout, stderr, code := compactd(t, "repair", "--root", string(root))
	want := "waiting   snapshot_index.json: is not generation 1 yet, which a compactor at work has committed\n" +
		"nothing to repair: generation 1 is whole, and not published yet\n"
	if stdout != want || code != exitDone {
		t.Errorf("compactd repair beside a fold: exit code %d: %s%s, want %q", code, stdout, stderr, want)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	want = "would publish generation 1 (--apply does it)\n"
	if stdout, stderr, code = compactd(t, "repair", "--root", string(root)); stdout != want || code != exitDamage {
		t.Errorf("compactd repair behind it: exit code %d: %s%s, want %q", code, stdout, stderr, want)
	}
	if stdout, stderr, code = compactd(t, "repair", "--root", string(root), "--apply"); code != exitDone {
		t.Errorf("compactd repair --apply: exit code %d: %s%s", code, stdout, stderr)
	}
}

// TestStaleHolder shows that words in the lock file lock nothing: their process was killed.
func TestStaleHolder(t *testing.T) {
	root := newRoot(t, "r-1")
	if err := os.WriteFile(root.CompactLock(), []byte("host elsewhere\npid 17\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := compactd(t, "once", "--root", string(root)); code != exitDone {
		t.Errorf("compactd once: exit code %d: %s", code, stderr)
	}
}
