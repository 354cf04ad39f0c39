package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/lock"
)

// taken is a provider whose lock is held so many times, or lost where loses is set.
type taken struct {
	lock.None
	times int
	loses bool
	asked int
}

func (p *taken) Locker(lock.Options) lock.Locker { return p }

func (*taken) Lease() time.Duration { return 20 * time.Second }

func (p *taken) Lock(context.Context) (lock.Held, error) {
	p.asked++
	switch {
	case p.asked > p.times:
		return lock.Without{}, nil
	case p.loses:
		return lostAlready{}, nil
	}
	return nil, fmt.Errorf("%w: somebody has it", lock.ErrLocked)
}

// lostAlready is a lock that was lost.
type lostAlready struct{ lock.Without }

func (lostAlready) Lost() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestStandBy has turns of a daemon that find the lock held, or lose it. The daemon tries again twice in a lease, until its next turn is due.
func TestStandBy(t *testing.T) {
	for name, test := range map[string]struct {
		schedule string
		lock     taken
		asked    int
		waits    time.Duration
		said     int // lines of the log at warn
	}{
		"free":                    {"@every 1h", taken{}, 1, 0, 0},
		"held for thirty seconds": {"@every 1h", taken{times: 3}, 4, 30 * time.Second, 1},
		"lost once":               {"@every 1h", taken{times: 1, loses: true}, 2, 10 * time.Second, 1},
		"the next turn is near":   {"@every 9s", taken{times: 3}, 1, 0, 1},
		"held until next turn":    {"@every 25s", taken{times: 30}, 3, 20 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			root := newRoot(t, "r-1")
			synctest.Test(t, func(t *testing.T) {
				log := &strings.Builder{}
				level := zap.NewAtomicLevelAt(zapcore.WarnLevel)
				l, err := newLogger(log, "json", level)
				if err != nil {
					t.Fatal(err)
				}
				schedule, err := parseSchedule(test.schedule)
				if err != nil {
					t.Fatal(err)
				}
				d := &daemon{log: l, level: level, views: &publishers{}}
				start := time.Now()
				if err := d.turn(t.Context(), plan{schedule: schedule, cfg: compactor.Config{Root: root, Locks: &test.lock}}); err != nil {
					t.Errorf("turn: %v", err)
				}
				if test.lock.asked != test.asked || time.Since(start) != test.waits || strings.Count(log.String(), "fold left out") != test.said {
					t.Errorf("asked %d times within %v, want %d within %v; the log:\n%s", test.lock.asked, time.Since(start), test.asked, test.waits, log)
				}
			})
		})
	}
	root := newRoot(t, "r-1")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := &daemon{log: zap.NewNop(), views: &publishers{}}
		schedule, err := parseSchedule("@every 1h")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(15*time.Second, cancel)
		err = d.turn(ctx, plan{schedule: schedule, cfg: compactor.Config{Root: root, Locks: &taken{times: 1000}}})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a turn whose daemon ends: %v", err)
		}
	})
}
