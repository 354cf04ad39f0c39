// Package locktest has the tests that every provider of locks passes. Its own tests are of locks that lie: none of them may cost a record.
//
//	func TestProvider(t *testing.T) { locktest.TestProvider(t, func(testing.TB) lock.Provider { ... }) }
package locktest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/lock"
)

// TestProvider runs all tests. open opens a provider as a process of its own would: with connections of its own to a service that all of them share.
func TestProvider(t *testing.T, open func(testing.TB) lock.Provider) {
	for _, part := range []struct {
		name string
		test func(*testing.T, func(testing.TB) lock.Provider)
	}{{"OneWins", testOneWins}, {"Waits", testWaits}, {"RootsAreApart", testRootsAreApart}, {"Folds", testFolds}} {
		t.Run(part.name, func(t *testing.T) {
			part.test(t, func(t testing.TB) lock.Provider {
				t.Helper()
				p := open(t)
				t.Cleanup(func() {
					if err := p.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
				return p
			})
		})
	}
}

// lockOf is the lock of a root that no other test has.
func lockOf(t testing.TB, p lock.Provider, dir, name string, wait time.Duration) lock.Locker {
	return p.Locker(lock.Options{RootID: rootID(t, name), Path: filepath.Join(dir, name+".lock"), Wait: wait, Program: "a test"})
}

// rootID looks like the id of a root, and is that of one test.
func rootID(t testing.TB, name string) string {
	return strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()) + "-" + name
}

// testOneWins lets 16 ask at once, again and again. One gets the lock; the others are told who. Fences rise.
func testOneWins(t *testing.T, open func(testing.TB) lock.Provider) {
	const rounds, askers = 5, 16
	dir, fence := t.TempDir(), int64(0)
	var all []lock.Locker
	for range askers {
		all = append(all, lockOf(t, open(t), dir, "one", 0))
	}
	for round := range rounds {
		won := make([]lock.Held, askers)
		errs := make([]error, askers)
		var wg sync.WaitGroup
		for i, l := range all {
			wg.Go(func() { won[i], errs[i] = l.Lock(t.Context()) })
		}
		wg.Wait()
		var held lock.Held
		for i, err := range errs {
			switch {
			case err == nil && held == nil:
				held = won[i]
			case err == nil:
				t.Errorf("round %d: a second one holds the lock", round)
			case !errors.Is(err, lock.ErrLocked):
				t.Errorf("round %d: Lock = %v, want ErrLocked", round, err)
			}
		}
		if held == nil {
			t.Fatalf("round %d: nobody got the lock: %v", round, errors.Join(errs...))
		}
		if f := held.Fence(); f != 0 && f <= fence || fence != 0 && f == 0 {
			t.Errorf("round %d: fence %d after %d", round, f, fence)
		}
		fence = held.Fence()
		if _, err := all[round].Lock(t.Context()); !errors.Is(err, lock.ErrLocked) || !strings.Contains(err.Error(), "program a test") {
			t.Errorf("round %d: Lock of a held lock = %v, want ErrLocked with its holder", round, err)
		}
		if err := errors.Join(lock.Check(held), held.Unlock(), held.Unlock()); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

// testWaits waits for a holder that ends, and ends with its context.
func testWaits(t *testing.T, open func(testing.TB) lock.Provider) {
	p, dir := open(t), t.TempDir()
	first, err := lockOf(t, p, dir, "one", 0).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if words, err := p.Holder(t.Context(), lock.Options{RootID: rootID(t, "one"), Path: filepath.Join(dir, "one.lock")}); !strings.HasPrefix(words, "host ") || err != nil {
		t.Errorf("Holder = %q, %v", words, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockOf(t, p, dir, "one", time.Hour).Lock(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Lock with a context that has ended = %v", err)
	}
	got := make(chan error)
	go func() {
		second, err := lockOf(t, open(t), dir, "one", time.Hour).Lock(t.Context())
		if err == nil {
			err = second.Unlock()
		}
		got <- err
	}()
	if err := first.Unlock(); err != nil {
		t.Error(err)
	}
	if err := <-got; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
	if words, err := p.Holder(t.Context(), lock.Options{RootID: rootID(t, "one"), Path: filepath.Join(dir, "one.lock")}); words != "" || err != nil {
		t.Errorf("Holder of a free lock = %q, %v", words, err)
	}
}

// testRootsAreApart holds the locks of two roots.
func testRootsAreApart(t *testing.T, open func(testing.TB) lock.Provider) {
	p, dir := open(t), t.TempDir()
	for _, name := range []string{"one", "two"} {
		held, err := lockOf(t, p, dir, name, 0).Lock(t.Context())
		if err != nil {
			t.Fatalf("the lock of root %s: %v", name, err)
		}
		defer held.Unlock()
	}
}

// testFolds lets several compactors fold one root at once while writers append. All wait for the lock, and each commit says by which lock it was made.
func testFolds(t *testing.T, open func(testing.TB) lock.Provider) {
	const compactors, writers, runs = 4, 4, 10
	w := newWork(t)
	kind := ""
	var appending, folding sync.WaitGroup
	done := make(chan struct{})
	for range compactors {
		cfg := compactor.Config{Root: w.dir, Locks: open(t), Wait: time.Hour, BatchBytes: 4000}
		kind, _, _ = strings.Cut(cfg.Locks.String(), " ")
		folding.Go(func() {
			for {
				if _, err := compactor.Fold(t.Context(), cfg); err != nil {
					t.Errorf("Fold: %v", err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := range writers {
		appending.Go(func() {
			for r := range runs {
				w.append(fmt.Sprintf("w%d-%d", n, r/2))
			}
		})
	}
	appending.Wait()
	close(done)
	folding.Wait()
	for c := range w.commits() {
		if c.Lock == nil || c.Lock.Provider != kind {
			t.Errorf("generation %d was made by the lock %v, want %s", c.Generation, c.Lock, kind)
		}
	}
	w.isReference("after the race")
}
