package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// MissingError tells that manifests are missing: a file of the root says that a generation after Newest was committed. Older
// manifests were put back, or the newest were deleted, or the root was copied while it was folded. It matches ErrCorrupt.
type MissingError struct {
	Newest cohort.Generation // the highest that has a manifest
	Seen   cohort.Generation // the highest that a file tells of
	Path   string            // that file, relative to the root
	why    string            // what it says
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("manifests are missing: the newest is that of generation %d, and %s %s", e.Newest, e.Path, e.why)
}

// Is makes it match ErrCorrupt.
func (*MissingError) Is(target error) bool { return target == ErrCorrupt }

// CheckNewest looks whether newest, which Newest gave, is the last generation that was committed, and whether its data files
// have their names and sizes. It reads none of them as a whole.
//
// The error is a *MissingError if a later generation was committed, ErrCorrupt if a data file is missing or has another size,
// and ErrConflict if a manifest came meanwhile. Where the storage may only not show them yet, the error is that of Doubt.
func (s *Store) CheckNewest(newest Manifest) error {
	if err := s.CheckMissing(newest); err != nil {
		return err
	}
	if newest.Generation == 0 {
		return nil
	}
	for _, d := range newest.Files() {
		if err := s.hasSize(d); err != nil {
			return s.Doubt(s.dataError(newest, err), 0)
		}
	}
	return nil
}

// hasSize is CheckSize by one look, without opening the file: a root may have a file for each of thousands of cohorts.
func (s *Store) hasSize(d DataFile) error {
	info, err := s.FS.Stat(s.Root.Data(d.Name))
	if err == nil && info.Mode().IsRegular() && info.Size() == d.Size {
		return nil
	}
	return s.CheckSize(d)
}

// CheckMissing is the part of CheckNewest that looks for manifests after newest. What it believes are
//
//	a data file of generation N+2 or above   it was made after N+1 was committed
//	a published file of a generation above N it was published after that was committed
//	a file of generation N+1 with a row or    its stream is deleted only after a commit
//	  an action whose stream is gone
//
// Other data files of N+1 are a fold at work, or one that was killed. The manifests are listed once more at the end: others may
// have committed meanwhile. Where the storage may only not show them yet, the error is that of Doubt.
func (s *Store) CheckMissing(newest Manifest) error {
	found, err := s.sign(newest)
	if err != nil || found == nil {
		return err
	}
	gens, err := s.List()
	if err != nil {
		return err
	}
	now := Last(gens)
	if _, err := s.FS.Stat(s.Root.Manifest(newest.Generation + 1)); err == nil { // a listing may be older than a name
		now = max(now, newest.Generation+1)
	}
	if now > newest.Generation {
		return fmt.Errorf("generation %d came: %w", now, ErrConflict)
	}
	return s.Doubt(found, s.timeOf(filepath.Join(string(s.Root), found.Path))) // where the storage is not local, the manifests may not be seen yet
}

