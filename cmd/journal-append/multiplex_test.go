package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// multiplexed is a multiplex within the test, whose lanes for the root "hung" begin no stream until they are let.
type multiplexed struct {
	*multiplex
	in      *io.PipeWriter
	answers *bufio.Scanner
	let     chan struct{}
	begun   atomic.Int32
	sent    atomic.Int64 // bytes that were read of the lines
	ended   chan error
}

func startMultiplex(t *testing.T, root string) *multiplexed {
	t.Helper()
	in, toIn := io.Pipe()
	fromOut, out := io.Pipe()
	m := &multiplexed{
		multiplex: newMultiplex(options{summary: "none"}, out, io.Discard),
		in:        toIn, answers: bufio.NewScanner(fromOut), let: make(chan struct{}), ended: make(chan error, 1),
	}
	m.open = func(to target) (*appender, error) {
		if to.root == "hung" {
			<-m.let
		}
		m.begun.Add(1)
		to.root = root
		return m.begin(to)
	}
	go func() {
		m.ended <- m.run(t.Context(), in)
		out.Close()
	}()
	if !m.answers.Scan() || !strings.HasPrefix(m.answers.Text(), `{"multiplex":1,`) {
		t.Fatalf("first line %q", m.answers.Text())
	}
	return m
}

func (m *multiplexed) send(root string, n int, more string) {
	b, _ := fmt.Fprintf(m.in, `{"id":%d,"root":%q,"cohort":"a","record":{"run_id":"r-%d","stage":"S","more":%q}}`+"\n", n, root, n, more)
	m.sent.Add(int64(b))
}

// answered is the id of the next answer, which must be one of a durable record.
func (m *multiplexed) answered(t *testing.T) int {
	t.Helper()
	var r struct {
		ID       int
		RecordID string `json:"record_id"`
	}
	if !m.answers.Scan() {
		t.Fatal("no answer")
	}
	if err := json.Unmarshal(m.answers.Bytes(), &r); err != nil || r.RecordID == "" {
		t.Fatalf("answer %s: %v", m.answers.Text(), err)
	}
	return r.ID
}

func newRoot(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "runs")
	if _, _, err := journal.InitRoot(cohort.Root(dir), cohort.Settings{}, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestMultiplexHung: a root whose storage hangs holds up its own lines only, and gets them in their order when it is back.
func TestMultiplexHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startMultiplex(t, newRoot(t))
		m.send("hung", 1, "")
		m.send("hung", 2, "")
		for n := 3; n < 600; n++ {
			m.send("runs", n, "")
			if got := m.answered(t); got != n {
				t.Fatalf("answer to %d, want that to %d", got, n)
			}
		}
		close(m.let)
		for n := 1; n <= 2; n++ {
			if got := m.answered(t); got != n {
				t.Fatalf("answer to %d, want that to %d", got, n)
			}
		}
		m.in.Close()
		if err := <-m.ended; err != nil {
			t.Error(err)
		}
	})
}

// TestMultiplexBounded: what waits for storage that hangs is bounded. Then no more is read, until it is back.
func TestMultiplexBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startMultiplex(t, newRoot(t))
		const lines, size = 24, 4 << 20
		go func() {
			for n := range lines {
				m.send("hung", n, strings.Repeat("x", size))
			}
			m.in.Close()
		}()
		synctest.Wait()
		if got := m.sent.Load(); got < maxWaiting-2*size || got > maxWaiting+2*size {
			t.Errorf("%d bytes were read while nothing could be appended, want about %d", got, maxWaiting)
		}
		close(m.let)
		for n := range lines {
			if got := m.answered(t); got != n {
				t.Fatalf("answer to %d, want that to %d", got, n)
			}
		}
		if err := <-m.ended; err != nil {
			t.Error(err)
		}
	})
}

// TestMultiplexIdle: a stream without lines is sealed after a while, so that it is folded away, and the next line begins another.
func TestMultiplexIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newRoot(t)
		m := startMultiplex(t, root)
		for n := range 5 {
			m.send("runs", n, "")
			m.answered(t)
			if n%2 == 1 {
				synctest.Wait()
				<-time.After(2 * maxIdle)
			}
		}
		m.in.Close()
		if err := <-m.ended; err != nil {
			t.Error(err)
		}
		got := fmt.Sprint(streams(t, cohort.Root(root)))
		if want := "[[r-0 r-1 sealed] [r-2 r-3 sealed] [r-4 sealed]]"; got != want || m.begun.Load() != 3 {
			t.Errorf("streams %s, want %s", got, want)
		}
	})
}

