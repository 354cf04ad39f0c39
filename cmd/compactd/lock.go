package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/etcd"
	"github.com/runfold/runfold/compactor/lock/file"
	pglock "github.com/runfold/runfold/compactor/lock/postgres"
	"github.com/runfold/runfold/compactor/lock/redis"
)

// lockVar is the environment variable that stands for --lock.
const lockVar = "RUNFOLD_LOCK"

const lockHelp = "which lock keeps compactors from doing the same work: file, none, or the `URL` of a service, see compactd doctor (default $" + lockVar + ", or file)"

// How many turns in a row must find the service of the lock away until an optional lock is done without.
const (
	missedOnce   = 1
	missedDaemon = 3
)

// lockFlags say which lock is taken.
type lockFlags struct {
	url      lockURL // empty: see lockVar
	optional bool
}

// lockURL is the URL of a lock. One that is given and empty was meant: an unset variable must not mean another lock.
type lockURL string

// Set reads what stands behind the flag.
func (u *lockURL) Set(text string) error {
	if text == "" {
		return errors.New("is empty: " + giveLock)
	}
	*u = lockURL(text)
	return nil
}

func (u *lockURL) String() string { return string(*u) }

// Type is what the help calls the value.
func (*lockURL) Type() string { return "URL" }

// wanted is the URL that the flags or the environment name.
func (f lockFlags) wanted() string {
	if f.url != "" {
		return string(f.url)
	}
	return os.Getenv(lockVar)
}

// open opens the lock and asks nothing of a service. missed is how many turns an optional lock may miss.
func (f lockFlags) open(missed int) (lock.Provider, error) {
	p, err := openLock(f.wanted())
	if err != nil || !f.optional {
		return p, err
	}
	return lock.NewOptional(p, missed), nil
}

// late is the lock of a command: opened when it is needed. What only reads needs none, and must not fail because of how one is named.
func (f lockFlags) late() lock.Provider {
	if f.wanted() == "" {
		return nil // the lock file, or what the root says of another lock
	}
	return &lateLock{open: sync.OnceValues(func() (lock.Provider, error) { return f.open(missedOnce) })}
}

// lateLock is that provider.
type lateLock struct {
	open func() (lock.Provider, error)
}

// Locker opens the lock in Lock.
func (l *lateLock) Locker(o lock.Options) lock.Locker { return lateLocker{l, o} }

type lateLocker struct {
	of   *lateLock
	opts lock.Options
}

// Lock opens the lock and takes it.
func (l lateLocker) Lock(ctx context.Context) (lock.Held, error) {
	p, err := l.of.open()
	if err != nil {
		return nil, err
	}
	return p.Locker(l.opts).Lock(ctx)
}

// Holder opens the lock and asks it.
func (l *lateLock) Holder(ctx context.Context, o lock.Options) (string, error) {
	p, err := l.open()
	if err != nil {
		return "", err
	}
	return p.Holder(ctx, o)
}

// Lease is that of the lock.
func (l *lateLock) Lease() time.Duration {
	p, err := l.open()
	if err != nil {
		return 0
	}
	return p.Lease()
}

func (l *lateLock) String() string {
	p, err := l.open()
	if err != nil {
		return "a lock that cannot be opened"
	}
	return p.String()
}

// Close does nothing: the command ends.
func (*lateLock) Close() error { return nil }

const giveLock = "give file, none, etcd://HOST:2379, redis://HOST:6379 (rediss:// for TLS), or postgres://USER@HOST/DATABASE?schema=NAME"

// openLock opens the lock of a URL.
func openLock(url string) (p lock.Provider, err error) {
	kind, rest, isURL := strings.Cut(url, "://")
	kind = strings.ToLower(kind)
	if isURL {
		url = kind + "://" + rest
	}
	switch {
	case !isURL && (kind == "" || kind == "file"):
		return file.Provider{}, nil
	case !isURL && kind == "none":
		return lock.None{}, nil
	case !isURL: // it is not shown: it may have a password in it
		return nil, usageError{errors.New("lock: that is no lock: " + giveLock)}
	}
	switch kind {
	case "etcd":
		p, err = leases(etcd.Open(url))
	case "redis", "rediss":
		p, err = leases(redis.Open(url))
	case "postgres", "postgresql":
		p, err = leases(pglock.Open(url))
	case "file", "none":
		err = fmt.Errorf("%s has no address: %s", kind, giveLock)
	default:
		if strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz") != "" {
			kind = "that it names" // it may have a password in it
		}
		err = fmt.Errorf("there is no lock of the kind %s: %s", kind, giveLock)
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("lock: %w", err)}
	}
	return p, nil
}

// leases is what a service opened: never a nil pointer in an interface.
func leases(l *lock.Leases, err error) (lock.Provider, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}

// standBy bounds how long a daemon waits after a turn that found the lock held, where its next turn is later.
const standBy = lock.DefaultLease / 2

// turn is one run of a plan. Where another compactor holds the lock, or got it while we were at work, it stands by and tries again, twice in a lease and until the next turn
// is due: should the other be killed, this one takes over within two leases, whatever the schedule is.
func (d *daemon) turn(ctx context.Context, p plan) error {
	wait, due := min(p.cfg.Locks.Lease()/2, standBy), p.schedule.Next(time.Now())
	for told := false; ; told = true {
		err := d.fold(ctx, p.cfg)
		if told && err == nil {
			d.log.Info("the lock was free: this daemon has folded")
		}
		if !errors.Is(err, compactor.ErrLocked) && !errors.Is(err, compactor.ErrLockLost) {
			return err
		}
		if !told {
			d.log.Warn("fold left out", zap.Error(err))
		}
		if wait <= 0 || time.Until(due) <= wait {
			return nil
		}
		d.log.Debug("standing by", zap.Error(err), zap.Duration("for", wait))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}
