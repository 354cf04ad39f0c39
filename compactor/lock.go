package compactor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/runfold/runfold/internal/build"
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
//
// A lock may stay with a holder that is gone, as on NFS 3 that of a machine that died. So a holder counts in a file beside the lock
// file, for as long as it lives. If an observer has seen the count stand still for ten minutes, also over several calls and processes,
// it passes the holder over, tells PassedOver, and takes the lock of a successor file, which is the lock from then on. The holder may
// come back at any time: the commit decides, as it does without any lock.
type FileLock struct {
	// Path is the lock file. It is made if absent and never deleted. Its successors are Path.2, Path.3 and so on.
	Path string
	// Perm is the mode of the file when it is made. If zero, 0666 less the umask.
	Perm fs.FileMode
	// Wait is how long to wait for another holder. If zero, Lock does not wait.
	Wait time.Duration
	// Program is the name and version that others are told of the holder. If empty, "runfold" and our version.
	Program string
	// Notify is called with LockUnsupported and PassedOver. If nil, they are dropped.
	Notify func(Notice)

	fs    durable.FS // for what observers note; nil: durable.OS
	clock clock      // of observers; zero: that of this machine
}

const (
	firstDelay = 10 * time.Millisecond
	maxDelay   = 250 * time.Millisecond

	// countEvery is how often a holder counts. Even if others see each file 60 s late, ten minutes have several counts.
	countEvery = 30 * time.Second
)

// Lock takes the lock file. It tries again with growing, jittered delays until Wait is over. Where no lock is to be had, it tells
// LockUnsupported and succeeds. It never blocks in the kernel, because a network file system without a lock manager may hang there,
// and such a process cannot even be killed. The function that releases the lock also ends the goroutine that counts.
func (l FileLock) Lock(ctx context.Context) (func() error, error) {
	l = l.withDefaults()
	deadline := time.Now().Add(l.Wait)
	path := durable.LastLock(l.fs, l.Path)
	seen := observer{fs: l.fs, clock: l.clock, perm: l.Perm}
	asked := false
	for delay := firstDelay; ; delay = min(2*delay, maxDelay) {
		words := l.words()
		lock, err := durable.TryLock(path, words, l.Perm)
		switch {
		case err == nil:
			return l.keep(lock, path, words), nil
		case errors.Is(err, durable.ErrNoLock):
			// Whatever the reason is, the fold goes on: the lock only saves work, and the commit decides (R10).
			return l.without(err), nil
		case !errors.Is(err, durable.ErrLocked):
			return nil, fmt.Errorf("lock: %w", err)
		case !asked && durable.LocksRefused(path):
			return l.without(fmt.Errorf("%w: %s: every lock is refused", durable.ErrNoLock, path)), nil
		}
		asked = true
		if still := seen.stoodStill(path); still >= standstill {
			next, ok := durable.NextLock(l.Path, path)
			if !ok {
				return l.without(fmt.Errorf("%w: %s has stood still, and is the last successor", durable.ErrNoLock, path)), nil
			}
			notify(l.Notify, PassedOver{path, heldBy(path), still, next})
			path = next // nobody but those who pass over holds it
			continue
		}
		if time.Until(deadline) <= 0 {
			return nil, fmt.Errorf("%w: %s is held by %s", ErrLocked, path, heldBy(path))
		}
		jittered := delay/2 + rand.N(delay)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", path, ctx.Err())
		case <-time.After(min(jittered, max(time.Until(deadline), time.Millisecond))):
		}
	}
}

func (l FileLock) withDefaults() FileLock {
	if l.Perm == 0 {
		l.Perm = 0o666
	}
	if l.Program == "" {
		l.Program = "runfold " + build.Version()
	}
	if l.fs == nil {
		l.fs = durable.OS
	}
	if l.clock.id == "" {
		l.clock = thisClock()
	}
	return l
}

// without tells that there is no lock, and is the release of nothing.
func (l FileLock) without(why error) (unlock func() error) {
	notify(l.Notify, LockUnsupported{l.Path, why})
	return func() error { return nil }
}

// keep says who holds the lock and counts until unlock is called, also while the caller copies a large file, or waits for a disk.
func (l FileLock) keep(lock *durable.Lock, path, words string) (unlock func() error) {
	h, err := durable.SayHolder(path, words, l.Perm)
	if err != nil { // others cannot see that we live; after ten minutes they pass us over, which costs only work
		return lock.Unlock
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(countEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				h.Advance() // an error is dropped: the next count may succeed
			}
		}
	}()
	return sync.OnceValue(func() error {
		close(stop)
		<-done    // a late count would go into the words of the next holder
		h.Close() // an error is dropped: the text is for people, and the next holder writes its own
		return lock.Unlock()
	})
}

// Holder says on one line who holds the lock, or who held it last and was killed. It is empty if nobody does, or nobody knows.
func (l FileLock) Holder() string {
	words, _ := durable.WhoHolds(durable.LastLock(l.withDefaults().fs, l.Path))
	return oneLine(words)
}

// IsHeld tells whether somebody holds the lock, as far as locks work here. It takes the lock for a moment.
func (l FileLock) IsHeld() bool {
	free, err := durable.LockIsFree(durable.LastLock(l.withDefaults().fs, l.Path))
	return err == nil && !free
}

// words is what others read of us.
func (l FileLock) words() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	// The name is only asked of the environment: a directory service may be slow, and a lock must not wait for one.
	user := cmp.Or(os.Getenv("USER"), os.Getenv("LOGNAME"), os.Getenv("USERNAME"), "unknown")
	if id := os.Getuid(); id >= 0 { // it is -1 on Windows
		user += " (" + strconv.Itoa(id) + ")"
	}
	text := ""
	for _, line := range [][2]string{
		{"host", host}, {"pid", strconv.Itoa(os.Getpid())}, {"user", user}, {"since", time.Now().UTC().Format(time.RFC3339)}, {"program", l.Program},
	} {
		text += line[0] + " " + strings.Join(strings.Fields(line[1]), " ") + "\n"
	}
	return text
}

// heldBy is the holder of one lock file, on one line.
func heldBy(path string) string {
	words, _ := durable.WhoHolds(path)
	if words == "" {
		return "an unknown process"
	}
	return oneLine(words)
}

func oneLine(body string) string { return strings.ReplaceAll(strings.TrimSpace(body), "\n", ", ") }

func notify(to func(Notice), n Notice) {
	if to != nil {
		to(n)
	}
}
