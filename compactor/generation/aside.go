package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// aside keeps what public names show before they are replaced. It is for one call of replacePublic.
type aside struct {
	*Store
	newest Manifest
	gap    string // see Store.gap

	data    []fs.DirEntry          // what is in data/
	infos   map[string]fs.FileInfo // of the data files that were asked; nil for one that is gone
	read    bool
	kept    []Manifest // older generations, newest first
	unknown bool       // one of them cannot be read

	others []NotOurs // what other programs have written, to be told at the end
}

// keep puts what the public name shows into quarantine/, unless a data file has the same bytes. It tells whether that name was
// broken: missing, although something was published before, or of no generation, which is told as NotOurs.
func (a *aside) keep(p Public) (broken bool, err error) {
	info, err := a.FS.Stat(p.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return a.wasPublished(p)
	case err != nil:
		return false, fmt.Errorf("look at published file: %w", err)
	case !info.Mode().IsRegular():
		a.notify(NotOurs{Path: a.Root.Rel(p.Name)}) // it has no bytes of its own
		return true, nil
	}
	linked, err := a.isData(p, info)
	if err != nil || linked {
		return false, err
	}
	if a.MayBeOld(0) && !a.isShared() {
		return false, nil // on a share it may be the file of a generation that is swept, which this machine still sees
	}
	shown, stands, err := a.shown(p)
	if err != nil || stands {
		return false, err
	}
	kept, err := a.Keep(p.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil // another compactor replaces it, too
	case err != nil:
		return false, err
	case shown, a.unknown:
		return false, nil // it is of a generation whose data file is gone, or may be
	}
	if kept != "" {
		kept = a.Root.Rel(kept)
	}
	a.tell(NotOurs{Path: a.Root.Rel(p.Name), Kept: kept})
	return true, nil
}

// tell tells of a public name that showed what no generation published; in a root whose public names others write as well, at the end.
func (a *aside) tell(n NotOurs) {
	if a.isShared() && n.Kept != "" {
		a.others = append(a.others, n)
		return
	}
	a.notify(n)
}

// tellOthers tells of what other programs have written, with the command that takes all of it in.
func (a *aside) tellOthers() {
	command := "compactd import --root " + word(string(a.Root))
	for _, n := range a.others {
		kind := "snapshots"
		if n.Path == a.Root.Rel(a.Root.Index()) {
			kind = "index"
		}
		command += fmt.Sprintf(" --%s %s", kind, word(filepath.Join(string(a.Root), filepath.FromSlash(n.Kept))))
	}
	for _, n := range a.others {
		n.Import = command
		a.notify(n)
	}
	a.others = nil
}

// word is a path as a shell takes it.
func word(path string) string {
	strange := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._+,=@:%-", r)
	}
	if !strings.ContainsFunc(path, strange) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// wasPublished tells whether a name that is missing was published before: a later one of the newest generation was, or it
// belongs to an older generation as well.
func (a *aside) wasPublished(p Public) (bool, error) {
	if a.passed(p) {
		return true, nil
	}
	if err := a.readKept(); err != nil {
		return false, err
	}
	return slices.ContainsFunc(a.kept, func(m Manifest) bool {
		return slices.ContainsFunc(a.public(m), func(q Public) bool { return q.Name == p.Name })
	}), nil
}

// passed tells whether a later name of the newest generation is published.
func (a *aside) passed(p Public) bool {
	all := a.public(a.newest)
	at := func(name string) int { return slices.IndexFunc(all, func(q Public) bool { return q.Name == name }) }
	return at(p.Name) < at(a.gap)
}

