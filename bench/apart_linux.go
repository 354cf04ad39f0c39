package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// apart runs this program again, as "bench apart DIR ...". It has a mount namespace of its own: what is mounted there is seen by nobody
// else, and is gone with the last process of the namespace, however that ends. SIGINT, SIGTERM and SIGHUP kill all of its processes.
// When apart returns, no process is left, nor a mount, a loop device or the directory.
func apart(dir string) (err error) {
	defer func() { err = errors.Join(err, detached(dir), os.RemoveAll(dir)) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// Processes whose parent has ended become children of this one, which can then wait for them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of descendants: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	runtime.LockOSThread() // Pdeathsig comes when the thread ends, not the process
	cmd := exec.Command(self, append([]string{"apart", dir}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start in a mount namespace: %w", err)
	}
	group := cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
		if err != nil {
			err = errors.Join(errSaid, err)
		}
	case s := <-signals:
		_ = syscall.Kill(-group, syscall.SIGKILL) // its leader has not been waited for, or just so: the number is still its own
		<-ended
		err = fmt.Errorf("ended by a signal: %s", s)
	}
	return errors.Join(err, reap(group))
}

// reap ends what is left of a group whose leader has been waited for.
func reap(group int) error {
	for {
		pid, err := syscall.Wait4(-group, nil, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			return nil
		case err != nil && !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("wait for what was started: %w", err)
		case pid == 0: // some are there, so the number of the group is still theirs
			_ = syscall.Kill(-group, syscall.SIGKILL)
			time.Sleep(time.Millisecond)
		}
	}
}

// detached waits until no loop device has an image in dir: the kernel takes a namespace apart after its last process.
func detached(dir string) error {
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		devices, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
		left := ""
		for _, d := range devices {
			if image, err := os.ReadFile(d); err == nil && strings.HasPrefix(string(image), dir+string(filepath.Separator)) {
				left = d
			}
		}
		switch {
		case left == "":
			return nil
		case time.Now().After(until):
			return fmt.Errorf("%s is still there", left)
		}
	}
}