// sign is the sign of the highest generation after newest, or nil.
func (s *Store) sign(newest Manifest) (*MissingError, error) {
	next, found, err := s.laterData(newest)
	if err != nil {
		return nil, err
	}
	published, err := s.publishedLater(newest)
	if err != nil {
		return nil, err
	}
	if found == nil || published != nil && published.Seen > found.Seen {
		found = published
	}
	for _, name := range next {
		if found != nil {
			break
		}
		if found, err = s.orphaned(newest, name); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// laterData looks for data files after generation N+1, and lists those of N+1 that say where their rows, or actions, come from.
func (s *Store) laterData(newest Manifest) (next []string, found *MissingError, err error) {
	entries, err := s.FS.ReadDir(s.Root.DataDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("list data files: %w", err)
	}
	highest := newest.Generation + 1
	for _, e := range entries {
		g, _, ok := cohort.ParseDataName(e.Name())
		switch {
		case !ok || !e.Type().IsRegular():
		case g > highest:
			highest = g
			found = s.missing(newest, g, s.Root.Data(e.Name()), fmt.Sprintf("is of generation %d", g))
		case g == newest.Generation+1 && mayStrand(e.Name()):
			next = append(next, e.Name())
		}
	}
	return next, found, nil
}

func (s *Store) missing(newest Manifest, seen cohort.Generation, path, why string) *MissingError {
	return &MissingError{newest.Generation, seen, s.Root.Rel(path), why}
}

// publishedLater looks for a published file of a generation after newest. An index says which it is of. It is published before the
// snapshots, so those are read only where it is missing or damaged.
func (s *Store) publishedLater(newest Manifest) (*MissingError, error) {
	names, err := s.publicNames(newest)
	if err != nil {
		return nil, err
	}
	for i, p := range names {
		info, err := s.FS.Stat(p.Name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue // Unpublished tells of it
		}
		if err != nil {
			return nil, fmt.Errorf("look at published file: %w", err)
		}
		data, err := s.FS.Stat(s.Root.Data(p.Data.Name))
		same := p.Data.Name != "" && err == nil && durable.SameFile(info, data)
		seen, whole := newest.Generation, same
		switch {
		case same:
		case i == 0:
			seen, whole, err = s.indexedBy(p.Name, info.Size())
		default:
			seen, err = s.laterSnapshots(p, newest)
		}
		switch {
		case err != nil && !same:
			return nil, err
		case seen > newest.Generation:
			return s.missing(newest, seen, p.Name, fmt.Sprintf("was published by a later one, %d or above", seen)), nil
		case i == 0 && whole:
			return nil, nil
		}
	}
	return nil, nil
}

// publicNames are the published names of m, and those of cohorts that m does not know.
func (s *Store) publicNames(m Manifest) ([]Public, error) {
	all := []Public{{s.Root.Index(), m.Index}}
	if s.Settings.Snapshots != cohort.PerCohort {
		one, _ := m.Snapshots.Of("")
		return append(all, Public{s.Root.Snapshots(), one.DataFile}), nil
	}
	entries, err := s.FS.ReadDir(s.Root.Cohorts())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list cohorts: %w", err)
	}
	for _, e := range entries {
		if id, err := cohort.ParseID(e.Name()); err == nil && e.IsDir() {
			one, _ := m.Snapshots.Of(id)
			all = append(all, Public{s.Root.SnapshotsOf(id), one.DataFile})
		}
	}
	return all, nil
}

// indexedBy is the generation that an index says it is of. It is not whole if the file is no index: it may be anything.
func (s *Store) indexedBy(path string, size int64) (g cohort.Generation, whole bool, err error) {
	file, err := s.FS.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look at published file: %w", err)
	}
	defer file.Close()
	f, err := index.Open(file, size)
	switch {
	case errors.Is(err, cohort.ErrNewer):
		return 0, false, fmt.Errorf("%s: %w", path, err)
	case err != nil:
		return 0, false, nil // damaged, or a disk that cannot read it: the data files are what counts
	}
	return f.Meta().Generation, true, nil
}

// laterSnapshots is the next generation if the last seq of a snapshots file was assigned after newest, and else 0.
func (s *Store) laterSnapshots(p Public, newest Manifest) (cohort.Generation, error) {
	if ok, err := s.shows(p.Name, p.Data); err != nil || ok {
		return 0, err
	}
	file, err := s.FS.Open(p.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at published file: %w", err)
	}
	defer file.Close()
	last := cohort.Seq(0)
	for line, err := range index.Snapshots(file) {
		if err != nil {
			return 0, nil // as in indexedBy
		}
		last = line.Seq
	}
	if last >= newest.NextSeq {
		return newest.Generation + 1, nil
	}
	return 0, nil
}

