package compactor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/runfold/runfold/internal/durable"
)

// ErrLocked reports that another compactor holds the lock. The message names that compactor.
var ErrLocked = errors.New("another compactor is at work")

// Locker keeps compactors from doing the same work twice. It is courtesy: a Locker that always succeeds
// costs wasted folds and never a record, because the commit is put-if-absent (docs/durability.md, R10).
type Locker interface {
	// Lock returns when the caller holds the lock, with the function that releases it. It fails with
	// ErrLocked if another compactor holds the lock, and with ctx's error if ctx ends first.
	Lock(ctx context.Context) (unlock func() error, err error)
}

// FileLock is a Locker over a lock file that all compactors of a root share.
type FileLock struct {
	// Path is the lock file. It is made if absent and never deleted.
	Path string
	// Perm is the mode of the file when it is made. If zero, 0666 less the umask.
	Perm fs.FileMode
	// Wait is how long to wait for another holder. If zero, Lock does not wait.
	Wait time.Duration
	// Notify is called with LockUnsupported. If nil, it is dropped.
	Notify func(Notice)
}

const (
	firstDelay = 10 * time.Millisecond
	maxDelay   = 250 * time.Millisecond
)

// Lock takes the lock file. It tries again with growing, jittered delays until Wait is over. Where no lock is to be had, it tells
// LockUnsupported and succeeds. It never
// blocks in the kernel, because a network file system without a lock manager may hang there, and such a process cannot even be
// killed.
func (l FileLock) Lock(ctx context.Context) (func() error, error) {
	perm := l.Perm
	if perm == 0 {
		perm = 0o666
	}
	deadline := time.Now().Add(l.Wait)
	asked := false
	for delay := firstDelay; ; delay = min(2*delay, maxDelay) {
		lock, err := durable.TryLock(l.Path, holder(), perm)
		switch {
		case err == nil:
			return lock.Unlock, nil
		case errors.Is(err, durable.ErrNoLock):
			// Whatever the reason is, the fold goes on: the lock only saves work, and the commit decides (R10).
			notify(l.Notify, LockUnsupported{l.Path, err})
			return func() error { return nil }, nil
		case !errors.Is(err, durable.ErrLocked):
			return nil, fmt.Errorf("lock: %w", err)
		case !asked && durable.LocksRefused(l.Path):
			notify(l.Notify, LockUnsupported{l.Path, fmt.Errorf("%w: %s: every lock is refused", durable.ErrNoLock, l.Path)})
			return func() error { return nil }, nil
		case time.Until(deadline) <= 0:
			return nil, fmt.Errorf("%w: %s is held by %s", ErrLocked, l.Path, heldBy(l.Path))
		}
		asked = true
		jittered := delay/2 + rand.N(delay)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", l.Path, ctx.Err())
		case <-time.After(min(jittered, max(time.Until(deadline), time.Millisecond))):
		}
	}
}

// holder is what we write into a lock file for others to read.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return "host " + host + "\npid " + strconv.Itoa(os.Getpid()) +
		"\nstarted " + time.Now().UTC().Format(time.RFC3339) + "\n"
}

// heldBy is the text of the lock file on one line.
func heldBy(path string) string {
	body := durable.LockHolder(path)
	if body == "" {
		return "an unknown process"
	}
	return oneLine(body)
}

func oneLine(body string) string { return strings.ReplaceAll(strings.TrimSpace(body), "\n", ", ") }

func notify(to func(Notice), n Notice) {
	if to != nil {
		to(n)
	}
}
