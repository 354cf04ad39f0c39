// Package file has the lock file of a root: the lock of compactors where nobody says otherwise.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/durable"
)

// Provider makes the locks of lock files: that of lock.Options.Path.
type Provider struct{}

// Locker is a Lock on the lock file.
func (Provider) Locker(o lock.Options) lock.Locker {
	return Lock{Path: o.Path, Perm: o.Perm, Wait: o.Wait, Program: o.Program, Notify: o.Notify}
}

// Holder is what the files of the lock say.
func (Provider) Holder(_ context.Context, o lock.Options) (string, error) {
	return Lock{Path: o.Path}.Holder(), nil
}

// Lease is after how long a holder is passed over that does not count. On one machine, and on most network file systems, the lock of one that
// was killed is free at once.
func (Provider) Lease() time.Duration { return standstill }

// String is "file".
func (Provider) String() string { return kind }

// Close does nothing.
func (Provider) Close() error { return nil }

const kind = "file"

// Lock is a lock.Locker over a lock file that all compactors of a root share.
//
// A lock may stay with a holder that is gone, as on NFS 3 that of a machine that died. So a holder counts in a file beside the lock
// file, for as long as it lives. If an observer has seen the count stand still for ten minutes, also over several calls and processes,
// it passes the holder over, tells PassedOver, and takes the lock of a successor file, which is the lock from then on. The holder may
// come back at any time: the commit decides, as it does without any lock.
type Lock struct {
	// Path is the lock file. It is made if absent and never deleted. Its successors are Path.2, Path.3 and so on.
	Path string
	// Perm is the mode of the file when it is made. If zero, 0666 less the umask.
	Perm fs.FileMode
	// Wait is how long to wait for another holder. If zero, Lock does not wait.
	Wait time.Duration
	// Program is the name and version that others are told of the holder. If empty, "runfold" and our version.
	Program string
	// Notify is called with lock.Unsupported and PassedOver. If nil, they are dropped.
	Notify func(fmt.Stringer)
	// FS is for what observers note. It is for the tests of this module: leave it nil.
	FS durable.FS
	// Clock is that of observers. If zero, that of this machine.
	Clock Clock
}

const (
	firstDelay = 10 * time.Millisecond
	maxDelay   = 250 * time.Millisecond

	// countEvery is how often a holder counts. Even if others see each file 60 s late, ten minutes have several counts.
	countEvery = 30 * time.Second
)

// Lock takes the lock file. It tries again with growing, jittered delays until Wait is over. Where no lock is to be had, it tells
// lock.Unsupported and succeeds. It never blocks in the kernel, because a network file system without a lock manager may hang there,
// and such a process cannot even be killed. The function that releases the lock also ends the goroutine that counts.
func (l Lock) Lock(ctx context.Context) (lock.Held, error) {
	l = l.withDefaults()
	deadline := time.Now().Add(l.Wait)
	path := durable.LastLock(l.FS, l.Path)
	seen := observer{fs: l.FS, clock: l.Clock, perm: l.Perm}
	asked, told := false, l.Wait == 0
	for delay := firstDelay; ; delay = min(2*delay, maxDelay) {
		words := lock.Words(l.Program)
		taken, err := durable.TryLock(path, words, l.Perm)
		switch {
		case err == nil:
			return l.keep(taken, path, words), nil
		case errors.Is(err, durable.ErrNoLock):
			// Whatever the reason is, the fold goes on: the lock only saves work, and the commit decides (R10).
			l.goOnWithout(err)
			return lock.Without{}, nil
		case !errors.Is(err, durable.ErrLocked):
			return nil, fmt.Errorf("lock: %w", err)
		case !asked && durable.LocksRefused(path):
			l.goOnWithout(fmt.Errorf("%w: %s: every lock is refused", durable.ErrNoLock, path))
			return lock.Without{}, nil
		}
		asked = true
		if still := seen.stoodStill(path); still >= standstill {
			next, ok := durable.NextLock(l.Path, path)
			if !ok {
				l.goOnWithout(fmt.Errorf("%w: %s has stood still, and is the last successor", durable.ErrNoLock, path))
				return lock.Without{}, nil
			}
			l.tell(PassedOver{path, heldBy(path), still, next})
			path = next // nobody but those who pass over holds it
			continue
		}
		if time.Until(deadline) <= 0 {
			return nil, fmt.Errorf("%w: %s is held by %s", lock.ErrLocked, path, heldBy(path))
		}
		if !told {
			told = true
			l.tell(lock.Waiting{For: l.Wait, Err: fmt.Errorf("%w: %s is held by %s", lock.ErrLocked, path, heldBy(path))})
		}
		jittered := delay/2 + rand.N(delay)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", path, ctx.Err())
		case <-time.After(min(jittered, max(time.Until(deadline), time.Millisecond))):
		}
	}
}

func (l Lock) withDefaults() Lock {
	if l.Perm == 0 {
		l.Perm = 0o666
	}
	if l.FS == nil {
		l.FS = durable.OS
	}
	if l.Clock.ID == "" {
		l.Clock = thisClock()
	}
	return l
}

// goOnWithout tells that there is no lock.
func (l Lock) goOnWithout(why error) { l.tell(lock.Unsupported{Where: l.Path, Err: why}) }

// held is a lock file that is locked. It is not lost: nobody is passed over who counts, and of one who does not the commit decides.
// It has no fence.
type held struct {
	lock.Without
	unlock func() error
}

// Provider is "file".
func (held) Provider() string { return kind }

// Unlock ends the goroutine that counts, and the lock.
func (h held) Unlock() error { return h.unlock() }

// keep says who holds the lock and counts until it is unlocked, also while the caller copies a large file, or waits for a disk.
func (l Lock) keep(taken *durable.Lock, path, words string) lock.Held {
	h, err := durable.SayHolder(path, words, l.Perm)
	if err != nil { // others cannot see that we live; after ten minutes they pass us over, which costs only work
		return held{unlock: taken.Unlock}
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
	return held{unlock: sync.OnceValue(func() error {
		close(stop)
		<-done    // a late count would go into the words of the next holder
		h.Close() // an error is dropped: the text is for people, and the next holder writes its own
		return taken.Unlock()
	})}
}

// Holder says on one line who holds the lock, or who held it last and was killed. It is empty if nobody does, or nobody knows.
func (l Lock) Holder() string {
	words, _ := durable.WhoHolds(durable.LastLock(l.withDefaults().FS, l.Path))
	return lock.OneLine(words)
}

// IsHeld tells whether somebody holds the lock, as far as locks work here. It takes the lock for a moment.
func (l Lock) IsHeld() bool {
	free, err := durable.LockIsFree(durable.LastLock(l.withDefaults().FS, l.Path))
	return err == nil && !free
}

// heldBy is the holder of one lock file, on one line.
func heldBy(path string) string {
	words, _ := durable.WhoHolds(path)
	if words == "" {
		return "an unknown process"
	}
	return lock.OneLine(words)
}

func (l Lock) tell(n fmt.Stringer) {
	if l.Notify != nil {
		l.Notify(n)
	}
}

// PassedOver tells that the holder of the lock has not counted for so long that it is taken for gone, and that this run and those
// after it take the successor of the lock.
type PassedOver struct {
	Path   string
	Holder string
	Still  time.Duration
	Next   string
}

func (n PassedOver) String() string {
	return fmt.Sprintf("%s is held by %s, which has shown no sign of life for %v: it is passed over, and %s is the lock from now on; "+
		"if it comes back, the commit decides", n.Path, n.Holder, n.Still.Round(time.Second), n.Next)
}
