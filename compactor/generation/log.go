package generation

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// ErrCorrupt reports a manifest or data file whose bytes are not what was committed.
var ErrCorrupt = index.ErrDamaged

// IsDamage tells whether an error means that the bytes of a file are not those that were written. It finds
// ErrCorrupt and journal.ErrCorrupt.
func IsDamage(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, journal.ErrCorrupt)
}

// Newest returns the newest manifest: the one with the highest number in a fresh listing. It does not try names that it
// remembers, because on NFS an open by name may be 30 s old (R3). In a root without manifests it returns the
// manifest of generation 0, whose NextSeq is 1 and which names no files.
//
// A manifest of another root is a *journal.MixedError, and one of the same
// root with another key a *journal.SettingsError. A damaged highest manifest is ErrCorrupt. Newest does not return the one before it: records that only the newest data files
// hold may already be gone from the journals.
func (s *Store) Newest() (Manifest, error) {
	for tried := cohort.Generation(0); ; {
		gens, err := s.List()
		if err != nil {
			return Manifest{}, err
		}
		newest := Last(gens)
		if newest == 0 {
			return s.Zero(), nil
		}
		m, err := s.Read(newest)
		if err == nil {
			err = s.suits(m)
		}
		if !errors.Is(err, fs.ErrNotExist) || newest <= tried {
			return m, err
		}
		tried = newest // it was swept after the listing, so there is a newer one
	}
}

// Zero is the manifest of generation 0.
func (s *Store) Zero() Manifest {
	return Manifest{NextSeq: 1, Columns: index.ColumnsOf(s.Settings.Profile)}
}

// Read reads the manifest of one generation. It fails with fs.ErrNotExist if it was swept. What the manifest refers to is shared with other callers, and
// is not to be changed.
func (s *Store) Read(g cohort.Generation) (Manifest, error) {
	return s.read(g, s.Cache.decoded)
}

// outline is Read without what a sweep does not need: the sections of data files, streams and columns. It is for those who read all manifests, and not for
// a generation that is built upon. far tells that the root is remote. at is when the file was written, by the file system's clock, also where it cannot be
// read; zero: not known.
func (s *Store) outline(g cohort.Generation, far bool) (m Manifest, at time.Time, err error) {
	file, unseen := s.look(g, far)
	if unseen == nil {
		at = file.ModTime()
		if m, ok := s.Cache.outline(g, file); ok {
			return m, at, nil
		}
	}
	// What cannot be looked at may be there all the same: only the reading says that it is gone.
	m, err = s.read(g, func(data []byte, digest string) (Manifest, error) { return decode(data, digest, true) })
	if err != nil {
		return Manifest{}, at, err
	}
	m.Streams, m.Schema, m.Columns, m.Settings = nil, index.Schema{}, index.Columns{}, nil
	if unseen == nil {
		s.Cache.note(file, m)
	}
	return m, at, nil
}

// look is the file of a manifest. Over a network it is opened for that: what is told of a name may be a minute old (R3).
func (s *Store) look(g cohort.Generation, far bool) (fs.FileInfo, error) {
	info, err := s.FS.Stat(s.Root.Manifest(g))
	if err != nil || !info.Mode().IsRegular() || !far {
		return info, err
	}
	f, err := s.FS.Open(s.Root.Manifest(g))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

func (s *Store) read(g cohort.Generation, parse func(data []byte, digest string) (Manifest, error)) (Manifest, error) {
	data, err := s.bytesOf(g)
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest: %w", err)
	}
	m, err := parse(data, digestOf(data))
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest %s: %w", s.Root.Manifest(g), err)
	}
	if m.Generation != g {
		return Manifest{}, fmt.Errorf("manifest %s: %w: says generation %d", s.Root.Manifest(g), ErrCorrupt, m.Generation)
	}
	return m, nil
}

// bytesOf are the bytes of a manifest, damaged or not.
func (s *Store) bytesOf(g cohort.Generation) ([]byte, error) {
	if err := durable.Regular(s.FS, s.Root.Manifest(g)); err != nil {
		return nil, damagedIfLink(err)
	}
	return durable.Read(s.FS, s.Root.Manifest(g), cohort.MaxManifest)
}

