package lock

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"time"
)

// Service keeps leases: locks that end by themselves unless their holder renews them. Any number of goroutines may use it.
//
// Its methods send one request each, or a few, and end with ctx. An error that matches ErrRefused means that a later try will fail as well,
// because of a password, a right or a setting. Any other error means that nobody knows: the request may have been carried out or not.
type Service interface {
	// Claim begins a claim to the lock of a root. It sends nothing. words are for people.
	Claim(root, token, words string, ttl time.Duration) Claim
	// Holder is the words of the claim that holds the lock of a root; empty if nobody holds it.
	Holder(ctx context.Context, root string) (words string, err error)
	// Close ends the connections.
	Close() error
}

// Clock is a Service that has a wall clock by which its leases end.
type Clock interface {
	// Now is its time.
	Now(ctx context.Context) (time.Time, error)
}

// Claim is one try to hold a lock. One goroutine uses it at a time.
type Claim interface {
	// Take takes the lock for the time to live, if nobody holds it, and returns its fence, above 0. If another claim holds it, fence is 0, and holder is the words
	// of that claim. It may be called again, also after an error: if the service has carried out a request whose answer was lost, the lock is ours, and Take says so.
	Take(ctx context.Context) (fence int64, holder string, err error)
	// Renew makes the lease last for the time to live from now on, if it is still ours, and tells whether it is. It never takes a lock.
	Renew(ctx context.Context) (ours bool, err error)
	// Release ends the lease if it is still ours, and does nothing if not. After it the claim is not used again.
	Release(ctx context.Context) error
}

// DefaultLease is how long a lease lasts that is not renewed, where nobody says it.
const DefaultLease = 30 * time.Second

// MinLease and MaxLease bound it. etcd knows whole seconds, and not less than two.
const (
	MinLease = 2 * time.Second
	MaxLease = time.Hour
)

const (
	firstDelay = 50 * time.Millisecond
	maxDelay   = time.Second

	// askFor bounds one request. A connection may be dead without either end knowing it.
	askFor = 5 * time.Second
)

// Leases is a provider that takes leases of a service.
type Leases struct {
	// Kind is the kind of service: what Held.Provider returns.
	Kind string
	// Where names the service for people, without anything that is secret.
	Where string
	// Service keeps the leases.
	Service Service
	// TTL is how long a lease lasts that is not renewed: from MinLease to MaxLease. If zero, DefaultLease.
	TTL time.Duration
}

// Lease is how long a lock stays when its holder was killed.
func (p *Leases) Lease() time.Duration { return cmp.Or(p.TTL, DefaultLease) }

// String names kind and service.
func (p *Leases) String() string { return p.Kind + " at " + p.Where }

// Close ends the connections.
func (p *Leases) Close() error { return p.Service.Close() }

// Holder asks the service who holds the lock of a root.
func (p *Leases) Holder(ctx context.Context, o Options) (string, error) {
	bound, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	words, err := p.Service.Holder(bound, o.RootID)
	return OneLine(words), p.wrap(ctx, err)
}

// Locker is the lock of one root.
func (p *Leases) Locker(o Options) Locker { return leaseLocker{p, o} }

type leaseLocker struct {
	*Leases
	Options
}

// Lock takes the lease. It tries again with growing, jittered delays until Wait is over, whether another holds the lock or the service is
// away. The lease is renewed until Unlock, by a goroutine that Unlock ends.
func (l leaseLocker) Lock(ctx context.Context) (Held, error) {
	claim := l.Service.Claim(l.RootID, rand.Text(), Words(l.Program), l.Lease())
	deadline := time.Now().Add(l.Wait)
	told := l.Wait == 0
	for delay := firstDelay; ; delay = min(2*delay, maxDelay) {
		asked := time.Now()
		fence, holder, err := l.take(ctx, claim, deadline)
		switch {
		case err == nil && fence > 0:
			return keep(l.Leases, claim, fence, asked), nil
		case err == nil:
			err = fmt.Errorf("%w: the lock of root %s in %v is held by %s", ErrLocked, l.RootID, l.Leases, cmp.Or(OneLine(holder), "an unknown process"))
		}
		if ctx.Err() != nil || errors.Is(err, ErrRefused) || l.Hasty && errors.Is(err, ErrAway) || time.Until(deadline) <= 0 {
			withdraw(claim, err)
			return nil, err
		}
		if !told {
			told = true
			l.Tell(Waiting{l.Wait, err})
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(delay/2+mrand.N(delay), max(time.Until(deadline), time.Millisecond))):
		}
	}
}

// take asks once. One who waits asks no longer than until then, or a second.
func (p *Leases) take(ctx context.Context, claim Claim, until time.Time) (fence int64, holder string, err error) {
	if ctx.Err() != nil {
		return 0, "", fmt.Errorf("wait for the lock in %v: %w", p, context.Cause(ctx))
	}
	most := askFor
	if left := time.Until(until); left > 0 {
		most = min(askFor, max(left, time.Second))
	}
	bound, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	fence, holder, err = claim.Take(bound)
	return fence, holder, p.wrap(ctx, err)
}

// withdraw gives back what a request may have taken whose answer we have not got. Where that fails, the lease ends by itself.
func withdraw(claim Claim, err error) {
	if errors.Is(err, ErrLocked) || errors.Is(err, ErrRefused) {
		return // it is known that nothing was taken
	}
	bound, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	claim.Release(bound) // an error is dropped: that of before says what is wrong
}

// wrap says what failed, and of which service.
func (p *Leases) wrap(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("wait for the lock in %v: %w", p, context.Cause(ctx))
	case errors.Is(err, ErrRefused):
		return fmt.Errorf("lock in %v: %w", p, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %v: no answer in time: %w", ErrAway, p, err)
	}
	return fmt.Errorf("%w: %v: %w", ErrAway, p, err)
}