// TestMultiplexMany: more cohorts than streams may be open at one time take turns.
func TestMultiplexMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const cohorts, lines = maxOpen + 21, maxOpen + 40
		root := newRoot(t)
		m, begun := startMultiplex(t, root), time.Now()
		answered := map[int]bool{}
		send := func(from, to int) {
			go func() {
				for n := from; n < to; n++ {
					fmt.Fprintf(m.in, `{"id":%d,"root":"runs","cohort":"c-%d","record":{"run_id":"r-%d","stage":"S"}}`+"\n", n, n%cohorts, n)
				}
			}()
			for range to - from {
				answered[m.answered(t)] = true
			}
		}
		send(0, cohorts)
		synctest.Wait()
		if got := len(m.streams); got != maxOpen {
			t.Errorf("%d streams are open, want %d: one ends for each that has no place", got, maxOpen)
		}
		send(cohorts, lines)
		waited := time.Since(begun)
		m.in.Close()
		if err := <-m.ended; err != nil || len(answered) != lines {
			t.Errorf("%d answers, %v", len(answered), err)
		}
		if waited > 0 { // the clock of the bubble stands still while there is something to do
			t.Errorf("lines waited %v for streams that were idle", waited)
		}
	})
}

// TestMultiplexAgain: where the storage fails for a while, what it failed is told to be sent again, and what comes later is appended.
func TestMultiplexAgain(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	root := newRoot(t)
	// The first two syncs of each thread fail: that of the first stream, and that of the one which takes its place.
	cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "inject=fdatasync,fsync:error=EIO:when=1..2", "journal-append", "--multiplex")
	in, answers := start(t, cmd)
	answers.Scan()
	var again int
	for {
		fmt.Fprintf(in, `{"root":%q,"cohort":"a","record":{"run_id":"r","stage":"S","record_id":"mine"}}`+"\n", root)
		if !answers.Scan() {
			t.Fatal("no answer")
		}
		if strings.Contains(answers.Text(), `"record_id":"mine"`) {
			break
		}
		if !strings.Contains(answers.Text(), `"kind":"again"`) {
			t.Fatalf("answer %s, want again", answers.Text())
		}
		if again++; again > 50 {
			t.Fatal("it never gets better")
		}
	}
	in.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); again == 0 || !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("%d times again, then %v; want at least once, and exit code 1", again, err)
	}
}

// TestMultiplexKilled: what was answered is in the root, at whatever point it is killed.
func TestMultiplexKilled(t *testing.T) {
	const rounds, cohorts = 12, 5
	seed := uint64(syscall.Getpid())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		root := newRoot(t)
		cmd := exec.Command("journal-append", "--multiplex", "--seal-bytes", "4KiB")
		in, answers := start(t, cmd)
		go func() {
			for n := 0; ; n++ {
				if _, err := fmt.Fprintf(in, `{"id":%d,"root":%q,"cohort":"c-%d","record":{"run_id":"r-%d","stage":"S"}}`+"\n", n, root, n%cohorts, n); err != nil {
					return
				}
			}
		}()
		acked := map[string]bool{}
		last := 1 + r.IntN(2000)
		for answers.Scan() {
			var a struct {
				RunID    string `json:"run_id"`
				RecordID string `json:"record_id"`
			}
			if json.Unmarshal(answers.Bytes(), &a) == nil && a.RecordID != "" { // the last line may be cut
				acked[a.RunID] = true
			}
			if len(acked) == last {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		in.Close()
		found := map[string]int{}
		for _, ids := range streams(t, cohort.Root(root)) {
			for _, id := range ids {
				found[id]++
			}
		}
		for id := range acked {
			if found[id] != 1 {
				t.Errorf("%s was answered and is there %d times", id, found[id])
			}
		}
		if len(acked) < last {
			t.Errorf("%d answers, want %d at least", len(acked), last)
		}
	}
}

// TestMultiplexKinds: what somebody must mend is no reason to send a line again and again, also where a stream has it with its first record.
func TestMultiplexKinds(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{syscall.EIO, kindAgain},
		{syscall.ENOSPC, kindAgain},
		{syscall.EMFILE, kindAgain},
		{journal.ErrClosed, kindAgain},
		{syscall.EACCES, kindFailed},
		{syscall.EPERM, kindFailed},
		{syscall.EROFS, kindFailed},
		{cohort.ErrNewer, kindFailed},
		{journal.ErrOtherRoot, kindFailed},
		{&journal.NoRootError{Root: "runs"}, kindFailed},
	} {
		n := numbered{line: line{err: fmt.Errorf("append: %w", c.err)}, lost: true, mayRepeat: true}
		if got := n.kind(); got != c.want {
			t.Errorf("%v is %q, want %q", c.err, got, c.want)
		}
	}
}
