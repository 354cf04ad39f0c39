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
	return changing(ctx, cfg, func(r *run) (generation.Manifest, error) {
		return r.changeSetting(generation.DidRetention, func(m *generation.Manifest) (changed bool, err error) {
			wanted, err := change.apply(m.Keeps())
			changed, m.Retention = wanted != m.Keeps(), &wanted
			return changed, err
		})
	})
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