// orphaned looks whether a file of generation N+1 has a row, or an action, of a stream that is on the disk no more. A fold that did not
// commit leaves all that it read.
func (s *Store) orphaned(newest Manifest, name string) (*MissingError, error) {
	if isActions(name) {
		return s.orphanedActions(newest, name)
	}
	rows, err := s.rowsAfter(newest, name)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	here, err := s.StreamsHere()
	if err != nil {
		return nil, nil // a cohort cannot be listed: its streams may be there, and the scan tells of it
	}
	rows = slices.DeleteFunc(rows, func(r index.Identity) bool { return here[r.Stream] })
	of, err := s.firstUnknown(newest, name, rows)
	if err != nil || of == "" {
		return nil, err
	}
	return s.orphan(newest, name, "rows", of), nil
}

func (s *Store) orphan(newest Manifest, name, what string, of cohort.StreamID) *MissingError {
	return s.missing(newest, newest.Generation+1, s.Root.Data(name),
		fmt.Sprintf("has %s of stream %s, which is deleted only after a commit of generation %d", what, of, newest.Generation+1))
}

// rowsAfter are the rows of a file that have seqs after a generation, and a stream.
func (s *Store) rowsAfter(newest Manifest, name string) (rows []index.Identity, err error) {
	f, file, err := s.indexAt(s.Root.Data(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // its fold has ended
	}
	if err != nil {
		return nil, dropDamage(err)
	}
	defer file.Close()
	for row, err := range f.IdentitiesFrom(newest.NextSeq) {
		if err != nil {
			return nil, dropDamage(err)
		}
		if row.Stream != "" {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// firstUnknown is the stream of the first row that m does not have, or nothing: then a fold that was to withdraw these rows, or to bring them back,
// did not commit. Their streams may be gone for long. Where the files of m are damaged, that is told elsewhere, and nobody knows.
func (s *Store) firstUnknown(m Manifest, name string, rows []index.Identity) (cohort.StreamID, error) {
	if len(rows) == 0 {
		return "", nil
	}
	if m.Generation == 0 || m.Withdrawn == nil && isIndex(name) {
		return rows[0].Stream, nil
	}
	d, err := s.Data(m)
	if err != nil {
		return "", dropDamage(err)
	}
	defer d.Close()
	keys := make([]cohort.Key, len(rows))
	for i, r := range rows {
		keys[i] = r.Key
	}
	found, err := d.FindAnywhere(keys)
	if err != nil {
		return "", dropDamage(err)
	}
	for _, r := range rows {
		was, ok := found[r.Key]
		if !ok || !was.SameWrite(r.Version) { // its stamp may have been raised
			return r.Stream, nil
		}
	}
	return "", nil
}

// orphanedActions is orphaned for a file of actions.
func (s *Store) orphanedActions(newest Manifest, name string) (*MissingError, error) {
	file, err := s.FS.Open(s.Root.Data(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	had, err := (&Data{of: newest, store: s}).ActionVersions()
	if err != nil {
		return nil, dropDamage(err) // of newest, which is told elsewhere
	}
	here, err := s.StreamsHere()
	if err != nil {
		return nil, nil
	}
	for r, err := range ReadActions(file) {
		if err != nil {
			return nil, dropDamage(err)
		}
		if !had[r.Version()] && !here[r.Stream] {
			return s.orphan(newest, name, "actions", r.Stream), nil
		}
	}
	return nil, nil
}

// dropDamage is nil if err is about bytes that nobody has committed.
func dropDamage(err error) error {
	if IsDamage(err) || errors.Is(err, cohort.ErrNewer) {
		return nil
	}
	return err
}

// StreamsHere are the streams on the disk, wherever they lie: in cohorts/, in reaped/ or in quarantine/. It fails unless all could be listed.
func (s *Store) StreamsHere() (map[cohort.StreamID]bool, error) {
	all, _, err := s.Journal().Streams()
	if err != nil {
		return nil, err
	}
	kept, err := s.Journal().Quarantined()
	if err != nil {
		return nil, err
	}
	here := map[cohort.StreamID]bool{}
	for _, p := range all {
		here[p.ID] = true
	}
	for _, st := range kept {
		here[st.ID] = true
	}
	return here, nil
}
