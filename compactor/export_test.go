package compactor

import (
	"flag"

	"github.com/runfold/runfold/compactor/generation"
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
