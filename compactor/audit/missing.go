package audit

import (
	"context"
	"errors"

	"github.com/runfold/runfold/compactor/generation"
)

// missing tells of manifests that are missing above the newest one.
func (c *checker) missing(_ context.Context, newest generation.Manifest) error {
	return missingIn(c.Store, newest, func(p Problem) {
		c.lacks = true
		c.damage(c.Root.Manifests(), "%s", p.Reason)
	})
}

// missingIn calls yield if manifests are missing above newest.
func missingIn(store *generation.Store, newest generation.Manifest, yield func(Problem)) error {
	err := store.CheckMissing(newest)
	var missing *generation.MissingError
	switch {
	case errors.As(err, &missing):
		yield(Problem{store.Root.Rel(store.Root.Manifests()), missing.Error(), true})
	case errors.Is(err, generation.ErrConflict): // others have committed since we looked
	default:
		return err
	}
	return nil
}
