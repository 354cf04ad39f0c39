package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// None is a provider without a lock: every Lock succeeds.
type None struct{}

// Locker returns one that always succeeds.
func (None) Locker(Options) Locker { return None{} }

// Lock succeeds.
func (None) Lock(context.Context) (Held, error) { return Without{}, nil }

// Holder knows nobody.
func (None) Holder(context.Context, Options) (string, error) { return "", nil }

// Lease is 0: nothing stays.
func (None) Lease() time.Duration { return 0 }

// String is "none".
func (None) String() string { return "none" }

// Close does nothing.
func (None) Close() error { return nil }

// Without is what somebody holds who goes on without a lock.
type Without struct{}

// Provider is "none".
func (Without) Provider() string { return "none" }

// Fence is 0.
func (Without) Fence() int64 { return 0 }

// Lost is nil: there is nothing to lose.
func (Without) Lost() <-chan struct{} { return nil }

// Unlock does nothing.
func (Without) Unlock() error { return nil }

// Unsupported tells that no lock is to be had: the file system has none, this process may not open the file, or a service is away. Nothing
// is lost by it: two compactors may do the same work, and the commit lets one of them win.
type Unsupported struct {
	Where string // the lock file, or the service
	Err   error
}

func (n Unsupported) String() string {
	return fmt.Sprintf("folding without %s: %v: nothing is lost, the commit decides between two that fold at once", n.Where, n.Err)
}

// Optional goes on without a service that is away, or refuses: the last of After calls of Lock in a row that find it so succeed without a lock, and those
// after it, until it answers again. All Lockers that come of one Optional count together. Make one with NewOptional.
type Optional struct {
	Provider
	after int

	mu     sync.Mutex // guards missed
	missed int
}

// NewOptional is p, as said above. after must be above zero.
func NewOptional(p Provider, after int) *Optional { return &Optional{Provider: p, after: after} }

// Locker is that of the provider, and succeeds without it as said above.
func (o *Optional) Locker(opts Options) Locker { return optional{o, o.Provider.Locker(opts), opts} }

type optional struct {
	of   *Optional
	lock Locker
	opts Options
}

// Lock is that of the provider, or where it is away too often Without, which is told as Unsupported.
func (l optional) Lock(ctx context.Context) (Held, error) {
	h, err := l.lock.Lock(ctx)
	away := errors.Is(err, ErrAway) || errors.Is(err, ErrRefused)
	if l.of.count(away) {
		l.opts.Tell(Unsupported{l.of.String(), err})
		return Without{}, nil
	}
	return h, err
}

// count counts one more call, and tells whether the service was away for so many of them that this one goes on without it.
func (o *Optional) count(away bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !away {
		o.missed = 0
		return false
	}
	o.missed++
	return o.missed >= o.after
}
