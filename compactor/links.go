package compactor

import (
	"errors"
	"fmt"

	"github.com/runfold/runfold/internal/durable"
)

// staysWithin refuses to move or delete through links: a stream, or the cohort that it lies in, may have been
// replaced by a link to a place that is not ours. The directories above were looked at when the root was
// opened.
func (f *folder) staysWithin(dirs ...string) error {
	for _, dir := range dirs {
		if err := durable.RealDir(f.FS, dir); err != nil {
			return err
		}
	}
	return nil
}

// damagedIfLink makes a link in the place of a committed file damage: what it leads to was never committed.
func damagedIfLink(err error) error {
	if errors.Is(err, durable.ErrLink) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
