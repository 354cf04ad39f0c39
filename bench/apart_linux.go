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
)

// apart runs this program again, as "bench apart DIR ...". It has namespaces of its own for mounts and processes: what is mounted there is
// seen by nobody else, and when the program ends, however it ends, the kernel kills all that it has started, and then unmounts. It is killed by
// SIGINT, SIGTERM and SIGHUP, and when this process is killed. When apart returns, no process is left, nor a mount, a loop device or the directory.
func apart(dir string) (err error) {
	defer func() { err = errors.Join(err, detached(dir), os.RemoveAll(dir)) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	runtime.LockOSThread() // Pdeathsig comes when the thread ends, not the process
	cmd := exec.Command(self, append([]string{"apart", dir}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
		Setpgid: true, // Ctrl-C goes to this process, and by it to all of them
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start in namespaces: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			return errors.Join(errSaid, err)
		}
		return nil
	case s := <-signals:
		_ = cmd.Process.Kill() // it may have ended just now
		<-ended                // after all others of its namespace
		return fmt.Errorf("ended by a signal: %s", s)
	}
}

// settleApart is the first that the program does in its namespaces: /proc shows their processes.
func settleApart() error {
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc in a namespace: %w", err)
	}
	return nil
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
