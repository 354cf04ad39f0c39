package main

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestWait lets a fold find the lock taken twice, then frees it.
func TestWait(t *testing.T) {
	root := newRoot(t, "r-1")
	lock := hold(t, root)
	opened := watchOpen(t, root.CompactLock())
	cmd := exec.Command("compactd", "once", "--wait", "10m", "--root", string(root))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	opened(2)
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	words, err := io.ReadAll(stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(string(words), "1 added") {
		t.Errorf("compactd once --wait 10m: %v: %s, want 1 added", err, words)
	}
}

// watchOpen returns a function that returns once name has been opened n times since.
func watchOpen(t *testing.T, name string) func(n int) {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
	if err != nil {
		t.Skip("no inotify: ", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	t.Cleanup(func() { events.Close() })
	if _, err := syscall.InotifyAddWatch(fd, name, syscall.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func(n int) {
		t.Helper()
		buf := make([]byte, 4096)
		for n > 0 {
			size, err := events.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			n -= size / syscall.SizeofInotifyEvent // of a file, an event has no name
		}
	}
}
