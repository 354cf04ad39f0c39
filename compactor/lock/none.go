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

// Cause is nil.
func (Without) Cause() error { return nil }

// Unlock does nothing.
func (Without) Unlock() error { return nil }

// Unsupported tells that no lock is to be had: the file system has none, or this process may not open the file. Nothing
// is lost by it: two compactors may do the same work, and the commit lets one of them win.
type Unsupported struct {
	Where string // the lock file
	Err   error
}

func (n Unsupported) String() string {
	return fmt.Sprintf("folding without %s: %v: nothing is lost, the commit decides between two that fold at once", n.Where, n.Err)
}

// Away tells that somebody goes on without a service that does not answer, or refuses. It is told each time.
type Away struct {
	Where string
	Err   error
}

func (n Away) String() string { return Unsupported(n).String() }

// Back tells that a service answers again that was gone on without.
type Back struct{ Where string }

func (n Back) String() string {
	return fmt.Sprintf("%s answers again: the lock is taken from it", n.Where)
}

// Optional goes on without a service that is away, or refuses: the last of After calls of Lock in a row that find it so succeed without a lock, and those
// after it, until it answers again. Lock does not wait for it. All Lockers that come of one Optional count together. Make one with NewOptional.
type Optional struct {
	Provider
	after int

	mu     sync.Mutex // guards missed
	missed int
}

// NewOptional is p, as said above. after must be above zero.
func NewOptional(p Provider, after int) *Optional { return &Optional{Provider: p, after: after} }

// Locker is that of the provider, and succeeds without it as said above.
func (o *Optional) Locker(opts Options) Locker {
	opts.Hasty = true
	return optional{o, o.Provider.Locker(opts), opts}
}

type optional struct {
	of   *Optional
	lock Locker
	opts Options
}

// Lock is that of the provider, or where it is away too often Without, which is told as Away.
func (l optional) Lock(ctx context.Context) (Held, error) {
	h, err := l.lock.Lock(ctx)
	away := errors.Is(err, ErrAway) || errors.Is(err, ErrRefused)
	without, back := l.of.count(away)
	switch {
	case without:
		l.opts.Tell(Away{l.of.String(), err})
		return Without{}, nil
	case back:
		l.opts.Tell(Back{l.of.String()})
	}
	return h, err
}

// count counts one more call. without tells whether the service was away for so many of them that this one goes on without it, back whether it is not
// any more.
func (o *Optional) count(away bool) (without, back bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !away {
		back = o.missed >= o.after
		o.missed = 0
		return false, back
	}
	o.missed++
	return o.missed >= o.after, false
}
