package audit

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// sources are all files that may be a whole copy of a data file or a manifest: those of data/, the published ones, all that
// quarantine/ and reaped/ keep, those of a Delta table, and those of a backup. A copy is known by its size and checksum, whatever its name is.
type sources struct {
	*generation.Store
	from   string // directory of a backup, or empty
	listed bool
	files  []source
	sums   map[string]generation.CRC
}

type source struct {
	path string
	size int64
}

// of finds a whole copy of a data file under another name than its own, those in the root first.
func (s *sources) of(want generation.DataFile) (path string, ok bool, err error) {
	if err := s.list(); err != nil {
		return "", false, err
	}
	for _, f := range s.files {
		if f.size != want.Size || f.path == s.Root.Data(want.Name) {
			continue
		}
		if sum, ok := s.sum(f.path); ok && sum == want.CRC32C {
			return f.path, true, nil
		}
	}
	return "", false, nil
}

// sum is the checksum of a file, read once. A file that cannot be read is no copy.
func (s *sources) sum(path string) (generation.CRC, bool) {
	sum, known := s.sums[path]
	if known {
		return sum, true
	}
	sum, err := s.Checksum(path)
	if err != nil {
		return 0, false
	}
	s.sums[path] = sum
	return sum, true
}

// named lists the sources with one of these endings.
func (s *sources) named(endings ...string) ([]source, error) {
	if err := s.list(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(s.files), func(f source) bool {
		return !slices.ContainsFunc(endings, func(end string) bool { return strings.Contains(filepath.Base(f.path), end) })
	}), nil
}

// list lists all sources, once.
func (s *sources) list() error {
	if s.listed {
		return nil
	}
	s.listed, s.sums = true, map[string]generation.CRC{}
	for _, name := range []string{s.Root.Index(), s.Root.Snapshots()} {
		s.add(name)
	}
	if s.Settings.Snapshots == cohort.PerCohort {
		entries, err := s.FS.ReadDir(s.Root.Cohorts())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if id, err := cohort.ParseID(e.Name()); err == nil && e.IsDir() {
				s.add(s.Root.SnapshotsOf(id))
			}
		}
	}
	for _, dir := range []string{s.Root.DataDir(), s.Root.QuarantineDir(), s.Root.ReapedDir(), s.Root.Delta()} {
		if err := s.below(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if s.from != "" {
		return s.below(s.from)
	}
	return nil
}

// below adds all files below a directory. It follows no link.
func (s *sources) below(dir string) error {
	entries, err := s.FS.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.IsDir() {
			s.add(path)
		} else if err := s.below(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (s *sources) add(path string) {
	if info, err := s.FS.Stat(path); err == nil && info.Mode().IsRegular() {
		s.files = append(s.files, source{path, info.Size()})
	}
}
