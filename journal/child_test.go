package journal

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// children are the parts of tests that need a process of their own. They run in a child of the test
// binary, and get the path of a root.
var children = map[string]func(root cohort.Root) error{
	"append":  appendInChild,
	"goes on": goesOnInChild,
	"endless": endlessInChild,
	"many":    manyInChild,
	"lives":   livesInChild,
}

// TestMain runs a child if it is asked to.
func TestMain(m *testing.M) {
	name := os.Getenv("RUNFOLD_CHILD")
	do := children[name]
	if do == nil {
		do = systemChildren[name]
	}
	if do != nil {
		runtime.LockOSThread() // strace counts the calls of each thread by itself
		if err := do(cohort.Root(os.Getenv("RUNFOLD_CHILD_ROOT"))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// emulator is the program that runs this one, if this machine is emulated (make test-machines): the kernel cannot start a child by
// itself then.
var emulator = os.Getenv("RUNFOLD_EMULATOR")

// child is the command that runs one of children, under wrapper, such as strace.
func child(name string, root cohort.Root, wrapper ...string) *exec.Cmd {
	args := append(wrapper, os.Args[0])
	if emulator != "" {
		args = append(wrapper, emulator, os.Args[0])
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "RUNFOLD_CHILD="+name, "RUNFOLD_CHILD_ROOT="+string(root),
		"GORACE=atexit_sleep_ms=0") // the race detector waits a second at each exit
	return cmd
}

// run runs a child to its end and returns its standard output.
func run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var stderr limited
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("child: %v: %s", err, stderr.text)
	}
	return string(out)
}

// limited keeps the beginning of what is written to it.
type limited struct{ text []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.text = append(l.text, p[:min(len(p), 4096-len(l.text))]...)
	return len(p), nil
}

// readLines reads n whole lines, or fewer if there are not so many.
func readLines(t testing.TB, r io.Reader, n int) (lines []string) {
	t.Helper()
	var line []byte
	for one := make([]byte, 1); len(lines) != n; {
		_, err := io.ReadFull(r, one)
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if line = append(line, one...); one[0] == '\n' {
			lines, line = append(lines, string(line[:len(line)-1])), nil
		}
	}
	return lines
}

// endlessInChild appends until it is killed.
func endlessInChild(root cohort.Root) error {
	w, err := Create(root, "c", Options{SealBytes: 2000})
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"T"}`, n), 0)
		if err != nil {
			return err
		}
		if err := w.Append([]cohort.Record{r}); err != nil {
			return err
		}
		fmt.Println(r.RunID)
	}
}

// appendInChild appends run 1 and run 2 and writes a line to standard output for each acknowledgement.
func appendInChild(root cohort.Root) error { return appendUpTo(root, 2) }

// goesOnInChild appends as many runs as a stream needs that writes over zeros.
func goesOnInChild(root cohort.Root) error { return appendUpTo(root, firstGroups+3) }

func appendUpTo(root cohort.Root, last int) error {
	w, err := Create(root, "c", Options{})
	if err != nil {
		return err
	}
	for n := 1; n <= last; n++ {
		r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"T"}`, n), 0)
		if err != nil {
			return err
		}
		if err := w.Append([]cohort.Record{r}); err != nil {
			return err
		}
		if _, err := fmt.Println("acknowledged", r.RunID); err != nil {
			return err
		}
	}
	return w.Close()
}

// livesInChild appends a run, and lives on until its standard input ends. It never seals its stream.
func livesInChild(root cohort.Root) error {
	w, err := Create(root, "c", Options{})
	if err != nil {
		return err
	}
	r, err := cohort.ParseRecord([]byte(`{"run_id":"r-1","stage":"T"}`), 0)
	if err != nil {
		return err
	}
	if err := w.Append([]cohort.Record{r}); err != nil {
		return err
	}
	fmt.Println("acknowledged")
	_, err = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(w)
	return err
}

// manyInChild waits for the end of standard input, so that all children begin at once, and appends.
func manyInChild(root cohort.Root) error {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	w, err := Create(root, "shared", Options{SealBytes: 700})
	if err != nil {
		return err
	}
	for n := 1; n <= 10; n++ {
		r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d-%d","stage":"T"}`, os.Getpid(), n), 0)
		if err != nil {
			return err
		}
		if err := w.Append([]cohort.Record{r}); err != nil {
			return err
		}
		if _, err := fmt.Println(r.RunID); err != nil {
			return err
		}
	}
	return w.Close()
}
