package generation

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/runfold/runfold/internal/durable"
)

// ErrConflict reports that others committed meanwhile: the generation that we were about to commit, or later ones, on which
// the one to be read was swept. It is not a failure: load the newest manifest and begin again.
var ErrConflict = errors.New("another compactor committed first")

// Commit makes the draft the newest generation: the one step that decides. Of any number of compactors that
// try the same number one succeeds, whatever the lock did.
//
// On success the manifest is durable. On ErrConflict another one stands there and our data files are
// removed. Any other error leaves open whether the commit happened, or whether it is durable; then
// nothing is removed, and the next run finds out by reading (R1, R11).
func (d *Draft) Commit() (Manifest, error) {
	s, next := d.store, d.Manifest
	if err := s.makeDir(s.Root.Manifests()); err != nil {
		return Manifest{}, err
	}
	bytes := next.Encode()
	next.digest = digestOf(bytes)
	err := durable.Create(s.FS, s.Root.Manifest(next.Generation), bytes, s.Settings.FileMode.FS())
	if err != nil {
		if err := d.settle(err); err != nil {
			return Manifest{}, err
		}
	}
	// R2: a compactor that slept while others committed N+1 and later and swept N+1 creates it anew.
	gens, err := s.List()
	if err != nil {
		return Manifest{}, fmt.Errorf("list manifests after the commit: %w", err)
	}
	newest := Last(gens)
	if newest > next.Generation {
		s.notify(Conflicted{newest})
		return Manifest{}, fmt.Errorf("generation %d is void, %d is the newest: %w", next.Generation, newest, ErrConflict)
	}
	if newest < next.Generation { // a listing from before our create: what else does it not show?
		return Manifest{}, fmt.Errorf("list manifests after the commit: generation %d is not there yet", next.Generation)
	}
	return next, nil
}

// settle finds out what a failed create did, by the token of the manifest that stands there now.
func (d *Draft) settle(cause error) error {
	s, g := d.store, d.Generation
	there, err := s.Read(g)
	switch {
	case errors.Is(cause, durable.ErrUnsynced):
	case err == nil && there.Token == d.Token: // a retransmitted request, or an error after the fact
		return s.FS.SyncDir(s.Root.Manifests())
	case err == nil:
		s.notify(Conflicted{g})
		return errors.Join(fmt.Errorf("generation %d: %w", g, ErrConflict), d.Discard())
	case errors.Is(err, fs.ErrNotExist) && errors.Is(cause, fs.ErrExist):
		return fmt.Errorf("generation %d came and went: %w", g, ErrConflict)
	}
	return fmt.Errorf("commit generation %d: %w", g, cause)
}

// Discard removes the data files of a draft that certainly did not commit. They bear its own token, so
// no manifest can name them but the one that was refused or never tried.
func (d *Draft) Discard() error {
	var errs []error
	for _, name := range d.made {
		errs = append(errs, durable.Remove(d.store.FS, d.store.Root.Data(name)))
	}
	return errors.Join(errs...)
}
