package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/runfold/runfold/internal/durable"
)

// Heal makes the newest generation durable and public: the run that committed it may have ended
// between its create and the sync of the directory (R11), or before it published, or somebody replaced
// the public files. Nothing is swept on a manifest's word before this.
func (s *Store) Heal(newest Manifest) error {
	if newest.Generation == 0 {
		return nil
	}
	if err := s.FS.SyncDir(s.Root.Manifests()); err != nil {
		return fmt.Errorf("sync manifests: %w", err)
	}
	ok, err := s.IsPublished(newest)
	if err != nil || ok {
		return err
	}
	return s.Publish(newest, true)
}

// Publish replaces the public names with m's data files. Between our listing and our rename another
// compactor may have published a later generation, which we would then hide (R4): so look again
// after each round, until what we published is the newest; a listing that shows less is old. A compactor
// that dies in between leaves that to the next run's heal.
func (s *Store) Publish(m Manifest, healed bool) error {
	for {
		err := s.replacePublic(m)
		newest, lerr := s.Newest()
		if lerr != nil {
			return errors.Join(err, lerr)
		}
		if newest.Generation <= m.Generation {
			if err != nil {
				return fmt.Errorf("publish generation %d: %w", m.Generation, err)
			}
			s.notify(Published{m.Generation, m.Index.Rows, healed})
			return nil
		}
		m = newest
	}
}

func (s *Store) replacePublic(m Manifest) error {
	old, err := s.Unpublished(m)
	if err != nil {
		return err
	}
	for _, p := range old {
		if err := durable.Regular(s.FS, s.Root.Data(p.Data.Name)); err != nil {
			return damagedIfLink(err)
		}
	}
	for _, p := range old {
		if err := s.publicDir(filepath.Dir(p.Name)); err != nil {
			return err
		}
		err := durable.ReplaceWith(s.FS, p.Name, s.Root.Data(p.Data.Name), s.Settings.FileMode.FS()&^readOnly)
		if err != nil {
			return err
		}
	}
	return nil
}

// publicDir makes the directory of a cohort, which an import may bring, and refuses a link in its place.
func (s *Store) publicDir(dir string) error {
	if dir == string(s.Root) {
		return nil
	}
	if _, err := s.FS.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return s.makeDir(dir)
	}
	return durable.RealDir(s.FS, dir)
}

// Public is a published path and the data file that it should show.
type Public struct {
	Name string
	Data DataFile
}

// Unpublished are the published names that do not show m. It compares files by identity and, where they are copies, by their
// checksum.
func (s *Store) Unpublished(m Manifest) (old []Public, err error) {
	all := []Public{{s.Root.Index(), m.Index}}
	for _, f := range m.Snapshots {
		all = append(all, Public{s.Root.SnapshotsOf(f.Cohort), f.DataFile})
	}
	for _, p := range all {
		ok, err := s.shows(p.Name, p.Data)
		if err != nil {
			return nil, err
		}
		if !ok {
			old = append(old, p)
		}
	}
	return old, nil
}

// IsPublished tells whether index.parquet and every snapshot_index.json of the root show m.
func (s *Store) IsPublished(m Manifest) (bool, error) {
	old, err := s.Unpublished(m)
	return len(old) == 0, err
}

// shows tells whether a public name is the data file want: the same inode, or, where links are
// missing and it is a copy, the same bytes.
func (s *Store) shows(public string, want DataFile) (bool, error) {
	info, err := s.FS.Stat(public)
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
	if data, err := s.FS.Stat(s.Root.Data(want.Name)); err == nil && durable.SameFile(info, data) {
		return true, nil
	}
	sum, err := s.checksum(public)
	return err == nil && sum == want.CRC32C, nil
}
