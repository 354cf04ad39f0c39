package compactor

import (
	"context"
	"time"

	"github.com/runfold/runfold/compactor/generation"
)

// RetentionChange says how the retention of a root is to change. What is nil stays as it is.
type RetentionChange struct {
	All, Hourly, Daily *time.Duration
	Reserve            *int64
}

// ChangeRetention commits a change of how long generations stay. It returns the newest generation, which is the one before where the
// change changes nothing. No row is written: the next fold sweeps by the new settings. What was swept before does not come back.
//
// It takes the lock of a fold, and like a fold it may be raced by anybody and cut off anywhere. On error nothing has changed,
// or the change is committed.
func ChangeRetention(ctx context.Context, cfg Config, change RetentionChange) (newest generation.Manifest, err error) {
	return changing(ctx, cfg, func(r *run) (generation.Manifest, error) { return r.changeRetention(change) })
}

func (r *run) changeRetention(change RetentionChange) (generation.Manifest, error) {
	prev, err := r.store.Newest()
	if err != nil {
		return generation.Manifest{}, err
	}
	wanted, err := change.apply(prev.Keeps())
	if err != nil {
		return generation.Manifest{}, err
	}
	r.base = prev.Generation
	if err := r.store.Heal(prev); err != nil {
		return generation.Manifest{}, err
	}
	if prev.Generation > 0 && wanted == prev.Keeps() {
		return prev, nil
	}
	next, err := r.store.Draft(prev, prev.Streams)
	if err != nil {
		return generation.Manifest{}, err
	}
	next.Verb, next.Changed, next.Retention = generation.DidRetention, &generation.Changed{}, &wanted
	old, err := r.store.Summed(prev)
	if err != nil {
		return generation.Manifest{}, err
	}
	defer old.Close()
	var c *generation.Changes
	if prev.Generation == 0 { // the first generation has files, also where there is no row
		c = &generation.Changes{}
	}
	return r.commit(prev, next, old, c)
}

// apply is the retention after the change.
func (c RetentionChange) apply(r generation.Retention) (generation.Retention, error) {
	for _, p := range []struct{ to, from *time.Duration }{{&r.All, c.All}, {&r.Hourly, c.Hourly}, {&r.Daily, c.Daily}} {
		if p.from != nil {
			*p.to = *p.from
		}
	}
	if c.Reserve != nil {
		r.Reserve = *c.Reserve
	}
	return r, r.Validate()
}
