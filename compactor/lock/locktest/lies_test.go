package locktest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/file"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/internal/servertest"
)

// every is how many changes of the disk lie between two places at which a holder is stopped.
var every = flag.Int("every", 7, "stop the holder of a lock before every so-manieth change that it makes, and before its commit twice as often; 1: before each")

// A fold of these tests makes fewer than so many changes, and commits before the one of them.
const (
	changes  = 40
	byCommit = 16
)

// places are the changes before which a holder is stopped.
func places() (all []int) {
	for k := int(*seed) % *every; k < changes; {
		all = append(all, k)
		if k < byCommit {
			k += max(*every/2, 1)
		} else {
			k += *every
		}
	}
	return all
}

// lie is a way in which two hold one lock.
type lie struct {
	name string
	// set makes the providers of two compactors, and what happens between: the first one holds the lock then and is stopped, and the second comes.
	set func(t testing.TB) (first, second lock.Provider, between func() error)
}

// TestLies stops the holder of a lock before a change that it makes to the disk. Then the lock lies, a second compactor gets it and folds to its end, and
// the first goes on. The rows are those of a reference fold each time.
func TestLies(t *testing.T) {
	notShort(t)
	for _, l := range lies() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			var sum tally
			first, second, between := l.set(t)
			for _, k := range places() {
				w := newWork(t)
				w.append("a", "b")
				w.fold()
				w.append("b", "c")
				w.meet(k, first, second, between, &sum)
				sum.wrong += w.isReference(fmt.Sprintf("the holder was stopped before change %d", k))
			}
			if sum.double < 3 {
				t.Errorf("two held the lock at once in %d tries: is this test looking in the right place?", sum.double)
			}
			t.Logf("figure: %s: %v", l.name, sum)
		})
	}
}

// notShort leaves out what waits for leases to end, and for servers to start.
func notShort(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
}

// tally counts what became of two that held one lock.
type tally struct{ tries, double, both, lost, wrong int }

func (s tally) String() string {
	return fmt.Sprintf("%d tries, %d with two holders: both ended well in %d, the first ended because of the loss in %d; %d wrong rows", s.tries, s.double, s.both, s.lost, s.wrong)
}

// add counts one. first is how the first holder ended.
func (s *tally) add(t testing.TB, first error) {
	s.double++
	switch {
	case first == nil:
		s.both++
	case errors.Is(first, compactor.ErrLockLost):
		s.lost++
	case !errors.Is(first, generation.ErrConflict) && !sweptUnder(first):
		t.Errorf("the first holder ends with %v", first)
	}
}

// sweptUnder tells whether a compactor ended because another one swept what it was making. That happens only with KeepAge -1, as these tests have it: others
// leave what is younger than an hour.
func sweptUnder(err error) bool { return errors.Is(err, fs.ErrNotExist) && !generation.IsDamage(err) }

// fold folds with the lock file.
func (w *work) fold() {
	w.Helper()
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: w.dir}); err != nil {
		w.Fatal(err)
	}
}

// meet lets two holders meet, if the first one makes k changes.
func (w *work) meet(k int, first, second lock.Provider, between func() error, sum *tally) {
	w.Helper()
	asleep, wake := make(chan struct{}), make(chan struct{})
	cfg := compactor.Config{Root: w.dir, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1, Wait: time.Minute}
	one, two := cfg, cfg
	one.Locks, two.Locks = first, second
	one.FS = &durabletest.Fault{FS: durable.OS, Hook: func(n int, _, _ string) error {
		if n == k {
			close(asleep)
			<-wake
		}
		return nil
	}}
	sum.tries++
	done := make(chan error, 1)
	go func() {
		_, err := compactor.Fold(context.Background(), one)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			w.Errorf("the first holder, whom nobody stopped: %v", err)
		}
		return
	case <-asleep:
	}
	if err := between(); err != nil {
		w.Errorf("before change %d: %v", k, err)
	}
	w.append("c", "d")
	_, err := compactor.Fold(context.Background(), two)
	close(wake)
	sum.add(w, <-done)
	if err != nil {
		w.Errorf("before change %d: the second holder ends with %v", k, err)
	}
}

// everyone is a service that grants the lock to everybody: each claim is to a lock of its own.
type everyone struct {
	lock.Service
	claims *atomic.Int64
}

func (e everyone) Claim(root, token, words string, ttl time.Duration) lock.Claim {
	return e.Service.Claim(fmt.Sprintf("%s-%d", root, e.claims.Add(1)), token, words, ttl)
}

func nothing() error { return nil }

// lies are those of which one process is enough. The holder goes on renewing its lease.
func lies() []lie {
	all := []lie{
		{"no lock", func(testing.TB) (first, second lock.Provider, between func() error) {
			return lock.None{}, lock.None{}, nothing
		}},
		{"one folds by Redis, one by etcd", func(t testing.TB) (first, second lock.Provider, between func() error) {
			_, one := begin(t, "redis", nil)
			_, two := begin(t, "etcd", nil)
			return opened(t, one), opened(t, two), nothing
		}},
		{"one folds by PostgreSQL, one by the lock file", func(t testing.TB) (first, second lock.Provider, between func() error) {
			_, url := begin(t, "postgres", nil)
			return opened(t, url), file.Provider{}, nothing
		}},
		{"the clock of Redis is set forward by an hour", func(t testing.TB) (first, second lock.Provider, between func() error) {
			if err := servertest.HasClock(); err != nil {
				servertest.Skip(t, err)
			}
			s, url := begin(t, "redis", nil)
			ahead := 0
			return opened(t, url), opened(t, url), func() error {
				ahead++
				return s.(*servertest.Process).SetClock(fmt.Sprintf("+%dh", ahead))
			}
		}},
	}
	for _, kind := range servertest.Services() {
		all = append(all, lie{kind + " grants the lock to everybody", func(t testing.TB) (first, second lock.Provider, between func() error) {
			_, url := begin(t, kind, nil)
			n := &atomic.Int64{}
			liar := func() *lock.Leases {
				p := opened(t, url)
				p.Service = everyone{p.Service, n}
				return p
			}
			return liar(), liar(), nothing
		}}, lie{kind + " is killed and comes back empty", func(t testing.TB) (first, second lock.Provider, between func() error) {
			s, url := begin(t, kind, nil)
			return opened(t, url), opened(t, url), func() error {
				s.Kill() // its error is that it was killed
				return s.StartEmpty()
			}
		}})
	}
	return all
}
