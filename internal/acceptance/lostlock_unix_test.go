//go:build unix

package acceptance

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runfold/runfold/compactor/lock"
)

// TestLostLock stops a command (SIGSTOP) while it holds the lock, until its lease has ended. Then it ends with exit code 3, and says what it has done and why it ended.
func TestLostLock(t *testing.T) {
	_, url := withLock(t, "redis")
	root := newRoot(t)
	appendMany(t, root, 3000)
	p, o := openLock(t, url), lock.Options{RootID: idOf(t, root)}
	once := exec.Command("compactd", "once", "--root", string(root), "--lock", url, "--batch-bytes", "4KiB")
	var words strings.Builder
	once.Stderr = &words
	if err := once.Start(); err != nil {
		t.Fatal(err)
	}
	defer once.Process.Kill()
	who := func() string {
		w, err := p.Holder(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for who() == "" {
	}
	if err := once.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for ; who() != ""; <-time.After(50 * time.Millisecond) {
	}
	if err := once.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	once.Wait()
	said := words.String()
	for _, want := range []string{"stopped before the commit: the lock was lost, and another compactor may be at work: ", "stood still for longer than the lease of 2s", "hint: nothing is lost, and what was committed stays"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	if code := once.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if out, stderr, code := compactd(t, "once", "--root", string(root), "--lock", url); code != 0 || !strings.Contains(stderr, "3000 rows") {
		t.Errorf("the next fold: exit code %d: %s%s", code, out, stderr)
	}
	if out, stderr, code := compactd(t, "check", "--root", string(root), "--replay"); code != 0 {
		t.Errorf("check: exit code %d: %s%s", code, out, stderr)
	}
}
