package audit

import (
	"context"
	"errors"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// missing tells of manifests that are missing above the newest one.
func (c *checker) missing(_ context.Context, newest generation.Manifest) error {
	return missingIn(c.Store, newest, func(p Problem) {
		c.lacks = true
		if p.Damage {
			c.damage(c.Root.Manifests(), "%s", p.Reason)
		} else {
			c.unseen(c.Root.Manifests(), "%s", p.Reason)
		}
	})
}

// missingIn calls yield if manifests are missing above newest, or are not seen.
func missingIn(store *generation.Store, newest generation.Manifest, yield func(Problem)) error {
	err := store.CheckMissing(newest)
	var missing *generation.MissingError
	switch {
	case errors.As(err, &missing):
		yield(Problem{store.Root.Rel(store.Root.Manifests()), missing.Error(), true})
	case durable.IsAway(err):
		yield(Problem{store.Root.Rel(store.Root.Manifests()), err.Error(), false})
	case errors.Is(err, generation.ErrConflict): // others have committed since we looked
	default:
		return err
	}
	return nil
}
