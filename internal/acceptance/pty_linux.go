package acceptance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// OpenTerminal opens a terminal of this size: what a program writes to its end is read from the other one.
func OpenTerminal(width, height uint16) (terminal, end *os.File, err error) {
	if terminal, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	fd := int(terminal.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	}
	if err == nil {
		end, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, terminal.Close())
	}
	return terminal, end, nil
}

// onTerminal runs a program whose standard output is a terminal, and writes what that shows to a file. Standard error is printed there, too.
func onTerminal(ts *testscript.TestScript, neg bool, args []string) {
	const usage = "terminal WIDTH FILE PROGRAM [ARG ...]"
	if len(args) < 3 || neg {
		ts.Fatalf("usage: %s", usage)
	}
	width, err := strconv.ParseUint(args[0], 10, 16)
	ts.Check(err)
	terminal, end, err := OpenTerminal(uint16(width), 24)
	ts.Check(err)
	defer terminal.Close()
	cmd := exec.Command(args[2], args[3:]...)
	cmd.Path, err = lookPath(args[2], ts.Getenv("PATH"))
	ts.Check(err)
	cmd.Err = nil
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), end, end
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "COLUMNS=", "LINES=")
	ts.Check(cmd.Start())
	ts.Check(end.Close())
	var shown strings.Builder
	for buf := make([]byte, 1<<16); ; {
		n, err := terminal.Read(buf)
		shown.Write(buf[:n])
		if err != nil { // EIO: nobody has the end open any more
			break
		}
	}
	err = cmd.Wait()
	text := strings.ReplaceAll(shown.String(), "\r\n", "\n")
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		text += fmt.Sprintf("exit code %d\n", exit.ExitCode())
	} else {
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o666))
}

func lookPath(name, path string) (string, error) {
	for dir := range strings.SplitSeq(path, ":") {
		if full, err := exec.LookPath(dir + "/" + name); err == nil {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s", name, path)
}
