package lock

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// lease is a lock that is held, and renewed until Unlock.
//
// It is taken for lost by our own clock, a time to live after the *sending* of the last request that renewed it: the service's time began later, so it gives the lock to
// nobody before. A process that was stopped finds so by the clock as soon as it looks, before it has asked anybody.
type lease struct {
	of    *Leases
	claim Claim
	fence int64

	ctx    context.Context // of the requests that renew; ends with Unlock
	cancel context.CancelFunc
	done   chan struct{} // closed when nobody renews any more
	lost   chan struct{}

	mu     sync.Mutex // guards until, cause and isLost
	until  time.Time
	cause  error // why it was lost, or what the last try to renew it said
	isLost bool

	unlock func() error
}

// keep begins to renew a lease that a request has taken that was sent at asked.
func keep(of *Leases, claim Claim, fence int64, asked time.Time) *lease {
	l := &lease{of: of, claim: claim, fence: fence, until: asked.Add(of.Lease()), done: make(chan struct{}), lost: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.unlock = sync.OnceValue(l.release)
	go l.renew()
	return l
}

// Provider is the kind of service.
func (l *lease) Provider() string { return l.of.Kind }

// Fence is the number that the service gave with the lease.
func (l *lease) Fence() int64 { return l.fence }

// Lost is closed once the lease has ended by our clock, or the service says that it is not ours.
func (l *lease) Lost() <-chan struct{} {
	l.expire()
	return l.lost
}

// Cause is why the lease was lost.
func (l *lease) Cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// Unlock ends the renewing and gives the lease back, also one that was lost: the service compares whose it is.
func (l *lease) Unlock() error { return l.unlock() }

func (l *lease) release() error {
	l.cancel()
	<-l.done // a claim is used by one goroutine at a time
	ctx, cancel := context.WithTimeout(context.Background(), askFor)
	defer cancel()
	if err := l.of.wrap(context.Background(), l.claim.Release(ctx)); err != nil {
		return fmt.Errorf("give back the lock, which ends by itself within %v: %w", l.of.Lease(), err)
	}
	return nil
}

// renew asks three times within a time to live, and more often where the service is away.
func (l *lease) renew() {
	defer close(l.done)
	wait := l.of.Lease() / 3
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = l.of.Lease() / 3
		if l.expire() {
			return
		}
		switch ours, err := l.ask(); {
		case err != nil:
			wait = l.of.Lease() / 12
			l.note(err)
		case !ours:
			l.lose(fmt.Errorf("%v does not know it any more: another took it, or the service lost its data", l.of))
			return
		}
	}
}

// ask renews the lease. It ends with Unlock.
func (l *lease) ask() (ours bool, err error) {
	sent := time.Now()
	ctx, cancel := context.WithTimeout(l.ctx, min(askFor, l.of.Lease()/3))
	defer cancel()
	ours, err = l.claim.Renew(ctx)
	if err == nil && ours {
		l.mu.Lock()
		l.until, l.cause = sent.Add(l.of.Lease()), nil
		l.mu.Unlock()
	}
	return ours, err
}

// note remembers why it could not be renewed.
func (l *lease) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isLost {
		l.cause = fmt.Errorf("%v: %w", l.of, err)
	}
}

// expire tells whether the lease is lost, which it is if its time is over.
func (l *lease) expire() bool {
	l.mu.Lock()
	over := time.Until(l.until) <= 0
	cause, isLost := l.cause, l.isLost
	l.mu.Unlock()
	switch {
	case isLost:
		return true
	case over && cause != nil:
		l.lose(fmt.Errorf("it could not be renewed for %v: %w", l.of.Lease(), cause))
	case over:
		l.lose(fmt.Errorf("this process, or its machine, stood still for longer than the lease of %v", l.of.Lease()))
	}
	return over
}

func (l *lease) lose(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isLost {
		l.isLost, l.cause = true, cause
		close(l.lost)
	}
}
