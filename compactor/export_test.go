package compactor

import (
	"flag"
	"time"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// Seed is that of the random tests.
var Seed = flag.Uint64("seed", 1, "seed of the random tests")

// EmptyReaped is the part of a fold that deletes streams in reaped/ because two generations have their records.
func EmptyReaped(cfg Config, prev, next generation.Manifest) error {
	r, err := open(cfg)
	if err != nil {
		return err
	}
	r.sweeper.empty(prev, next, r.store.Stamp(next))
	return nil
}

// WithClock is l with a clock of its own, whose id is that of a boot of a machine, and with a file system for what observers note.
func (l FileLock) WithClock(id string, now func() time.Duration, fsys durable.FS) FileLock {
	l.clock, l.fs = clock{id, now}, fsys
	return l
}

// ThisClock is the clock of this machine: its id and its reading.
func ThisClock() (id string, now time.Duration) {
	c := thisClock()
	return c.id, c.now()
}
