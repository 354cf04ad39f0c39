package compactor

import (
	"context"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/file"
	"github.com/runfold/runfold/internal/durable"
)

// Locker keeps compactors from doing the same work twice: see package lock.
type Locker = lock.Locker

// ErrLocked reports that another compactor holds the lock. The message names that compactor.
var ErrLocked = lock.ErrLocked

// ErrLockLost reports that the lock was lost before a commit, which was then left out: another compactor may be at work. Nothing is wrong, and
// what was committed before stays.
var ErrLockLost = lock.ErrLost

// Locker is c.Lock, or if that is nil the lock that every fold of a root with these settings takes.
func (c Config) Locker(settings cohort.Settings) Locker {
	l := c.Lock
	if l == nil {
		l = c.provider().Locker(c.lockOptions(settings))
	}
	return speaking{l, c, settings}
}

// Holder says on one line who holds that lock, or who held it last and was killed. It is empty if nobody does. Where the lock is not the lock file and c has no
// provider, it is what the root has of it.
func (c Config) Holder(ctx context.Context, settings cohort.Settings) (string, error) {
	words, err := c.provider().Holder(ctx, c.lockOptions(settings))
	if words == "" && c.Locks == nil {
		words = leaseHolder(c.Root)
	}
	return words, err
}

// leaseHolder is who holds another lock than the lock file, as far as the root says.
func leaseHolder(root cohort.Root) string {
	words, _ := durable.WhoHolds(root.CompactLease())
	return lock.OneLine(words)
}

// IsBusy tells whether a compactor seems to be at work in a root: it holds the lock file, or it said within the last ten minutes, by this
// machine's clock, that it holds another lock. A compactor that was killed says so for as long.
func IsBusy(root cohort.Root, now time.Time) bool {
	if (file.Lock{Path: root.CompactLock()}).IsHeld() {
		return true
	}
	if leaseHolder(root) == "" {
		return false
	}
	since, err := durable.SaidAt(root.CompactLease())
	return err == nil && now.Sub(since).Abs() < generation.OldestView
}

func (c Config) provider() lock.Provider {
	if c.Locks == nil {
		return file.Provider{}
	}
	return c.Locks
}

func (c Config) lockOptions(settings cohort.Settings) lock.Options {
	return lock.Options{
		RootID: settings.RootID, Path: c.Root.CompactLock(), Perm: settings.FileMode.FS(), Wait: c.Wait, Program: c.Program,
		Notify: c.Notify,
	}
}

// speaking is a Locker of which the root says who holds it, whatever the lock is. That is for people, and it makes the storage tell its time, as
// a lock file does that is written: what waits for a time to pass would wait for ever in a root in which nothing else is written.
type speaking struct {
	Locker
	cfg      Config
	settings cohort.Settings
}

// Lock takes the lock, and says so. A lock file says so itself.
func (s speaking) Lock(ctx context.Context) (lock.Held, error) {
	h, err := s.Locker.Lock(ctx)
	if err != nil || h.Provider() == (file.Provider{}).String() {
		return h, err
	}
	words := lock.Words(s.cfg.Program) + "lock " + lockOf(h).String() + "\n"
	said, err := durable.SayHolder(s.cfg.Root.CompactLease(), words, s.settings.FileMode.FS())
	if err != nil {
		return h, nil // it is courtesy
	}
	return spoken{h, said}, nil
}

// spoken is a lock of which the root says who holds it.
type spoken struct {
	lock.Held
	said *durable.Holder
}

// Unlock ends that, and gives the lock back.
func (s spoken) Unlock() error {
	s.said.Close() // an error is dropped: the next holder writes over it
	return s.Held.Unlock()
}

// lockOf is what a manifest says of a lock.
func lockOf(h lock.Held) *generation.Lock {
	return &generation.Lock{Provider: strings.ToValidUTF8(h.Provider(), "?"), Fence: h.Fence()}
}

// Take takes the lock of c for work on a store. Until release, what the store commits says by which lock, and is left out if that is lost. Where release fails, the lease ends
// by itself, and the work is no worse for it.
func (c Config) Take(ctx context.Context, store *generation.Store) (h lock.Held, release func(), err error) {
	if h, err = c.Locker(store.Settings).Lock(ctx); err != nil {
		return nil, nil, err
	}
	store.Lock, store.MayCommit = lockOf(h), func() error { return lock.Check(h) }
	return h, func() {
		if err := h.Unlock(); err != nil {
			notify(c.Notify, LockLeft{err})
		}
	}, nil
}

// lock takes the lock of a run.
func (r *run) lock(ctx context.Context) (release func(), err error) {
	_, release, err = r.Take(ctx, r.store)
	r.report.Lock = r.store.Lock
	return release, err
}

func notify(to func(Notice), n Notice) {
	if to != nil {
		to(n)
	}
}
