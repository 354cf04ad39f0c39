package durable

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const rounds = 40

// race waits for a word, creates one name after another, and prints those that it won.
func race(dir string) error {
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	for round := range rounds {
		name := filepath.Join(dir, fmt.Sprint(round))
		err := Create(OS, name, fmt.Append(nil, os.Getpid()), 0o644)
		if err == nil {
			fmt.Println(round)
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// racer is a process in race.
type racer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startRacer(t *testing.T, dir string) racer {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^$")
	cmd.Env = append(os.Environ(), "RUNFOLD_VERB=race", "RUNFOLD_DIR="+dir)
	cmd.Stderr = os.Stderr
	in, ierr := cmd.StdinPipe()
	out, oerr := cmd.StdoutPipe()
	if err := errors.Join(ierr, oerr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	r := racer{cmd, in, bufio.NewReader(out)}
	if line, err := r.out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	return r
}

// TestCreateAcrossProcesses lets processes race for the same names. Each name has one winner, and holds the winner's
// content.
func TestCreateAcrossProcesses(t *testing.T) {
	dir := t.TempDir()
	var racers []racer
	for range 4 {
		racers = append(racers, startRacer(t, dir))
	}
	for _, r := range racers {
		if _, err := io.WriteString(r.in, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
	wins := map[string]string{}
	for _, r := range racers {
		out, rerr := io.ReadAll(r.out)
		if err := errors.Join(rerr, r.cmd.Wait()); err != nil {
			t.Fatal(err)
		}
		for _, round := range strings.Fields(string(out)) {
			if other, ok := wins[round]; ok {
				t.Errorf("%s was won by %s and %d", round, other, r.cmd.Process.Pid)
			}
			wins[round] = fmt.Sprint(r.cmd.Process.Pid)
		}
	}
	for round := range rounds {
		n := fmt.Sprint(round)
		if got := content(t, filepath.Join(dir, n)); got != wins[n] {
			t.Errorf("%s holds %q, its winner is %q", n, got, wins[n])
		}
	}
	if got := names(t, dir); len(got) != rounds {
		t.Errorf("%d names stay, want %d: %q", len(got), rounds, got)
	}
}