// damagedIfLink makes an error about a link match ErrCorrupt. A link in the place of a committed file is damage: what it
// leads to was never committed.
func damagedIfLink(err error) error {
	if errors.Is(err, durable.ErrLink) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// List lists the numbers of all manifests, in order.
func (s *Store) List() ([]cohort.Generation, error) {
	entries, err := s.FS.ReadDir(s.Root.Manifests())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	var gens []cohort.Generation
	for _, e := range entries {
		if g, ok := cohort.ParseManifestName(e.Name()); ok {
			gens = append(gens, g)
		}
	}
	slices.Sort(gens)
	return gens, nil
}

// Last is the last of gens, or 0 if gens is empty.
func Last(gens []cohort.Generation) cohort.Generation {
	if len(gens) == 0 {
		return 0
	}
	return gens[len(gens)-1]
}

// IsParentOf tells whether child was committed on m. A manifest that is not an ancestor of the newest one is void: a
// compactor that slept made it too late (R2).
func (m *Manifest) IsParentOf(child *Manifest) bool {
	return child.Generation == m.Generation+1 && child.Parent == m.digest
}

// MayBeParent tells whether m is the parent of the next generation, whose manifest cannot be read. It looks at what is left of
// the bytes of that manifest. If these say nothing about the parent, m may be the parent, but this is not sure.
func (s *Store) MayBeParent(m Manifest) (is, sure bool) {
	data, err := s.bytesOf(m.Generation + 1)
	if err != nil {
		return true, false
	}
	if bytes.Contains(data, []byte(m.digest)) {
		return true, true
	}
	if cohort.IsWholeManifest(data) {
		return true, false // it is the manifest of another generation, which somebody put there
	}
	said := parentLine.FindSubmatch(data)
	if said == nil {
		return true, false
	}
	equal := 0
	for i, c := range said[1] {
		if i < len(m.digest) && c == m.digest[i] {
			equal++
		}
	}
	return equal > len(m.digest)/2, true // the damage may be here; two digests have about 4 of 64 digits in common
}

// parentLine is what a manifest says of its parent, whose digits may be damaged.
var parentLine = regexp.MustCompile(`(?s)"parent": "(.{64})"`)

// Met finds two histories in one root: two copies of it went on by themselves, and a file tool put their files into one directory.
// all are the manifests that can be read, oldest first. It returns the last generation that is not an ancestor of the newest
// one, if that has its child's number less one and a parent of its own; a void manifest has no parent there, as a rule.
func Met(all []Manifest) (g cohort.Generation, met bool) {
	for i := len(all) - 1; i > 0; i-- {
		if all[i-1].IsParentOf(&all[i]) {
			continue
		}
		met = i > 1 && all[i-1].Generation+1 == all[i].Generation && all[i-2].IsParentOf(&all[i-1])
		return all[i-1].Generation, met
	}
	return 0, false
}

// IsVoid tells whether generation g is void because one of these manifests is a repair that went back to an earlier one.
func IsVoid(all []Manifest, g cohort.Generation) bool {
	for _, m := range all {
		if m.RepairedFrom != nil && *m.RepairedFrom < g && g < m.Generation {
			return true
		}
	}
	return false
}

// time is the latest time that the root's file system is known to have given. It is that of the manifest m, which is the newest, or
// that of a lock's file, which every holder writes. On SMB these have the times of the machines that wrote them, so the server is
// asked. It fails with fs.ErrNotExist if m was swept.
func (s *Store) time(m Manifest) (time.Time, error) {
	info, err := s.FS.Stat(s.Root.Manifest(m.Generation))
	if err != nil {
		return time.Time{}, fmt.Errorf("look at the newest manifest: %w", err)
	}
	if now, ok := s.serverTime(); ok {
		return now, nil
	}
	now := info.ModTime()
	if locked := s.locked(); locked.After(now) {
		now = locked
	}
	return now, nil
}

// locked is when the lock, or a file beside it, was written last. A holder that may not write the lock file writes one beside it.
func (s *Store) locked() (last time.Time) {
	entries, err := s.FS.ReadDir(string(s.Root))
	if err != nil {
		return time.Time{}
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), filepath.Base(s.Root.CompactLock())) {
			continue
		}
		if info, err := s.FS.Stat(filepath.Join(string(s.Root), e.Name())); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// serverTime asks a server that stamps directories and not files. If it cannot be asked, the times of the files must do.
func (s *Store) serverTime() (now time.Time, ok bool) {
	about, err := s.FS.Statfs(string(s.Root))
	if err != nil || !about.IsSMB() {
		return time.Time{}, false
	}
	now, err = durable.Now(s.FS, string(s.Root), s.Settings.DirMode.FS())
	return now, err == nil
}

// Stamp is the latest time that the root's file system is known to have given, as a stamp. m is the newest manifest. Stamp is
// 0 if no such time is known. It is for those who fold: on SMB it makes a directory for a moment.
func (s *Store) Stamp(m Manifest) cohort.Stamp {
	now, _ := s.time(m)
	if m.Generation == 0 {
		now = s.firstTime()
	}
	if now.Before(time.Unix(0, 1)) {
		return 0
	}
	return cohort.Stamp(now.UnixNano())
}

// firstTime is time where there is no manifest yet.
func (s *Store) firstTime() time.Time {
	if now, ok := s.serverTime(); ok {
		return now
	}
	return s.locked()
}
