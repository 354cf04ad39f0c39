package durable

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/runfold/runfold/internal/acceptance"
)

// holdLock takes a lock, says so, and holds it until its standard input ends.
func holdLock(name string) error {
	l, err := TryLock(name, "host child\npid 1\n", 0o644)
	if err != nil {
		return err
	}
	fmt.Println("locked")
	bufio.NewReader(os.Stdin).ReadString('\n')
	return l.Unlock()
}

// sayLock takes a lock, prints the result, and releases the lock.
func sayLock(name string) error {
	l, err := TryLock(name, "host child\npid 1\n", 0o644)
	switch {
	case errors.Is(err, ErrLocked):
		fmt.Println("taken")
		return nil
	case errors.Is(err, ErrNoLock):
		fmt.Println("none")
		return nil
	case err == nil:
		h, err := SayHolder(name, "host child\n", 0o644)
		if err != nil {
			return err
		}
		fmt.Println("locked")
		return errors.Join(h.Close(), l.Unlock())
	}
	return err
}

// child is another process that holds the lock.
func child(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^$")
	cmd.Env = append(os.Environ(), "RUNFOLD_VERB=lock", "RUNFOLD_DIR="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	return cmd
}

// TestLockAcrossProcesses shows that another process excludes us, that its body can be read, and that
// its death frees the lock.
func TestLockAcrossProcesses(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "lock")
	cmd := child(t, dir)
	if _, err := TryLock(name, "me", 0o644); !errors.Is(err, ErrLocked) {
		t.Errorf("TryLock of a held lock = %v, want ErrLocked", err)
	}
	if free, err := LockIsFree(name); err != nil || free {
		t.Errorf("LockIsFree of a held lock = %v, %v", free, err)
	}
	if got := LockHolder(name); runtime.GOOS != "windows" && got != "host child\npid 1\n" {
		t.Errorf("LockHolder = %q, want the child's words", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // killed
	l, err := TryLock(name, "me", 0o644)
	if err != nil {
		t.Fatalf("TryLock after the holder was killed: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	if free, err := LockIsFree(name); err != nil || !free {
		t.Errorf("LockIsFree of a free lock = %v, %v", free, err)
	}
	if got := LockHolder(name); got != "" {
		t.Errorf("LockHolder of a free lock = %q", got)
	}
}

func TestLockWithinOneProcess(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	l, err := TryLock(name, "me", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(name, "me too", 0o644); !errors.Is(err, ErrLocked) {
		t.Errorf("second TryLock in this process = %v, want ErrLocked", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	l, err = TryLock(name, "me", 0o644)
	if err != nil {
		t.Fatalf("TryLock after Unlock: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

// TestLockSurvivesGarbageCollection shows that the lock is held although nobody but Lock refers to the
// descriptor.
func TestLockSurvivesGarbageCollection(t *testing.T) {
	dir := t.TempDir()
	l, err := TryLock(filepath.Join(dir, "lock"), "me", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC()
	cmd := exec.Command(os.Args[0], "-test.run", "^$")
	cmd.Env = append(os.Environ(), "RUNFOLD_VERB=lock", "RUNFOLD_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("another process took the lock: %s", out)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

// TestDeletedLockFile shows that a holder notices that its lock file is gone.
func TestDeletedLockFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	l, err := TryLock(name, "me", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if !l.Held() {
		t.Error("Held of a fresh lock = false")
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if l.Held() {
		t.Error("Held after the file was deleted = true")
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestLockErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := TryLock(filepath.Join(dir, "no", "lock"), "", 0o644); !errors.Is(err, ErrNoLock) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("TryLock in a missing directory = %v, want ErrNoLock and fs.ErrNotExist", err)
	}
	if _, err := TryLock(dir, "", 0o644); !errors.Is(err, ErrNoLock) {
		t.Errorf("TryLock of a directory = %v, want ErrNoLock", err)
	}
	if _, err := LockIsFree(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LockIsFree of a missing file = %v, want fs.ErrNotExist", err)
	}
}

// TestSecondUnlock shows that a late Unlock does not touch the next holder.
func TestSecondUnlock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	first, err := TryLock(name, "first", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	second, err := TryLock(name, "second", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Unlock(); err != nil {
		t.Errorf("second Unlock = %v, want nil", err)
	}
	if got := LockHolder(name); runtime.GOOS != "windows" && got != "second" {
		t.Errorf("LockHolder after a late Unlock = %q, want the new holder", got)
	}
	if _, err := TryLock(name, "third", 0o644); !errors.Is(err, ErrLocked) {
		t.Errorf("TryLock after a late Unlock = %v, want ErrLocked", err)
	}
	if err := second.Unlock(); err != nil {
		t.Error(err)
	}
}

// lockErrnos is what a lock of a file system may answer, and what the same errno of an open may.
var lockErrnos = []string{
	"EPERM", "EACCES", "EINVAL", "ENOSYS", "EOPNOTSUPP", "524", "ENOLCK", "EIO", "ESTALE", "ENOENT", "EROFS", "EMFILE", "ENOSPC",
	"EDQUOT", "ENOTCONN", "ETIMEDOUT", "EAGAIN", "EINTR", "EBADF",
}

// statCall is the system call that looks at a name.
func statCall() string {
	if runtime.GOARCH == "386" {
		return "fstatat64"
	}
	return "newfstatat"
}

// TestLockErrnos lets each call of TryLock answer each errno, always or only once. The lock is taken, or held by another one, or
// there is none: that is all that TryLock may say. A refused write of the body, as of a system with mandatory locks, changes nothing.
func TestLockErrnos(t *testing.T) {
	strace := acceptance.Strace(t)
	const taken, held, none = "locked\n", "taken\n", "none\n"
	cases := map[string]string{
		"write:error=EACCES":         taken,
		"openat:error=EACCES:when=3": taken, // the open for the body: the Go runtime and the first open come before
	}
	for _, errno := range lockErrnos {
		cases["flock:error="+errno] = none
		cases["openat:error="+errno] = none
		cases[statCall()+":error="+errno] = none
		cases["openat:error="+errno+":when=1"] = none
	}
	delete(cases, "openat:error=EINTR") // package os tries again for ever
	delete(cases, statCall()+":error=EINTR")
	cases["flock:error=EAGAIN"] = held
	cases["flock:error=EACCES"] = held // SMB
	cases["flock:error=EINTR:when=1"] = taken
	cases["flock:error=ESTALE:when=1"] = taken
	cases["flock:error=EBADF:when=1"] = taken
	for _, errno := range []string{"EINTR", "ESTALE", "ENOENT", "EACCES", "EPERM", "EROFS"} { // tried again, some for reading only
		cases["openat:error="+errno+":when=1"] = taken
	}
	n := 0
	for inject, want := range cases {
		if n++; testing.Short() && n%4 > 0 {
			continue
		}
		t.Run(inject, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), "lock")
			if err := os.WriteFile(name, nil, 0o644); err != nil { // strace -P resolves it
				t.Fatal(err)
			}
			cmd := exec.Command(strace, "-f", "-o", os.DevNull, "-P", name,
				"-e", "trace=openat,write,flock,"+statCall(), "-e", "inject="+inject, os.Args[0], "-test.run", "^$")
			cmd.Env = append(os.Environ(), "RUNFOLD_VERB=say lock", "RUNFOLD_DIR="+filepath.Dir(name))
			if out, err := cmd.Output(); err != nil || string(out) != want {
				t.Errorf("child says %q, %v; want %q", out, err, want)
			}
		})
	}
}
