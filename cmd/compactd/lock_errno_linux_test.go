package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/runfold/runfold/internal/acceptance"
)

// TestFoldWhereLocksFail lets flock, or the open of compact.lock, answer in each way that means "not here". once folds, and tells it
// once; doctor sees the same and exits with 0 as well.
func TestFoldWhereLocksFail(t *testing.T) {
	tracer := acceptance.Strace(t)
	const smb = "flock:error=EACCES:held"                                            // of compact.lock alone: somebody holds it. Else a security policy refuses each lock
	doctored := map[string]bool{"flock:error=524": true, "flock:error=EACCES": true} // which needs a second
	injects := []string{
		"flock:error=EPERM", "flock:error=EINVAL", "flock:error=ENOSYS", "flock:error=EOPNOTSUPP", "flock:error=524",
		"flock:error=ENOLCK", "flock:error=EIO", "flock:error=ESTALE", "flock:error=EACCES", "flock:error=EAGAIN", smb,
		"openat:error=EACCES", "openat:error=EPERM", "openat:error=ENOENT", "openat:error=EIO", "openat:error=ESTALE", "openat:error=524",
		"newfstatat:error=EIO", "newfstatat:error=EACCES", "newfstatat:error=ENOENT",
	}
	for _, inject := range injects {
		t.Run(inject, func(t *testing.T) {
			t.Parallel()
			root := newRoot(t, "r-1")
			if err := os.WriteFile(root.CompactLock(), nil, 0o644); err != nil { // strace -P resolves it
				t.Fatal(err)
			}
			args := []string{"-f", "-o", os.DevNull, "-e", "trace=flock,openat,newfstatat", "-e", "inject=" + strings.TrimSuffix(inject, ":held")}
			if !strings.HasPrefix(inject, "flock") || inject == smb {
				args = append(args, "-P", root.CompactLock())
			}
			under := func(command ...string) (words string, code int) {
				cmd := exec.Command(tracer, append(args, append(command, "--root", string(root))...)...)
				out, err := cmd.CombinedOutput()
				if cmd.ProcessState == nil {
					t.Fatal(err)
				}
				return string(out), cmd.ProcessState.ExitCode()
			}
			want, told := exitDone, 1
			if inject == smb {
				want, told = exitLocked, 0
			}
			words, code := under("compactd", "once")
			if code != want || strings.Count(words, "folding without ") != told {
				t.Errorf("compactd once: exit code %d, want %d and told %d times: %s", code, want, told, words)
			}
			if !doctored[inject] || testing.Short() {
				return
			}
			words, code = under("compactd", "doctor")
			if code != exitDone || !strings.Contains(words, "locks between processes     no ") {
				t.Errorf("compactd doctor: exit code %d: %s", code, words)
			}
		})
	}
}

// TestDaemonTellsOfLocksOnce folds three times where the lock cannot be opened.
func TestDaemonTellsOfLocksOnce(t *testing.T) {
	root := newRoot(t, "r-1")
	if err := os.Mkdir(root.CompactLock(), 0o755); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, root, "--schedule", "@every 1s", "--log-level", "debug")
	for range 2 {
		d.until(t, "nothing to fold")
	}
	d.stop(t, syscall.SIGTERM)
	if n := strings.Count(strings.Join(d.all, "\n"), "folding without "); n != 1 {
		t.Errorf("told %d times, want once:\n%s", n, strings.Join(d.all, "\n"))
	}
}
