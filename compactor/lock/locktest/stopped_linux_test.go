package locktest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/internal/servertest"
)

// order is what a process of a test does: it folds, and stops itself by SIGSTOP before a change.
type order struct {
	Root cohort.Root
	URL  string // of its lock
	Stop int    // the change; negative: it stops nowhere
}

const orderVar = "RUNFOLD_LOCKTEST_ORDER"

func TestMain(m *testing.M) {
	text := os.Getenv(orderVar)
	if text == "" {
		os.Exit(m.Run())
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	fmt.Println(o.fold())
}

// fold says how it ended.
func (o order) fold() string {
	locks, err := openURL(o.URL)
	if err != nil {
		return err.Error()
	}
	cfg := compactor.Config{Root: o.Root, Locks: locks, Wait: time.Minute, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1}
	cfg.FS = &durabletest.Fault{FS: durable.OS, Hook: func(n int, _, _ string) error {
		if n == o.Stop {
			fmt.Println("stopped")
			return syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		}
		return nil
	}}
	_, err = compactor.Fold(context.Background(), cfg)
	switch {
	case err == nil:
		return "well"
	case errors.Is(err, compactor.ErrLockLost):
		return "lost"
	case errors.Is(err, generation.ErrConflict), sweptUnder(err):
		return "conflict"
	}
	return err.Error()
}

// process is one that carries out an order.
type process struct {
	*exec.Cmd
	said *bufio.Scanner
}

func (o order) start(t testing.TB, cmd *exec.Cmd) process {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), orderVar+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return process{cmd, bufio.NewScanner(io.LimitReader(out, 1<<20))}
}

// line is the next one that it prints.
func (p process) line() string {
	if !p.said.Scan() {
		return fmt.Sprintf("nothing more: %v", p.said.Err())
	}
	return p.said.Text()
}

// TestStopped stops the process of a holder (SIGSTOP) before a change, until its lease has ended and a second one folds. Then it goes on, while the second is at work. A holder that
// has not committed yet finds by its own clock that the lock is lost.
func TestStopped(t *testing.T) {
	notShort(t)
	t.Parallel()
	t.Logf("-seed %d", *seed)
	for _, kind := range servertest.Services() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			_, url := begin(t, kind, nil)
			var sum tally
			var mu sync.Mutex // guards sum
			var all errgroup.Group
			all.SetLimit(8)
			for _, stop := range places() {
				all.Go(func() error {
					ended, reached, wrong := stopped(t, url, stop)
					mu.Lock()
					defer mu.Unlock()
					sum.tries++
					sum.wrong += wrong
					if !reached {
						return nil
					}
					sum.double++
					switch ended {
					case "well":
						sum.both++
					case "lost":
						sum.lost++
					case "conflict":
					default:
						t.Errorf("stopped before change %d: the first holder ends with %s", stop, ended)
					}
					return nil
				})
			}
			all.Wait()
			if sum.lost < 1 || sum.both < 1 {
				t.Errorf("%v: is this test looking in the right place?", sum)
			}
			t.Logf("figure: %s, the holder stopped past its lease: %v", kind, sum)
		})
	}
}

func stopped(t *testing.T, url string, stop int) (ended string, reached bool, wrong int) {
	w := newWork(t)
	w.append("a", "b")
	w.fold()
	w.append("b", "c")
	first := order{w.dir, url, stop}.start(t, exec.Command(os.Args[0]))
	if ended = first.line(); ended != "stopped" {
		first.Wait()
		return ended, false, w.isReference("nobody was stopped")
	}
	w.append("c", "d")
	locks := opened(t, url)
	wake := rand.New(rand.NewPCG(*seed, uint64(stop))).IntN(changes)
	goOn := sync.OnceFunc(func() {
		if err := first.Process.Signal(syscall.SIGCONT); err != nil {
			t.Error(err)
		}
		ended = first.line()
	})
	_, err := compactor.Fold(context.Background(), compactor.Config{
		Root: w.dir, Locks: locks, Wait: time.Minute, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1,
		FS: &durabletest.Fault{FS: durable.OS, Hook: func(n int, _, _ string) error {
			if n == wake {
				goOn()
			}
			return nil
		}},
	})
	goOn()
	first.Wait()
	when := fmt.Sprintf("stopped before change %d, woken before change %d of the second", stop, wake)
	if err != nil && !errors.Is(err, compactor.ErrLockLost) && !sweptUnder(err) {
		t.Errorf("%s: the second holder ends with %v", when, err)
	}
	return ended, true, w.isReference(when)
}

// TestPartition cuts the network between holders and the service, silently, while each is stopped before another change. Others, on the service's side, get the locks and
// fold. Then the network is mended and the first ones go on.
func TestPartition(t *testing.T) {
	notShort(t)
	for _, kind := range servertest.Services() {
		t.Run(kind, func(t *testing.T) {
			net := newNet(t)
			_, url := begin(t, kind, net)
			var sum tally
			meetings := []*meeting{}
			for _, stop := range places() {
				if m := meetAt(t, url, stop); m != nil {
					meetings = append(meetings, m)
				}
			}
			if err := net.Cut(true, true); err != nil {
				t.Fatal(err)
			}
			var seconds []process
			for _, m := range meetings {
				m.append("c", "d")
				seconds = append(seconds, order{m.dir, url, -1}.start(t, net.Command(os.Args[0])))
			}
			for i, p := range seconds {
				if got := p.line(); got != "well" && got != "conflict" {
					t.Errorf("%s: the second holder ends with %s", meetings[i].when, got)
				}
				p.Wait()
			}
			if err := net.Mend(); err != nil {
				t.Fatal(err)
			}
			for _, m := range meetings {
				close(m.wake)
				sum.tries++
				sum.add(t, <-m.done)
				sum.wrong += m.isReference(m.when)
			}
			if sum.lost < 1 || sum.both < 1 {
				t.Errorf("%v: is this test looking in the right place?", sum)
			}
			t.Logf("figure: %s, behind a network that is cut: %v", kind, sum)
		})
	}
}

// meeting is a holder that was stopped within this process, while its lease goes on being renewed.
type meeting struct {
	*work
	when string
	wake chan struct{}
	done chan error
}

// meetAt is nil if the fold makes fewer changes.
func meetAt(t *testing.T, url string, stop int) *meeting {
	t.Helper()
	m := &meeting{newWork(t), fmt.Sprintf("stopped before change %d", stop), make(chan struct{}), make(chan error, 1)}
	m.append("a", "b")
	m.fold()
	m.append("b", "c")
	locks := opened(t, url)
	asleep := make(chan struct{})
	fsys := &durabletest.Fault{FS: durable.OS, Hook: func(n int, _, _ string) error {
		if n == stop {
			close(asleep)
			<-m.wake
		}
		return nil
	}}
	go func() {
		_, err := compactor.Fold(context.Background(), compactor.Config{
			Root: m.dir, Locks: locks, FS: fsys, Wait: time.Minute, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1,
		})
		m.done <- err
	}()
	select {
	case <-asleep:
		return m
	case err := <-m.done:
		if err != nil {
			t.Errorf("%s: %v", m.when, err)
		}
		return nil
	}
}
