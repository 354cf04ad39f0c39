package generation

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/runfold/runfold/internal/durable"
)

// ErrConflict reports that others committed meanwhile. Either they committed the generation that we were about to commit, or
// the generation that we were reading was swept after their commits. It is not a failure: load the newest manifest and begin
// again.
var ErrConflict = errors.New("another compactor committed first")

// Commit makes the draft the newest generation. Of any number of compactors that
// try the same number exactly one succeeds, with a lock or without (docs/durability.md, P3).
//
// On success the manifest is durable. An error of MayCommit leaves nothing of the draft. On ErrConflict another compactor has won, and the manifest of this draft was refused or
// is void. Any other error leaves open whether the commit happened, or whether it is durable. Then
// nothing is removed, and the next run finds out by reading (R1, R11).
func (d *Draft) Commit() (Manifest, error) {
	s := d.store
	if err := s.MayCommit(); err != nil {
		return Manifest{}, errors.Join(fmt.Errorf("stopped before the commit: %w", err), d.Discard())
	}
	d.At = d.madeAt()
	next := d.Manifest
	// This syncs the root, also if another compactor has made manifests/ or data/ a moment ago. Else a power loss could
	// take the directory away with our commit in it (R14).
	if err := s.makeDir(s.Root.Manifests()); err != nil {
		return Manifest{}, err
	}
	bytes := next.Encode()
	next.digest = digestOf(bytes)
	// The data files were durable before this line: Write commits them with their names. The manifest holds the watermarks
	// and names the rows, so both become visible in one step, and each record is folded exactly once (P2).
	err := durable.Create(s.FS, s.Root.Manifest(next.Generation), bytes, s.Settings.FileMode.FS())
	if err != nil {
		if err := d.settle(err); err != nil {
			return Manifest{}, err
		}
	}
	// The create alone does not prove that we are the newest. We may have slept while others committed N+1 and later, and
	// swept N+1; then our create of N+1 succeeds, and is void (R2). Only a listing after the create shows this. The void
	// manifest harms nobody, because it is never the highest. It is not removed here: a sweep removes it.
	gens, err := s.List()
	if err != nil {
		return Manifest{}, fmt.Errorf("list manifests after the commit: %w", err)
	}
	newest := Last(gens)
	if newest > next.Generation {
		s.notify(Conflicted{newest})
		return Manifest{}, fmt.Errorf("generation %d is void, %d is the newest: %w", next.Generation, newest, ErrConflict)
	}
	// A listing without our own manifest is older than the create. It may lack higher numbers as well, so it proves nothing.
	if newest < next.Generation {
		return Manifest{}, fmt.Errorf("list manifests after the commit: generation %d is not there yet", next.Generation)
	}
	if err := durable.ModeHeld(s.FS, s.Root.Manifest(next.Generation), s.Settings.FileMode.FS()); err != nil {
		s.notify(ModeNotHeld{err})
	}
	return next, nil
}

// settle finds out what a failed create did (R1). It reads the manifest that stands there now and compares the token. It
// returns nil if that is ours and durable, ErrConflict if it is another's, and cause if it is still in doubt.
func (d *Draft) settle(cause error) error {
	s, g := d.store, d.Generation
	there, err := s.Read(g)
	switch {
	// Our manifest stands, but its directory could not be synced. A second sync could report success although the name
	// is not on the disk (S3). So the commit stays in doubt, and the next run syncs before it removes anything (R11).
	case errors.Is(cause, durable.ErrUnsynced):
	// A retransmitted request, or an error after the create had happened: we did commit. The failed create has not
	// synced the directory, so this does.
	case err == nil && there.Token == d.Token:
		return durable.SyncDir(s.FS, s.Root.Manifests())
	// Another token: the create of another compactor has won.
	case err == nil:
		s.notify(Conflicted{g})
		return errors.Join(fmt.Errorf("generation %d: %w", g, ErrConflict), d.discardRefused())
	// The create met a manifest that is gone now, because others have committed more since. Our data files stay here: a sweep
	// removes them.
	case errors.Is(err, fs.ErrNotExist) && errors.Is(cause, fs.ErrExist):
		return fmt.Errorf("generation %d was committed by another compactor and swept: %w", g, ErrConflict)
	}
	// In every other case nobody can tell. Nothing is removed, because the manifest may stand and name our files.
	return fmt.Errorf("commit generation %d: %w", g, cause)
}

// discardRefused removes the data files if it is sure that our manifest never stood. A manifest of another compactor under our number does not
// prove it: ours may have stood, and others may have committed a generation that names our files, swept ours, and let a sleeper put
// its own there (R18, R2). Then a higher number stands, and a sweep decides what becomes of the files.
func (d *Draft) discardRefused() error {
	gens, err := d.store.List()
	if err != nil || Last(gens) != d.Generation {
		return nil
	}
	return d.Discard()
}

// Discard removes the data files of a draft that did not commit. Their names contain the token of the draft, so only
// the manifest of this draft can be the first to name them. Call it only if that manifest was refused, or was never tried.
func (d *Draft) Discard() error {
	var errs []error
	for _, name := range d.made {
		errs = append(errs, durable.Remove(d.store.FS, d.store.Root.Data(name)))
	}
	return errors.Join(errs...)
}
