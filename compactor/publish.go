package compactor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/runfold/runfold/internal/durable"
)

// ErrConflict reports that another compactor committed the generation that we were about to. It is
// not a failure: load the newest manifest and fold again.
var ErrConflict = errors.New("another compactor committed first")

// commit makes next the newest generation: the one step that decides. Of any number of compactors that
// try the same number one succeeds, whatever the lock did.
//
// On success the manifest is durable. On ErrConflict another one stands there and our data files are
// removed. Any other error leaves open whether the commit happened, or whether it is durable; then
// nothing is removed, and the next run finds out by reading (R1, R11).
func (f *folder) commit(next head) (head, error) {
	if err := f.makeDir(f.Root.Manifests()); err != nil {
		return head{}, err
	}
	bytes := next.encode()
	sum := sha256.Sum256(bytes)
	next.digest = hex.EncodeToString(sum[:])
	err := durable.Create(f.FS, f.Root.Manifest(next.Generation), bytes, f.settings.FileMode.FS())
	if err != nil {
		if err := f.settle(next, err); err != nil {
			return head{}, err
		}
	}
	// R2: a compactor that slept while others committed N+1 and later and swept N+1 creates it anew.
	gens, err := generations(f.FS, f.Root)
	if err != nil {
		return head{}, fmt.Errorf("list manifests after the commit: %w", err)
	}
	newest := newestOf(gens)
	if newest > next.Generation {
		f.notify(Conflicted{newest})
		return head{}, fmt.Errorf("generation %d is void, %d is the newest: %w", next.Generation, newest, ErrConflict)
	}
	if newest < next.Generation { // a listing from before our create: what else does it not show?
		return head{}, fmt.Errorf("list manifests after the commit: generation %d is not there yet", next.Generation)
	}
	return next, nil
}

// settle finds out what a failed create did, by the token of the manifest that stands there now.
func (f *folder) settle(next head, cause error) error {
	there, err := readManifest(f.FS, f.Root, next.Generation)
	switch {
	case errors.Is(cause, durable.ErrUnsynced):
	case err == nil && there.Token == next.Token: // a retransmitted request, or an error after the fact
		return f.FS.SyncDir(f.Root.Manifests())
	case err == nil:
		f.notify(Conflicted{next.Generation})
		return errors.Join(fmt.Errorf("generation %d: %w", next.Generation, ErrConflict), f.dropData(next))
	case errors.Is(err, fs.ErrNotExist) && errors.Is(cause, fs.ErrExist):
		return fmt.Errorf("generation %d came and went: %w", next.Generation, ErrConflict)
	}
	return fmt.Errorf("commit generation %d: %w", next.Generation, cause)
}

// dropData removes the data files of an attempt that certainly did not commit. They bear its own token, so
// no manifest can name them but the one that was refused or never tried.
func (f *folder) dropData(lost head) error {
	var errs []error
	for _, name := range lost.made {
		errs = append(errs, durable.Remove(f.FS, f.Root.Data(name)))
	}
	return errors.Join(errs...)
}

// heal makes the newest generation durable and public: the run that committed it may have ended
// between its create and the sync of the directory (R11), or before it published, or somebody replaced
// the public files. Nothing is swept on a manifest's word before this.
func (f *folder) heal(newest head) error {
	if newest.Generation == 0 {
		return nil
	}
	if err := f.FS.SyncDir(f.Root.Manifests()); err != nil {
		return fmt.Errorf("sync manifests: %w", err)
	}
	ok, err := f.isPublished(newest)
	if err != nil || ok {
		return err
	}
	return f.publish(newest, true)
}

// publish replaces the public names with h's data files. Between our listing and our rename another
// compactor may have published a later generation, which we would then hide (R4): so look again
// after each round, until what we published is the newest; a listing that shows less is old. A compactor
// that dies in between leaves that to the next run's heal.
func (f *folder) publish(h head, healed bool) error {
	for {
		err := f.replacePublic(h)
		newest, lerr := latest(f.FS, f.Root)
		if lerr != nil {
			return errors.Join(err, lerr)
		}
		if newest.Generation <= h.Generation {
			if err != nil {
				return fmt.Errorf("publish generation %d: %w", h.Generation, err)
			}
			f.notify(Published{h.Generation, h.Index.Rows, healed})
			return nil
		}
		h = newest
	}
}

func (f *folder) replacePublic(h head) error {
	old, err := f.unpublished(h)
	if err != nil {
		return err
	}
	for _, p := range old {
		if err := durable.Regular(f.FS, f.Root.Data(p.data.Name)); err != nil {
			return damagedIfLink(err)
		}
	}
	for _, p := range old {
		if err := f.publicDir(filepath.Dir(p.name)); err != nil {
			return err
		}
		err := durable.ReplaceWith(f.FS, p.name, f.Root.Data(p.data.Name), f.settings.FileMode.FS()&^readOnly)
		if err != nil {
			return err
		}
	}
	return nil
}

// publicDir makes the directory of a cohort, which an import may bring, and refuses a link in its place.
func (f *folder) publicDir(dir string) error {
	if dir == string(f.Root) {
		return nil
	}
	if _, err := f.FS.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return f.makeDir(dir)
	}
	return f.staysWithin(dir)
}

// public is a published name and the data file that it should show.
type public struct {
	name string
	data DataFile
}

// unpublished are the published names that do not show h.
func (f *folder) unpublished(h head) (old []public, err error) {
	all := []public{{f.Root.Index(), h.Index}}
	for _, s := range h.Snapshots {
		all = append(all, public{f.Root.SnapshotsOf(s.Cohort), s.DataFile})
	}
	for _, p := range all {
		ok, err := f.shows(p.name, p.data)
		if err != nil {
			return nil, err
		}
		if !ok {
			old = append(old, p)
		}
	}
	return old, nil
}

func (f *folder) isPublished(h head) (bool, error) {
	old, err := f.unpublished(h)
	return len(old) == 0, err
}

// shows tells whether a public name is the data file want: the same inode, or, where links are
// missing and it is a copy, the same bytes.
func (f *folder) shows(public string, want DataFile) (bool, error) {
	info, err := f.FS.Stat(public)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at published file: %w", err)
	}
	if info.IsDir() {
		return false, fmt.Errorf("%s is a directory: move it away, the published file belongs there", public)
	}
	if !info.Mode().IsRegular() || info.Size() != want.Size {
		return false, nil
	}
	if data, err := f.FS.Stat(f.Root.Data(want.Name)); err == nil && durable.SameFile(info, data) {
		return true, nil
	}
	sum, err := checksum(f.FS, public)
	return err == nil && sum == want.CRC32C, nil
}

// checksum is the CRC32C of a whole file.
func checksum(fsys durable.FS, name string) (CRC, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	crc := crc32.New(castagnoli)
	if _, err := io.Copy(crc, file); err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return CRC(crc.Sum32()), nil
}
