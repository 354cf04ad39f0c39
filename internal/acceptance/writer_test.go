package acceptance

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// writer is one journal-append and what we know of its records. It has three states of a record: not
// sent, sent, acknowledged.
type writer struct {
	number int
	cmd    *exec.Cmd
	in     io.WriteCloser
	acks   *bufio.Scanner
	stderr strings.Builder

	sent, acked int // how many records; both are prefixes
}

// runID names the run of the i-th record: each fifth writes the run before the last again.
func (w *writer) runID(i int) string {
	if i%5 == 4 {
		i -= 2
	}
	return fmt.Sprintf("w%03d-%02d", w.number, i)
}

func startWriter(t *testing.T, root cohort.Root, number int) *writer {
	t.Helper()
	w := &writer{number: number}
	w.cmd = exec.Command("journal-append", "--root", string(root), "--cohort", fmt.Sprintf("cohort-%d", number%cohorts), "--ack")
	w.cmd.Stderr = &w.stderr
	in, err := w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.in, w.acks = in, bufio.NewScanner(out)
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.cmd.Process.Kill() })
	return w
}

// send writes n more records, as far as there are.
func (w *writer) send(n int) error {
	var lines []byte
	for ; n > 0 && w.sent < records; n-- {
		lines = fmt.Appendf(lines, `{"run_id":%q,"stage":"TRAINING","metrics":{"n":%d}}`+"\n", w.runID(w.sent), w.sent)
		w.sent++
	}
	_, err := w.in.Write(lines)
	return err
}

// ack reads one acknowledgement; it is io.EOF if the process has ended.
func (w *writer) ack() error {
	if !w.acks.Scan() {
		return errors.Join(io.EOF, w.acks.Err())
	}
	var ack struct {
		RunID string `json:"run_id"`
		Line  int    `json:"line"`
	}
	err := json.Unmarshal(w.acks.Bytes(), &ack)
	if err != nil || ack.Line != w.acked+1 || ack.RunID != w.runID(w.acked) {
		return fmt.Errorf("acknowledgement %d is %q: %w", w.acked+1, w.acks.Text(), err)
	}
	w.acked++
	return nil
}

// finish sends the rest, in steps of its own size, and waits for the end.
func (w *writer) finish() error {
	for step := 1 + w.number%7; w.sent < records; {
		if err := w.send(step); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		for w.acked < w.sent {
			if err := w.ack(); err != nil {
				return err
			}
		}
	}
	if err := w.in.Close(); err != nil {
		return err
	}
	if err := w.ack(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the last acknowledgement: %v", err)
	}
	return w.cmd.Wait()
}

// kill sends some records, waits for some acknowledgements, and kills the process.
func (w *writer) kill(r *rand.Rand) error {
	if err := w.send(1 + r.IntN(records)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	for target := r.IntN(w.sent + 1); w.acked < target; {
		if err := w.ack(); err != nil {
			return err
		}
	}
	if err := w.cmd.Process.Kill(); err != nil {
		return err
	}
	for { // what it had acknowledged
		if err := w.ack(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	w.cmd.Wait()
	return nil
}

// values are the values that a key of w may have at the end, given the three states. maybe is whether it
// may also be absent.
func (w *writer) values(key string) (allowed map[int]bool, maybe bool) {
	allowed = map[int]bool{}
	maybe = true
	for i := range w.sent {
		if w.runID(i)+":TRAINING" != key {
			continue
		}
		if i < w.acked { // it is there, and no earlier one can be
			clear(allowed)
			maybe = false
		}
		allowed[i] = true
	}
	return allowed, maybe
}
