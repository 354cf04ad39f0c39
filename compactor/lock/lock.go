// Package lock says what a lock of compactors is, and makes locks of leases.
//
// A lock saves work, and nothing is correct because of it: of two compactors that fold at once, the put-if-absent of a manifest lets one win
// (docs/durability.md, R10). So any lock will do, also one that is lost, that is given to two, or that is not there. docs/locks.md says
// which one is for whom.
//
// # Providers
//
// Package lock/file has the lock file of a root, which is the default. Packages lock/etcd, lock/redis and lock/postgres have a lease in a
// service: each is a [Service], of which [Leases] makes a [Provider]. [None] is a provider without a lock, and [Optional] goes on without
// a service that is away. Package lock/locktest has what each of them must pass.
//
// # Backwards compatibility
//
// The names of locks in services, and what stands in them, are a format: docs/format/leases.md.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

var (
	// ErrLocked reports that another compactor holds the lock. The message names that compactor.
	ErrLocked = errors.New("another compactor is at work")
	// ErrLost reports that a lock was lost while its holder was at work.
	ErrLost = errors.New("the lock was lost, and another compactor may be at work")
	// ErrAway reports that a service of locks does not answer. The message names it.
	ErrAway = errors.New("the service of the lock does not answer")
	// ErrRefused reports that a service of locks refuses what we ask for, as it will again: a wrong password, or a right that is missing.
	ErrRefused = errors.New("the service of the lock refuses this")
	// ErrPassword reports a URL of a service with a password in it, which other users of the machine see. The message says where else it may stand.
	ErrPassword = errors.New("a password in the URL of a lock is seen by others")
)

// Locker keeps compactors from doing the same work twice. It is courtesy: a Locker that always succeeds
// costs wasted folds and never a record, because the commit is put-if-absent (docs/durability.md, R10).
type Locker interface {
	// Lock returns when the caller holds the lock. It fails with ErrLocked if another compactor holds it, with ErrAway or ErrRefused if
	// nobody can say that, and with ctx's error if ctx ends first.
	Lock(ctx context.Context) (Held, error)
}

// Held is a lock that the caller holds, until Unlock. Its methods may be called by any number of goroutines at once.
type Held interface {
	// Provider is the kind of lock, such as "file" or "etcd", and "none" where no lock was to be had.
	Provider() string
	// Fence is a number that a service gave with the lock, higher for each later holder as long as the service keeps its data; 0 if there is none. It is information:
	// nothing compares it.
	Fence() int64
	// Lost is closed once another compactor may hold the lock as well. Without an end it is never closed, and may be nil.
	Lost() <-chan struct{}
	// Cause is why it was lost, once it is. It may be nil.
	Cause() error
	// Unlock gives the lock back. An error means that it stays until its lease ends. A second call does nothing, and returns the same.
	Unlock() error
}

// Check is nil while h is held. Once it is lost, the error matches ErrLost and says why.
func Check(h Held) error {
	select {
	case <-h.Lost():
	default:
		return nil
	}
	if cause := h.Cause(); cause != nil {
		return fmt.Errorf("%w: %w", ErrLost, cause)
	}
	return ErrLost
}

// Provider makes the locks of roots. Any number of goroutines may use it.
type Provider interface {
	// Locker is the lock of one root.
	Locker(Options) Locker
	// Holder says on one line who holds the lock of a root, or who held it last and was killed. It is empty if nobody does.
	Holder(context.Context, Options) (string, error)
	// Lease is how long a lock stays at most when its holder was killed.
	Lease() time.Duration
	// String names the provider, without anything that is secret.
	String() string
	// Close ends what the provider holds open. It gives no lock back.
	Close() error
}

// Options say which root is meant, and how its lock is taken.
type Options struct {
	// RootID is the id of the root. A service names the lock by it.
	RootID string
	// Path is the lock file of the root. Only the file lock uses it.
	Path string
	// Perm is the mode of that file. If zero, 0666 less the umask.
	Perm fs.FileMode
	// Wait is how long to wait for another holder, or for a service that is away. If zero, Lock does not wait.
	Wait time.Duration
	// Hasty is set by one who goes on without a service that is away: then Lock waits for another holder only.
	Hasty bool
	// Program is the name and version that others are told of the holder. If empty, "runfold" and our version.
	Program string
	// Notify is called with what somebody should hear of, in the goroutine that calls Lock. If nil, that is dropped.
	Notify func(fmt.Stringer)
}

// Waiting tells that the lock is waited for.
type Waiting struct {
	For time.Duration // at most
	Err error         // why
}

func (n Waiting) String() string { return fmt.Sprintf("waiting for up to %v: %v", n.For, n.Err) }

// Tell calls Notify, if there is one.
func (o Options) Tell(n fmt.Stringer) {
	if o.Notify != nil {
		o.Notify(n)
	}
}

// Already is the Locker of a lock that is held: it succeeds, and what it gives is given back by nobody but the holder.
func Already(h Held) Locker { return already{h} }

type already struct{ Held }

func (a already) Lock(context.Context) (Held, error) { return a, nil }

func (already) Unlock() error { return nil }
