//go:build !windows

package durable

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestLockFileOfAnotherUser takes the lock of a file that the superuser has made: one that may be read, and one that may not. The
// superuser holds the one that may be read, and then lets it go.
func TestLockFileOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only the superuser can be two users")
	}
	for mode, want := range map[fs.FileMode][2]string{0o644: {"taken\n", "locked\n"}, 0o600: {"none\n", "none\n"}} {
		dir, err := os.MkdirTemp("", "runfold-lock") // t.TempDir is closed to others
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		self := filepath.Join(dir, "self")
		data, err := os.ReadFile(os.Args[0])
		if err == nil {
			err = errors.Join(os.WriteFile(self, data, 0o755), os.Chmod(dir, 0o777))
		}
		if err != nil {
			t.Fatal(err)
		}
		sayOther := func(want string) {
			t.Helper()
			cmd := exec.Command(self, "-test.run", "^$")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "RUNFOLD_VERB=say lock", "RUNFOLD_DIR="+dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 2001, Gid: 3001}}
			if out, err := cmd.Output(); err != nil || string(out) != want {
				t.Errorf("mode %o: the other user says %q, %v; want %q", mode, out, err, want)
			}
		}
		l, err := TryLock(filepath.Join(dir, "lock"), "root", mode)
		if err != nil {
			t.Fatal(err)
		}
		h, err := SayHolder(l.name, "host root\n", mode)
		if err != nil {
			t.Fatal(err)
		}
		sayOther(want[0])
		h.f.Close() // the superuser is killed: the words stay, and nobody else may write them
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
		sayOther(want[1])
	}
}