// isData tells whether what stands under a public name is one file with a data file, so that nothing goes with that name. As a rule it is that of the generation
// before, and there may be thousands: the newest of its kind are asked first.
func (a *aside) isData(p Public, public fs.FileInfo) (bool, error) {
	if a.data == nil {
		entries, err := a.FS.ReadDir(a.Root.DataDir())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("list data files: %w", err)
		}
		a.data, a.infos = entries, map[string]fs.FileInfo{}
	}
	kind, _, _ := strings.Cut(p.Data.Name, "-")
	for _, same := range []bool{true, false} {
		for _, e := range slices.Backward(a.data) { // sorted by kind, then by generation
			if strings.HasPrefix(e.Name(), kind+"-") != same {
				continue
			}
			if info := a.infoOf(e.Name()); info != nil && durable.SameFile(info, public) {
				return true, nil
			}
		}
	}
	return false, nil
}

// infoOf looks at a file of data/, once: where public names are copies, each of them asks for all data files. It is nil if the file is gone, or has not the name of a data file.
func (a *aside) infoOf(name string) fs.FileInfo {
	info, asked := a.infos[name]
	if _, _, ours := cohort.ParseDataName(name); ours && !asked {
		info, _ = a.FS.Stat(a.Root.Data(name))
		a.infos[name] = info
	}
	return info
}

// shown tells whether a public file has the bytes of an older generation, and whether the data file of that has them as well.
func (a *aside) shown(p Public) (shown, stands bool, err error) {
	if err := a.readKept(); err != nil {
		return false, false, err
	}
	for _, m := range a.kept {
		for _, q := range a.public(m) {
			if q.Name != p.Name {
				continue
			}
			ok, err := a.shows(q.Name, q.Data)
			if err != nil {
				return false, false, err
			}
			if ok {
				return true, a.CheckFile(q.Data) == nil, nil
			}
		}
	}
	return false, false, nil
}

// readKept reads the manifests below the newest, once.
func (a *aside) readKept() error {
	if a.read {
		return nil
	}
	gens, err := a.List()
	if err != nil {
		return err
	}
	for _, g := range slices.Backward(gens) {
		if g >= a.newest.Generation {
			continue
		}
		m, err := a.Read(g)
		switch {
		case err == nil:
			a.kept = append(a.kept, m)
		case !errors.Is(err, fs.ErrNotExist): // else it was swept
			a.unknown = true
		}
	}
	a.read = true
	return nil
}

// Keep puts the bytes of a file of the root into quarantine/.generations/, under its own name, or under one with their checksum
// where that name has other bytes. What was kept before is never replaced. On success the copy is durable. The file itself stays.
//
// A file that the disk cannot read is kept as a hard link, whose bytes may come back. Where links are missing there is nothing to
// keep, and kept is empty.
func (s *Store) Keep(path string) (kept string, err error) {
	sum, err := s.checksum(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("keep %s: %w", s.Root.Rel(path), err)
	}
	dir := s.Root.DamagedGenerations()
	if err := s.makeDir(dir); err != nil {
		return "", fmt.Errorf("keep %s: %w", s.Root.Rel(path), err)
	}
	if err != nil {
		return s.keepUnread(path, filepath.Join(dir, filepath.Base(path)+"-unreadable"))
	}
	kept = filepath.Join(dir, filepath.Base(path))
	if was, err := s.checksum(kept); err == nil && was != sum {
		kept += "-" + sum.String()
	}
	if was, err := s.checksum(kept); err == nil && was == sum {
		return kept, durable.SyncDir(s.FS, dir) // another run has kept it, and may not have synced its name (R14)
	}
	if err := durable.ReplaceWith(s.FS, kept, path, s.Settings.FileMode.FS()); err != nil {
		return "", fmt.Errorf("keep %s: %w", s.Root.Rel(path), err)
	}
	return kept, nil
}

// keepUnread keeps a file that cannot be read.
func (s *Store) keepUnread(path, kept string) (string, error) {
	err := s.FS.Link(path, kept)
	if errors.Is(err, fs.ErrExist) { // of an earlier run, which may not have synced its name; another file of this name is left alone
		err = nil
	}
	if err != nil {
		return "", nil
	}
	return kept, durable.SyncDir(s.FS, s.Root.DamagedGenerations())
}
