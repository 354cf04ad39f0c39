//go:build linux

package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets the program of the tests be the bench, too.
func TestMain(m *testing.M) {
	if os.Getenv("RUNFOLD_BENCH_TESTED") != "" {
		main()
	}
	os.Exit(m.Run())
}

// made are the file systems that this machine can make.
func made(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may make file systems and mount them: run go test as root")
	}
	var all []string
	for _, fs := range []string{"ext4", "xfs"} {
		_, err := fileSystems(fs)
		switch {
		case err == nil:
			all = append(all, fs)
		case os.Getenv("RUNFOLD_MUST_RUN") != "":
			t.Fatal(err)
		default:
			t.Log(err)
		}
	}
	if all == nil {
		t.Skip("no file system can be made here")
	}
	return strings.Join(all, ",")
}

// command is the bench as a process, with a directory in which it must leave nothing.
func command(t *testing.T, args ...string) (cmd *exec.Cmd, dir string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	cmd = exec.Command(self, append([]string{"-dir", dir, "-short"}, args...)...)
	cmd.Env = append(os.Environ(), "RUNFOLD_BENCH_TESTED=yes")
	return cmd, dir
}

// nothingLeft looks for what the bench may leave in dir or on a device of it.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	for _, places := range []string{"/proc/self/mounts", "/sys/block/loop*/loop/backing_file", "/proc/[0-9]*/cmdline"} {
		files, err := filepath.Glob(places)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if text, _ := os.ReadFile(f); strings.Contains(string(text), dir) { // it may be gone
				t.Errorf("%s names the directory: %s", f, text)
			}
		}
	}
}

// TestFileSystems measures a part on file systems that are made for it.
func TestFileSystems(t *testing.T) {
	list, out := made(t), t.TempDir()
	cmd, dir := command(t, "-fs", list, "-only", "append,fold", "-who", us, "-out", out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, text)
	}
	nothingLeft(t, dir)
	r, err := loadResults(filepath.Join(out, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.fileSystems(), append([]string{""}, strings.Split(list, ",")...); !slices.Equal(got, want) {
		t.Fatalf("rows of %q, want %q", got, want)
	}
	for _, fs := range strings.Split(list, ",") {
		if v := r.on(fs).value("append goroutines=1", us, "records/s"); v <= 0 {
			t.Errorf("on %s: %v records/s", fs, v)
		}
		for _, who := range []string{us, copyAll} {
			if v := r.on(fs).value("fold rows=500", who, "device MiB"); v <= 0 {
				t.Errorf("on %s: the fold of %s made the device write %v MiB", fs, who, v)
			}
		}
	}
}

// TestSignals ends the bench while a file system is mounted, with a daemon and writers at work that would go on for an hour.
func TestSignals(t *testing.T) {
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}
	if testing.Short() {
		signals = signals[:1]
	}
	for _, s := range signals {
		cmd, dir := command(t, "-fs", made(t), "-skip-dir", "-only", "minutes", "-lasts", "1h")
		said, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(said)
		for lines.Scan() && !strings.Contains(lines.Text(), "folds every second") {
		}
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(said)
		if err := cmd.Wait(); err == nil {
			t.Errorf("after %s the bench ended as if it were done: %s", s, rest)
		}
		if s == syscall.SIGKILL { // only the directory is left, whose processes the kernel ends meanwhile
			if err := errors.Join(detached(dir), os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
				t.Error(err)
			}
		} else if want := "ended by a signal: " + s.String(); !strings.Contains(string(rest), want) {
			t.Errorf("the bench did not say %q: %s", want, rest)
		}
		nothingLeft(t, dir)
	}
}

// TestFailed lets a work fail while its file system is mounted: the cp that is first in PATH fails.
func TestFailed(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	list, bin := made(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "cp"), []byte("#!/bin/sh\necho no copy today >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, dir := command(t, "-fs", list, "-skip-dir", "-only", "fold")
	cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Count(string(out), "no copy today") == 0 {
		t.Errorf("%s: %v: %s", cmd, err, out)
	}
	if n := strings.Count(string(out), "bench: "); n != 1 {
		t.Errorf("the error is told %d times: %s", n, out)
	}
	nothingLeft(t, dir)
}

// TestRefused: what cannot be made is refused before anything is measured.
func TestRefused(t *testing.T) {
	list := made(t)
	for _, c := range []struct{ list, want string }{
		{"zfs", "-fs takes some of ext4, xfs and btrfs"}, {"ext4,ext4", "each once"}, {"ext4,", "-fs takes some of"},
	} {
		if _, err := fileSystems(c.list); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("fileSystems(%q): %v, want %q", c.list, err, c.want)
		}
	}
	cmd, dir := command(t, "-fs", list)
	cmd.Path, cmd.Dir = forAll(t, cmd.Path), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "only root may do") {
		t.Errorf("not as root: %v: %s", err, out)
	}
	nothingLeft(t, dir)
	t.Setenv("PATH", t.TempDir())
	if _, err := fileSystems("xfs"); err == nil || !strings.Contains(err.Error(), "Debian has it in xfsprogs") {
		t.Errorf("without mkfs.xfs: %v", err)
	}
}

// forAll is a copy of a program that all users may run.
func forAll(t *testing.T, program string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "runfold-bench-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "bench")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(name, text, 0o755)); err != nil {
		t.Fatal(err)
	}
	return name
}
