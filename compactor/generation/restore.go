package generation

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/runfold/runfold/internal/durable"
)

// Checksum is the CRC32C of a whole file, as manifests state it.
func (s *Store) Checksum(path string) (CRC, error) { return s.checksum(path) }

// Restore makes a data file anew from a copy that has its bytes, which may lie outside of the root. What stands in its place is kept in
// quarantine/ first. A copy with other bytes is ErrCorrupt, and changes nothing. On success the data file is durable. It is a file
// of its own, so what is written to the copy later does not change it. A data file that is whole already stays.
func (s *Store) Restore(want DataFile, from string) error {
	if err := s.CheckFile(want); err == nil {
		return nil
	}
	path := s.Root.Data(want.Name)
	info, err := s.FS.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("restore %s: a directory is in its place: move it away", path)
	case err == nil && info.Mode().IsRegular():
		if _, err := s.Keep(path); err != nil {
			return err
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("restore %s: %w", path, err)
	}
	if err := s.makeDir(s.Root.DataDir()); err != nil {
		return fmt.Errorf("restore %s: %w", path, err)
	}
	if err := s.copyData(want, from); err != nil {
		return fmt.Errorf("restore %s from %s: %w", path, from, err)
	}
	return nil
}

// copyData writes a data file from a copy. The name is right only for these bytes, so they are summed before it is given.
func (s *Store) copyData(want DataFile, from string) (err error) {
	if err := durable.Regular(s.FS, from); err != nil {
		return err
	}
	r, err := s.FS.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := s.newFile(want.Name, nil, nil)
	if err != nil {
		return err
	}
	defer w.discard(&err)
	if _, err := io.Copy(struct{ io.Writer }{w}, r); err != nil {
		return err
	}
	if w.n != want.Size || w.sum() != want.CRC32C {
		return fmt.Errorf("%w: its bytes are not those that were committed", ErrCorrupt)
	}
	_, err = w.commit()
	return err
}
