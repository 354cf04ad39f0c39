package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// pipe is a journal-append that reads from us and acknowledges to us.
type pipe struct {
	*exec.Cmd
	root   cohort.Root
	in     io.WriteCloser
	acks   *bufio.Scanner
	stderr strings.Builder
}

func startPipe(t *testing.T, args ...string) *pipe {
	t.Helper()
	p := &pipe{root: cohort.Root(filepath.Join(t.TempDir(), "runs"))}
	p.Cmd = exec.Command("journal-append", append([]string{"--root", string(p.root), "--cohort", "a", "--ack", "--create"}, args...)...)
	p.Stderr = &p.stderr
	p.in, p.acks = start(t, p.Cmd)
	return p
}

// start starts a process that reads from us and answers in lines. It does not outlive the test.
func start(t *testing.T, cmd *exec.Cmd) (in io.WriteCloser, answers *bufio.Scanner) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return in, bufio.NewScanner(out)
}

// send writes one record and returns when it is acknowledged, which it must be before anything else
// comes.
func (p *pipe) send(t *testing.T, runID string) acknowledgement {
	t.Helper()
	if _, err := fmt.Fprintf(p.in, `{"run_id":%q,"stage":"S"}`+"\n", runID); err != nil {
		t.Fatalf("write %s: %v: %s", runID, err, p.stderr.String())
	}
	return p.ack(t, runID)
}

func (p *pipe) ack(t *testing.T, runID string) acknowledgement {
	t.Helper()
	if !p.acks.Scan() {
		t.Fatalf("%s: no acknowledgement: %s", runID, p.stderr.String())
	}
	var ack acknowledgement
	if err := json.Unmarshal(p.acks.Bytes(), &ack); err != nil || ack.RunID != runID {
		t.Fatalf("acknowledgement %q, %v, want that of %s", p.acks.Text(), err, runID)
	}
	return ack
}

