package generation

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// isShared tells whether other programs may write the public names: those of FoxML save whole files there. Then each public name is a file of its own,
// and not a second name of a data file: a program that writes into it does no harm to what a manifest names.
func (s *Store) isShared() bool { return s.Settings.Profile != cohort.NoProfile }

// SetAside are the files, relative to the root, that other programs have saved over public names, and that a run has put into quarantine/. There are none
// where no others are expected.
func (s *Store) SetAside() (names []string, err error) {
	if !s.isShared() {
		return nil, nil
	}
	entries, err := s.FS.ReadDir(s.Root.DamagedGenerations())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	for _, e := range entries {
		for _, public := range []string{s.Root.Index(), s.Root.Snapshots()} {
			if e.Type().IsRegular() && strings.HasPrefix(e.Name(), filepath.Base(public)) {
				names = append(names, s.Root.Rel(filepath.Join(s.Root.DamagedGenerations(), e.Name())))
			}
		}
	}
	return names, nil
}

// exchange makes a public name show its data file, in a root whose public names others write as well. What stood there goes to quarantine/ in the same step, so
// that nothing is lost which another program wrote a moment before, or writes on into the file that it has open. There it is removed again if a kept
// generation has the same bytes, and else told as NotOurs. It tells whether the name was broken: see keep.
//
// A file system that cannot exchange two names is left with less: what is written between the look and the replacement is lost.
func (a *aside) exchange(p Public) (broken bool, err error) {
	if info, err := a.FS.Stat(p.Name); err == nil && !info.Mode().IsRegular() {
		return a.replaceLink(p)
	}
	dir := a.Root.DamagedGenerations()
	if err := a.makeDir(dir); err != nil {
		return false, fmt.Errorf("keep %s: %w", a.Root.Rel(p.Name), err)
	}
	token, err := newToken()
	if err != nil {
		return false, err
	}
	kept := filepath.Join(dir, filepath.Base(p.Name)+"-"+string(token))
	took, err := durable.Exchange(a.FS, p.Name, a.Root.Data(p.Data.Name), kept, a.Settings.FileMode.FS())
	if errors.Is(err, errors.ErrUnsupported) {
		if broken, err = a.keep(p); err == nil {
			err = a.copyOver(p)
		}
		return broken, err
	}
	if !took {
		if err != nil {
			return false, err
		}
		return a.wasPublished(p)
	}
	broken, terr := a.tookAway(p, kept)
	return broken, cmp.Or(err, terr)
}

// replaceLink is exchange for a public name that is a link, a pipe or the like, which has no bytes of its own.
func (a *aside) replaceLink(p Public) (bool, error) {
	a.notify(NotOurs{Path: a.Root.Rel(p.Name)})
	return true, a.copyOver(p)
}

// copyOver replaces a public name by a copy of its data file.
func (s *Store) copyOver(p Public) error {
	data, err := s.FS.Open(s.Root.Data(p.Data.Name))
	if err != nil {
		return err
	}
	defer data.Close()
	temp, err := durable.TempName(p.Name)
	if err != nil {
		return err
	}
	if _, err := durable.Copy(s.FS, temp, data, s.Settings.FileMode.FS()); err != nil {
		return err
	}
	return durable.MoveOver(s.FS, temp, p.Name)
}

// tookAway decides what stays of a file that was taken from a public name.
func (a *aside) tookAway(p Public, kept string) (broken bool, err error) {
	same, err := a.isOf(a.newest, p, kept)
	if err != nil {
		return false, err
	}
	if same {
		return false, durable.Remove(a.FS, kept)
	}
	if err := a.readKept(); err != nil {
		return false, err
	}
	for _, m := range a.kept {
		same, err := a.isOf(m, p, kept)
		if err != nil {
			return false, err
		}
		if !same {
			continue
		}
		for _, q := range a.public(m) {
			if q.Name == p.Name && a.CheckFile(q.Data) != nil {
				return false, nil // it may be the only whole copy
			}
		}
		return false, durable.Remove(a.FS, kept)
	}
	if a.unknown {
		return false, nil // it may be of a generation whose manifest cannot be read
	}
	a.tell(NotOurs{Path: a.Root.Rel(p.Name), Kept: a.Root.Rel(kept)})
	return true, nil
}

// isOf tells whether a file has the bytes that a generation has for a public name.
func (s *Store) isOf(m Manifest, p Public, file string) (bool, error) {
	if m.Generation == 0 {
		return false, nil
	}
	for _, q := range s.public(m) {
		if q.Name == p.Name {
			same, err := s.shows(file, q.Data)
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil
			}
			return same, err
		}
	}
	return false, nil
}
