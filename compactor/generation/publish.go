package generation

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// Heal makes the newest generation durable and public: the run that committed it may have ended
// between its create and the sync of the directory (R11), or before it published, or somebody replaced
// the public files. Nothing is swept on a manifest's word before this.
//
// Heal never makes things worse. Where manifests are missing, or data files of the newest generation, it changes nothing: see
// CheckNewest for the error. A data file whose bytes are not those that were committed is ErrCorrupt, and is not published. What a
// public name shows is kept in quarantine/ before it is replaced, unless a data file of a kept generation has the same bytes.
func (s *Store) Heal(newest Manifest) error {
	if err := s.CheckNewest(newest); err != nil || newest.Generation == 0 {
		return err
	}
	if err := s.SyncManifests(); err != nil {
		return err
	}
	old, err := s.Unpublished(newest)
	if err != nil || len(old) == 0 {
		return err
	}
	for _, p := range old {
		if err := s.CheckFile(p.Data); err != nil { // it may be one file with the public name, and somebody wrote there
			return fmt.Errorf("publish generation %d again: %w", newest.Generation, s.damagedData(newest, p.Data, err))
		}
	}
	return s.Publish(newest, true)
}

// SyncManifests makes the manifests that a listing shows durable, also those of other processes. It comes before what another process may
// believe to be a sign of them: deletions (R11), and data files of the next generation (R21).
func (s *Store) SyncManifests() error {
	if err := durable.SyncDir(s.FS, s.Root.Manifests()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sync manifests: %w", err)
	}
	return nil
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
//
// late tells that an earlier run has committed m. The notice says that the public files were healed if one was missing, or
// was of no generation: a fold that was killed before it published leaves those of an earlier generation.
//
// What was published is compared with what was committed: a copy may have gone wrong. A public name that is in use is
// ErrNotPublished; the generation is committed all the same.
func (s *Store) Publish(m Manifest, late bool) error {
	broken := false
	for tries := 1; ; tries++ {
		shown, was, err := s.show(m, tries > 1)
		broken = broken || was
		newest, lerr := s.Newest()
		if lerr != nil {
			return errors.Join(err, lerr)
		}
		switch {
		case newest.Generation > m.Generation:
			// Another run made this manifest and may not have synced it. If a power loss took it, the public names would show a
			// generation that no manifest knows (R11).
			if err := s.SyncManifests(); err != nil {
				return fmt.Errorf("publish generation %d: %w", newest.Generation, err)
			}
			m, tries = newest, 0
			continue
		case err == nil && !shown && s.isShared():
			// Another program has saved there just now. The next run sets that aside.
		case err == nil && !shown && tries < publishTries:
			continue // a compactor that slept may have put an earlier generation there just now
		case err == nil && !shown && tries < racedTries && s.isRaced(m):
			time.Sleep(time.Millisecond << tries)
			continue
		case err == nil && !shown:
			err = s.unlike(m)
		}
		if err != nil {
			return fmt.Errorf("publish generation %d: %w", m.Generation, err)
		}
		s.notify(Published{m.Generation, m.Index.Rows, late && broken, late && !broken})
		return nil
	}
}

// isRaced tells whether each public name that does not show m shows an earlier generation: several compactors that slept put it there. Each
// of them looks for the newest generation afterwards, and finds m. On SMB it may be no compactor: see unlike.
func (s *Store) isRaced(m Manifest) bool {
	if about, err := s.FS.Statfs(string(s.Root)); err != nil || about.IsSMB() {
		return false
	}
	old, err := s.Unpublished(m)
	return err == nil && !slices.ContainsFunc(old, func(p Public) bool {
		g, err := s.Shown(p)
		return err != nil || g == 0
	})
}

// show puts m's data files in the place of the public names, and tells whether these show m then, and whether one was broken. again
// tells that it was done just now: then what stands there is our own copy, which went wrong, or an earlier generation of ours.
func (s *Store) show(m Manifest, again bool) (shown, broken bool, err error) {
	if broken, err = s.replacePublic(m, again); err == nil {
		shown, err = s.IsPublished(m)
	}
	return shown, broken, err
}

// replacePublic makes the public names show m. It tells whether one was broken: missing, although something was published
// before, or of no generation.
func (s *Store) replacePublic(m Manifest, again bool) (broken bool, err error) {
	old, err := s.Unpublished(m)
	if err != nil {
		return false, err
	}
	for _, p := range old {
		if err := s.CheckSize(p.Data); err != nil {
			return false, s.dataError(m, err)
		}
	}
	away := aside{Store: s, newest: m, gap: s.gap(m, old)}
	if s.isShared() {
		return s.exchangeAll(&away, old)
	}
	for _, p := range old {
		if err := s.publicDir(filepath.Dir(p.Name)); err != nil {
			return broken, err
		}
		if again {
			continue
		}
		// What takes its place takes away what stands there, and that may be the only whole copy of something.
		was, err := away.keep(p)
		broken = broken || was
		if err != nil {
			return broken, err
		}
	}
	return broken, s.replaceAll(old)
}

// exchangeAll is the rest of replacePublic in a root whose public names others write as well.
func (s *Store) exchangeAll(away *aside, old []Public) (broken bool, err error) {
	defer away.tellOthers() // also of what was set aside before an error
	var inUse error
	for _, p := range old {
		if err := s.publicDir(filepath.Dir(p.Name)); err != nil {
			return broken, err
		}
		was, err := away.exchange(p)
		broken = broken || was
		switch {
		case errors.Is(err, durable.ErrInUse):
			inUse = errors.Join(inUse, fmt.Errorf("%w: %w", ErrNotPublished, err))
		case err != nil:
			return broken, err
		}
	}
	return broken, inUse
}

// gap is the last public name that shows m: a run that was killed while it published leaves no name missing before that.
func (s *Store) gap(m Manifest, old []Public) (last string) {
	for _, p := range s.public(m) {
		if !slices.ContainsFunc(old, func(o Public) bool { return o.Name == p.Name }) {
			last = p.Name
		}
	}
	return last
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
	seen, err := s.FS.Stat(p.Name)
	if err != nil {
		return 0, err
	}
	var unknown error
	for known := cohort.Generation(0); ; { // others may publish a generation that is later than those that were listed
		gens, err := s.List()
		if err != nil {
			return 0, err
		}
		newest := Last(gens)
		if newest <= known {
			now, err := s.FS.Stat(p.Name)
			if err != nil || durable.SameFile(seen, now) {
				return 0, cmp.Or(err, unknown)
			}
			seen, known, unknown = now, 0, nil // others have published between the looks: each of them was at another file
		}
		for _, g := range slices.Backward(gens) {
			if g <= known {
				break
			}
			is, err := s.isShown(p.Name, g)
			switch {
			case is:
				return g, nil
			case err != nil && !errors.Is(err, fs.ErrNotExist): // else it was swept
				unknown = err
			}
		}
		known = newest
	}
}

// isShown tells whether a public name shows what a generation has for it.
func (s *Store) isShown(name string, g cohort.Generation) (bool, error) {
	m, err := s.Read(g)
	if err != nil {
		return false, err
	}
	for _, q := range s.public(m) {
		if q.Name == name {
			return s.shows(q.Name, q.Data)
		}
	}
	return false, nil
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