// wait returns the exit code.
func (p *pipe) wait(t *testing.T) int {
	t.Helper()
	for p.acks.Scan() {
		t.Errorf("acknowledgement %q of a record that was not sent", p.acks.Text())
	}
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// streams reads all streams in their cohorts: the run ids per stream, with "sealed" behind them.
func streams(t *testing.T, dir cohort.Root) [][]string {
	t.Helper()
	root, err := journal.OpenRoot(dir, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	places, unknown, err := root.Streams()
	if err != nil || len(unknown) > 0 {
		t.Fatalf("Streams: %v, unknown %v", err, unknown)
	}
	var all [][]string
	for _, s := range places {
		if s.Reaped {
			continue
		}
		r, err := root.Open(s, journal.Position{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var ids []string
		rec, err := r.Next()
		for ; err == nil; rec, err = r.Next() {
			ids = append(ids, rec.RunID)
		}
		if err != io.EOF {
			t.Fatalf("stream %v: %v", s, err)
		}
		if r.Position().Sealed {
			ids = append(ids, "sealed")
		}
		all = append(all, ids)
	}
	return all
}

// TestSlowPipe sends each record only after the one before was acknowledged and found on the disk. It
// would hang if the command waited for a batch.
func TestSlowPipe(t *testing.T) {
	p := startPipe(t)
	var want []string
	for _, id := range []string{"r-1", "r-2", "r-3"} {
		ack := p.send(t, id)
		want = append(want, id)
		if diff := cmp.Diff([][]string{want}, streams(t, p.root)); diff != "" {
			t.Fatalf("streams once %s is acknowledged (-want +got):\n%s", id, diff)
		}
		if ack.Line != len(want) || ack.File != "stdin" || ack.Stamp == 0 {
			t.Errorf("acknowledgement of %s is %+v", id, ack)
		}
	}
	p.in.Close()
	if code := p.wait(t); code != exitDone {
		t.Errorf("exit code %d, want %d: %s", code, exitDone, p.stderr.String())
	}
	if diff := cmp.Diff([][]string{append(want, "sealed")}, streams(t, p.root)); diff != "" {
		t.Errorf("streams at the end (-want +got):\n%s", diff)
	}
}

// TestLockStep sends a line of each kind and waits for its answer before the next: it would hang if one had none.
func TestLockStep(t *testing.T) {
	p := startPipe(t)
	p.send(t, "r-1")
	for i, c := range []struct{ line, want string }{
		{"nonsense", `{"file":"stdin","line":2,"error":"record is not JSON at byte 2: `},
		{"", `{"file":"stdin","line":3,"empty":true}`},
		{"[1]", `{"file":"stdin","line":4,"error":"record is a JSON array: it must be an object"}`},
		{`{"run_id":"r","stage":"A:B"}`, `{"file":"stdin","line":5,"error":"stage \"A:B\" has a ':'`},
		{`{"run_id":"r-2","stage":"S"}`, `{"file":"stdin","line":6,"run_id":"r-2"`},
	} {
		if _, err := io.WriteString(p.in, c.line+"\n"); err != nil {
			t.Fatal(err)
		}
		if !p.acks.Scan() || !strings.HasPrefix(p.acks.Text(), c.want) {
			t.Fatalf("answer %d to %q is %q, want %q", i, c.line, p.acks.Text(), c.want)
		}
	}
	p.in.Close()
	if code := p.wait(t); code != exitFailed {
		t.Errorf("exit code %d, want %d: %s", code, exitFailed, p.stderr.String())
	}
}

// TestSignalCounts ends a pipe amid many lines: the summary names the line up to which everything was answered, and
// with the answers it gives each line that was read.
func TestSignalCounts(t *testing.T) {
	p := startPipe(t, "--summary", "json")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for n := 0; ; n++ { // until the pipe breaks
			text := fmt.Sprintf(`{"run_id":"r-%d","stage":"S"}`, n)
			if n%100 == 7 {
				text = "nonsense"
			}
			if _, err := io.WriteString(p.in, text+"\n"); err != nil {
				return
			}
		}
	}()
	answers, durable, refused := 0, 0, 0
	last := ""
	for p.acks.Scan() {
		last = p.acks.Text()
		var ack struct {
			Line   int
			Error  string
			Cohort string
		}
		if err := json.Unmarshal([]byte(last), &ack); err != nil {
			t.Fatalf("answer %q: %v", last, err)
		}
		if ack.Cohort != "" {
			break // the summary
		}
		if answers++; ack.Line != answers {
			t.Fatalf("answer %q, want line %d", last, answers)
		}
		if refused++; ack.Error == "" {
			refused, durable = refused-1, ack.Line
		}
		if answers == 2000 {
			if err := p.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	for p.acks.Scan() {
		t.Errorf("%q behind the summary", p.acks.Text())
	}
	p.Wait()
	<-sent
	if code := p.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d, want %d: %s", code, exitFailed, p.stderr.String())
	}
	var got, want summary
	if err := json.Unmarshal([]byte(last), &got); err != nil {
		t.Fatalf("summary %q: %v", last, err)
	}
	want = got
	want.Appended, want.Refused = answers-refused, refused
	want.Last, want.Unread = &place{"stdin", durable}, []unread{{"stdin", answers}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(summary{})); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

// TestRoll shows that a pipe that lives long writes a stream after the other, by size or by age.
func TestRoll(t *testing.T) {
	for _, flag := range []string{"--seal-bytes=1", "--seal-age=1ns"} {
		t.Run(flag, func(t *testing.T) {
			p := startPipe(t, flag)
			first, second := p.send(t, "r-1"), p.send(t, "r-2")
			p.in.Close()
			if code := p.wait(t); code != exitDone {
				t.Errorf("exit code %d, want %d: %s", code, exitDone, p.stderr.String())
			}
			if first.Stream == second.Stream || first.Stamp >= second.Stamp {
				t.Errorf("acknowledgements %+v and %+v, want two streams and rising stamps", first, second)
			}
			want := [][]string{{"r-1", "sealed"}, {"r-2", "sealed"}}
			if diff := cmp.Diff(want, streams(t, p.root)); diff != "" {
				t.Errorf("streams (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSignal ends a pipe that is still open: what was read is durable and the stream is sealed. As
// nobody knows what else would have come, the exit code is not 0.
func TestSignal(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(sig.String(), func(t *testing.T) {
			p := startPipe(t)
			p.send(t, "r-1")
			p.send(t, "r-2")
			if _, err := io.WriteString(p.in, `{"run_id":"r-3","stage":"S"`); err != nil {
				t.Fatal(err)
			}
			if err := p.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if code := p.wait(t); code != exitFailed {
				t.Errorf("exit code %d, want %d: %s", code, exitFailed, p.stderr.String())
			}
			for _, want := range []string{
				"journal-append: stdin:3: interrupted: not read any further\n",
				"journal-append: a: 2 appended, 0 refused\n",
				"journal-append: not read to the end: stdin behind line 2; the last durable line is stdin:2\n",
			} {
				if !strings.Contains(p.stderr.String(), want) {
					t.Errorf("standard error %q, want a line %q", p.stderr.String(), want)
				}
			}
			if diff := cmp.Diff([][]string{{"r-1", "r-2", "sealed"}}, streams(t, p.root)); diff != "" {
				t.Errorf("streams (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSignalNamesFiles shows that the files that were not read any more are named.
func TestSignalNamesFiles(t *testing.T) {
	next := filepath.Join(t.TempDir(), "next.ndjson")
	if err := os.WriteFile(next, []byte(`{"run_id":"r-9","stage":"S"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	p := startPipe(t, "-", next)
	p.send(t, "r-1")
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != exitFailed {
		t.Errorf("exit code %d, want %d: %s", code, exitFailed, p.stderr.String())
	}
	if want := next + ": interrupted"; !strings.Contains(p.stderr.String(), want) {
		t.Errorf("standard error %q, want %q", p.stderr.String(), want)
	}
	if diff := cmp.Diff([][]string{{"r-1", "sealed"}}, streams(t, p.root)); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
}

// TestKilledPipe shows that what was acknowledged is there after SIGKILL, without a seal.
func TestKilledPipe(t *testing.T) {
	p := startPipe(t)
	p.send(t, "r-1")
	p.send(t, "r-2")
	p.Process.Kill()
	p.wait(t)
	if diff := cmp.Diff([][]string{{"r-1", "r-2"}}, streams(t, p.root)); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
}

// TestMovedAway moves the stream of a pipe that was idle for long to where a fold would move it. The next
// record goes to a stream of its own; at the end, when there is none, the exit code is 0 all the same.
func TestMovedAway(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files that are open cannot be moved")
	}
	p := startPipe(t)
	away := func(ack acknowledgement) {
		t.Helper()
		to := p.root.Reaped("a", ack.Stream)
		err := os.MkdirAll(filepath.Dir(to), 0o777)
		if err = errors.Join(err, os.Rename(p.root.Stream("a", ack.Stream), to)); err != nil {
			t.Fatal(err)
		}
	}
	p.send(t, "r-1")
	away(p.send(t, "r-2"))
	ack := p.send(t, "r-3")
	if diff := cmp.Diff([][]string{{"r-3"}}, streams(t, p.root)); diff != "" {
		t.Errorf("streams once one was moved away (-want +got):\n%s", diff)
	}
	away(ack)
	p.in.Close()
	if code := p.wait(t); code != exitDone {
		t.Errorf("exit code %d, want %d: %s", code, exitDone, p.stderr.String())
	}
	if strings.Contains(p.stderr.String(), "seal") { // it has one, where it lies now
		t.Errorf("standard error %q", p.stderr.String())
	}
}

// TestClosedOutput closes the pipe of the acknowledgements: every record is appended all the same, and
// the exit code tells.
func TestClosedOutput(t *testing.T) {
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.Command("journal-append", "--root", string(root), "--cohort", "a", "--ack", "--create", "--summary", "json")
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = w, &stderr
	cmd.Stdin = strings.NewReader(`{"run_id":"r-1","stage":"S"}` + "\n" + `{"run_id":"r-2","stage":"S"}` + "\n")
	err = cmd.Run()
	w.Close()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d (%v), want %d: %s", code, err, exitFailed, stderr.String())
	}
	if want := "journal-append: standard output: "; !strings.Contains(stderr.String(), want) {
		t.Errorf("standard error %q, want %q", stderr.String(), want)
	}
	if diff := cmp.Diff([][]string{{"r-1", "r-2", "sealed"}}, streams(t, root)); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
}
