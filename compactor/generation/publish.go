package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// Heal makes the newest generation durable and public: the run that committed it may have ended
// between its create and the sync of the directory (R11), or before it published, or somebody replaced
// the public files. Nothing is swept on a manifest's word before this. A data file whose bytes are not those that were
// committed is ErrCorrupt, and is not published.
func (s *Store) Heal(newest Manifest) error {
	if newest.Generation == 0 {
		return nil
	}
	if err := s.FS.SyncDir(s.Root.Manifests()); err != nil {
		return fmt.Errorf("sync manifests: %w", err)
	}
	old, err := s.Unpublished(newest)
	if err != nil || len(old) == 0 {
		return err
	}
	for _, p := range old {
		if err := s.CheckFile(p.Data); err != nil { // it may be one file with the public name, and somebody wrote there
			return fmt.Errorf("publish generation %d again: %w", newest.Generation, s.damagedData(newest, p.Data, err))
		}
		// On a share it may be the file of a generation that is swept, which this machine still sees.
		if g, err := s.Shown(p); err == nil && g == 0 && !s.MayBeOld(0) {
			s.notify(NotOurs{s.Root.Rel(p.Name)})
		}
	}
	return s.Publish(newest, true)
}

// damagedData is err, which CheckFile gave, with the name of the file.
func (s *Store) damagedData(m Manifest, d DataFile, err error) error {
	if path := s.Root.Data(d.Name); !strings.Contains(err.Error(), path) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return s.dataError(m, err)
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
		if err := s.CheckSize(p.Data); err != nil {
			return s.dataError(m, err)
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
	for _, p := range s.public(m) {
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

func (s *Store) public(m Manifest) []Public {
	all := []Public{{s.Root.Index(), m.Index}}
	for _, f := range m.Snapshots {
		all = append(all, Public{s.Root.SnapshotsOf(f.Cohort), f.DataFile})
	}
	return all
}

// Shown is the generation that a public name shows, of those that are kept; 0 if what stands there is of none of them. It is
// fs.ErrNotExist where nothing does, and ErrCorrupt where it is of none and a manifest cannot be read, which may tell. It
// compares as Unpublished does.
func (s *Store) Shown(p Public) (cohort.Generation, error) {
	if _, err := s.FS.Stat(p.Name); err != nil {
		return 0, err
	}
	gens, err := s.List()
	if err != nil {
		return 0, err
	}
	var unknown error
	for _, g := range slices.Backward(gens) {
		m, err := s.Read(g)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) { // else it was swept
				unknown = err
			}
			continue
		}
		for _, q := range s.public(m) {
			if q.Name != p.Name {
				continue
			}
			if ok, err := s.shows(q.Name, q.Data); err != nil || ok {
				return g, err
			}
		}
	}
	return 0, unknown
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
