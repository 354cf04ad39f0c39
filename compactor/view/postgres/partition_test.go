package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlview"
	"github.com/runfold/runfold/compactor/view/viewtest"
	"github.com/runfold/runfold/internal/servertest"
)

var (
	cutSeed = flag.Uint64("cut-seed", 0, "seed of the partitions; 0 chooses one")
	cutMany = flag.Int("cuts", 0, "how many partitions are long ones; there are five times as many short ones")
)

// far is a server behind a link that can be cut.
type far struct {
	server
	net *servertest.Net
}

func newFar(t *testing.T) far {
	t.Helper()
	need(t)
	net, err := servertest.NewNet()
	if err != nil {
		servertest.Skip(t, err)
	}
	s, err := servertest.NewPostgres(net)
	if err != nil {
		t.Fatal(errors.Join(err, net.Close()))
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return far{server{s}, net}
}

// open opens the view over the link. Each call goes through step. Unless options say another time, an end that acknowledges nothing for two seconds is given up.
func (f far) open(t *testing.T, options string, step viewtest.Step) *sqlview.DB {
	t.Helper()
	v, err := Open(fmt.Sprintf("postgres://%s@%s/postgres?schema=lab&sslmode=disable%s&tcp_user_timeout=2000", servertest.User, f.net.Address, options),
		Options{Wait: time.Minute, wrap: func(c driver.Connector) driver.Connector { return viewtest.Connector(c, step) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// atCommit calls do before the COMMIT of a change, and not of a look.
func atCommit(do func()) viewtest.Step {
	wrote := false
	return func(call string) error {
		switch {
		case strings.HasPrefix(call, "before UPDATE"):
			wrote = true
		case call == "before COMMIT" && wrote:
			wrote = false
			do()
		}
		return nil
	}
}

// TestCutAtCommit has the link cut when COMMIT is sent: on the way there, so that the server waits for it and holds the row of the root, and on the way back, so
// that the change is made and nobody says so. The publisher is told that the server does not answer, and another one goes on while the link is still cut.
func TestCutAtCommit(t *testing.T) {
	f := newFar(t)
	root, store := viewtest.NewRoot(t)
	near := openAt(t, f.server)
	for i, way := range []struct {
		name             string
		there, back      bool
		madeWithoutOther bool
	}{
		{"the way there", true, false, false}, {"both ways", true, true, false}, {"the way back", false, true, true},
	} {
		if testing.Short() && i != 1 {
			continue
		}
		t.Run(way.name, func(t *testing.T) {
			impatient, err := Open(f.url("lab"), Options{Wait: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer impatient.Close()
			cut := false
			defer f.net.Mend()
			v := f.open(t, "", atCommit(func() {
				if cut {
					return
				}
				cut = true
				if err := f.net.Cut(way.there, way.back); err != nil {
					t.Fatal(err)
				}
				if way.madeWithoutOther {
					return
				}
				// The server waits for COMMIT, and has the row locked. It may have found out that nobody sends it, if this machine is slow.
				if _, err := view.Sync(context.Background(), store, impatient, view.Options{}); err != nil && !errors.Is(err, view.ErrBusy) {
					t.Errorf("another one, at once: %v, want ErrBusy", err)
				}
			}))
			viewtest.Fold(t, root, fmt.Sprintf(`{"run_id":"r-%d","stage":"T","n":%d}`, i, i))
			if _, err := view.Sync(t.Context(), store, v, view.Options{}); !errors.Is(err, view.ErrAway) || !cut {
				t.Fatalf("cut (%v): %v, want ErrAway", cut, err)
			}
			if way.madeWithoutOther {
				var held view.State
				for held.Rows < int64(i+1) { // until the server has done it
					if held, err = near.State(t.Context(), store.Settings.RootID); err != nil {
						t.Fatal(err)
					}
				}
			}
			r, err := view.Sync(t.Context(), store, near, view.Options{}) // waits until the server ends the transaction of who is gone
			if err != nil {
				t.Fatalf("another one, while the link is cut: %v", err)
			}
			if done := r.How == ""; way.madeWithoutOther && !done {
				t.Errorf("it was not done: %+v", r)
			}
			if err := f.net.Mend(); err != nil {
				t.Fatal(err)
			}
			if r := synced(t, store, v); r.How != "" || r.Rows == 0 {
				t.Errorf("after it: %+v", r)
			}
		})
	}
}

// TestInterrupted has a publisher that waits for the answer to COMMIT over a link that is cut, and is interrupted: it does not wait until it has given up the server.
func TestInterrupted(t *testing.T) {
	f := newFar(t)
	root, store := viewtest.NewRoot(t)
	viewtest.Fold(t, root, `{"run_id":"r","stage":"T"}`)
	v := f.open(t, "&tcp_user_timeout=3600000", atCommit(func() {
		if err := f.net.Cut(false, true); err != nil {
			t.Error(err)
		}
	}))
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := view.Sync(ctx, store, v, view.Options{})
		done <- err
	}()
	near := openAt(t, f.server)
	for held := (view.State{}); held.Rows == 0; {
		var err error
		if held, err = near.State(t.Context(), store.Settings.RootID); err != nil {
			t.Fatal(err)
		}
	}
	interrupt()
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, view.ErrAway) {
		t.Errorf("interrupted: %v", err)
	}
	synced(t, store, near)
}

// cuts is what is shared by publishers whose link is cut at random.
type cuts struct {
	chaos
	far far

	mu      sync.Mutex
	changed sync.Cond
	after   int  // cut before that many more calls
	commit  bool // or before the next COMMIT of a change
	there   bool
	back    bool
	armed   bool
	away    [4]int // of each publisher, how often it was told so
	done    [4]int // and how often it was not
	failed  bool
}

// TestPartition has four publishers behind a link that is cut while the root is folded: for a moment, or until each publisher has given up and the server has
// ended their transactions. Whenever somebody looks past the link, the view is the generation that it states. No publisher hangs, and each one goes on.
func TestPartition(t *testing.T) {
	long := 2
	switch {
	case *cutMany > 0:
		long = *cutMany
	case testing.Short(), underRace:
		long = 1
	}
	const shortOnes = 5 // for each long one
	seed := *cutSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-cut-seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 14))
	f := newFar(t)
	c := &cuts{chaos: chaos{server: f.server}, far: f}
	c.changed.L = &c.mu
	c.root, c.store = viewtest.NewRoot(t)
	c.limit(t)
	var all sync.WaitGroup
	end := func() {
		c.over.Store(true)
		all.Wait()
	}
	defer end()
	defer f.net.Mend() // before it
	for n := range c.done {
		all.Go(func() { c.publish(t, n) })
	}
	all.Go(func() { c.look(t) })
	atCommits, folds, short, given := 0, 0, 0, 0
	for i := range long * (1 + shortOnes) {
		if c.enough.Err() != nil {
			break
		}
		isLong := i%(1+shortOnes) == 0
		if c.arm(rnd) {
			atCommits++
		}
		c.change(t, folds)
		folds++
		c.until(func() bool { return !c.armed })
		if !isLong {
			short++
		} else {
			given++
			c.change(t, folds) // a fold needs no view
			folds++
			c.until(func() bool { return c.away[0] > 0 && c.away[1] > 0 && c.away[2] > 0 && c.away[3] > 0 })
			c.ended(t)
		}
		if err := f.net.Mend(); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		c.done = [4]int{}
		c.mu.Unlock()
		// Of two syncs that end after it, the second one began after it.
		if !c.until(func() bool { return c.done[0] > 1 && c.done[1] > 1 && c.done[2] > 1 && c.done[3] > 1 }) {
			t.Fatalf("-cut-seed %d: cut %d", seed, i)
		}
	}
	end()
	done, err := view.Check(t.Context(), c.store, openAt(t, f.server))
	if err != nil || !done.Same || done.Generation != done.Newest {
		t.Errorf("-cut-seed %d: at the end: %+v, %v", seed, done, err)
	}
	t.Logf("figure: 4 publishers of a PostgreSQL view behind a link that is cut at random, %d times for a moment and %d times until all have given up, %d of them between COMMIT and its answer: %d syncs, %d of them failed and %d changed the view; %d folds, %d rows, %d looks at the whole view: 0 wrong rows",
		short, given, atCommits, c.syncs.Load(), c.chaos.failed.Load(), c.chaos.changed.Load(), folds, done.Rows, c.looks.Load())
}

// arm chooses when the link is cut next, and which way. It tells whether that is between COMMIT and its answer.
func (c *cuts) arm(rnd *rand.Rand) (commit bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed, c.away = true, [4]int{}
	c.after, c.commit = 1+rnd.IntN(150), rnd.IntN(3) == 0
	switch c.there, c.back = true, true; {
	case c.commit: // it arrives
		c.there = false
	case rnd.IntN(3) == 0:
		c.back = false
	}
	return c.commit
}

// step is before and after each call of each publisher, and cuts the link if it is time.
func (c *cuts) step(isCommit bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.armed {
		return nil
	}
	if c.after--; c.commit && !isCommit || !c.commit && c.after > 0 {
		return nil
	}
	c.armed = false
	c.changed.Broadcast()
	return c.far.net.Cut(c.there, c.back)
}

// until waits for the publishers. It returns false if one has failed.
func (c *cuts) until(is func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !is() && !c.failed {
		c.changed.Wait()
	}
	return !c.failed
}

// ended waits until the server has ended the transactions of all who are gone.
func (c *cuts) ended(t *testing.T) {
	conn := c.connect(t, "public")
	defer conn.Close(context.Background())
	for left := 1; left > 0; {
		err := conn.QueryRow(c.ctx, `SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL AND xact_start IS NOT NULL`).Scan(&left)
		if err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

// publish syncs until the end. A sync that fails says that the server does not answer, or that somebody else is at work.
func (c *cuts) publish(t *testing.T, n int) {
	commit := atCommit(func() {
		if err := c.step(true); err != nil {
			t.Error(err)
		}
	})
	v, store := c.far.open(t, "&connect_timeout=3", func(call string) error {
		if err := commit(call); err != nil {
			return err
		}
		return c.step(false)
	}), c.open(t)
	for !c.over.Load() {
		c.syncs.Add(1)
		r, err := view.Sync(c.ctx, store, v, view.Options{})
		c.mu.Lock()
		switch {
		case c.ctx.Err() != nil:
			c.failed = true
		case errors.Is(err, view.ErrAway):
			c.away[n]++
		case err == nil:
			c.done[n]++
		case !errors.Is(err, view.ErrBusy):
			c.failed = true
			t.Errorf("a sync: %v, want ErrAway or ErrBusy", err)
		}
		if err != nil {
			c.chaos.failed.Add(1)
		} else if r.How != "" {
			c.chaos.changed.Add(1)
		}
		stop := c.failed
		c.changed.Broadcast()
		c.mu.Unlock()
		if stop {
			return
		}
	}
}
