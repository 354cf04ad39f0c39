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

// Gone is a generation that was removed.
type Gone struct {
	Generation cohort.Generation `json:"generation"`
	SHA256     string            `json:"manifest_sha256"` // of its manifest; empty if that could not be read
}

// Remains is a file that may hold what was erased, and why it stays.
type Remains struct {
	Path string `json:"path"` // relative to the root
	Why  string `json:"why"`
	Once bool   `json:"-"` // it is gone from the root, so no later call finds it
}

// Purged is what Purge did.
type Purged struct {
	Gone  []Gone
	Files []string // data files and temporary files that were removed, relative to the root
	Left  []Remains
}

// Second is a whole generation beside newest that is without all that was erased, and has no file in common with it. ok is false if there is
// none: the newest must be written once more, whole, before Purge.
func (s *Store) Second(newest Manifest) (second Manifest, ok bool, err error) {
	gens, err := s.List()
	if err != nil {
		return Manifest{}, false, err
	}
	shared := named([]Manifest{newest})
	for _, g := range slices.Backward(gens) {
		m, err := s.Read(g)
		if g >= newest.Generation || err != nil || !m.Without(&newest) {
			continue
		}
		bad := func(d DataFile) bool { return shared[d.Name] || s.CheckSize(d) != nil }
		if !slices.ContainsFunc(m.Files(), bad) {
			return m, true, nil
		}
	}
	return Manifest{}, false, nil
}

// Purge removes every generation before the last erasure, whatever is to be kept, and every data file and temporary file that such a
// generation, or an attempt at one, may have left. newest is the newest generation and second what Second gave. Both are read whole
// first, because they are all that stays.
//
// On success what was removed is gone also after a power loss:
//
//	openat manifests; unlinkat old manifests; fsync manifests; unlinkat data files; fsync data
//
// What it cannot remove it names. A call that was cut off is done again. ErrConflict: newest is not the newest any more.
func (s *Store) Purge(newest, second Manifest) (done Purged, err error) {
	if newest.Erased == nil {
		return done, nil
	}
	for _, d := range append(newest.Files(), second.Files()...) {
		if err := s.CheckFile(d); err != nil {
			return done, s.damagedData(newest, d, err)
		}
	}
	p := purge{Store: s, newest: newest, since: newest.Erased.Since}
	log, err := s.FS.OpenDir(s.Root.Manifests())
	if err != nil {
		return done, fmt.Errorf("remove generations: %w", err)
	}
	defer log.Close()
	kept, err := p.manifests()
	if err == nil {
		// Also where this call has removed none: another one may have removed them a moment ago (R23).
		err = durable.Sync(s.FS, log, s.Root.Manifests())
	}
	if err == nil {
		err = p.files(kept)
	}
	return p.done, err
}

// purge is one call of Purge.
type purge struct {
	*Store
	newest Manifest
	since  cohort.Generation
	apart  map[cohort.Token]bool // attempts whose rows are nowhere else
	others []fs.FileInfo         // see namesElsewhere
	done   Purged
}

// manifests removes those of generations with what was erased. It returns those that stay.
func (p *purge) manifests() (kept []Manifest, err error) {
	gens, err := p.List()
	if err != nil {
		return nil, err
	}
	if Last(gens) != p.newest.Generation {
		return nil, fmt.Errorf("generation %d came: %w", Last(gens), ErrConflict)
	}
	var read []Manifest
	unreadable := map[cohort.Generation]bool{}
	for _, g := range gens {
		m, err := p.Read(g)
		switch {
		case err == nil:
			read = append(read, m)
		case !errors.Is(err, fs.ErrNotExist):
			unreadable[g] = true
		}
	}
	if g, met := p.Met(p.newest, read); met {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, TwoHistories{g})
	}
	if err := p.stranded(read); err != nil {
		return nil, err
	}
	for _, g := range gens {
		i := slices.IndexFunc(read, func(m Manifest) bool { return m.Generation == g })
		switch {
		case i >= 0 && read[i].Without(&p.newest):
			kept = append(kept, read[i])
		case i >= 0 && !p.manifest(Gone{g, read[i].digest}):
			kept = append(kept, read[i]) // it stands, so what it names stays (R23)
		case unreadable[g] && g >= p.since:
			p.left(p.Root.Manifest(g), errors.New("it cannot be read, so nobody knows what it names: compactd repair"))
		case unreadable[g]:
			p.manifest(Gone{Generation: g})
		}
	}
	return kept, nil
}

// manifest removes one manifest, and tells whether it is gone.
func (p *purge) manifest(g Gone) (gone bool) {
	path := p.Root.Manifest(g.Generation)
	err := p.FS.Remove(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.left(path, err)
		return false
	}
	if err == nil {
		p.done.Gone = append(p.done.Gone, g)
	}
	return true
}

// stranded finds the attempts that hold rows which nobody else has. They are another copy's, and not ours to remove.
func (p *purge) stranded(all []Manifest) error {
	names, err := p.Unnamed(p.newest, all)
	if err != nil {
		return err
	}
	found, err := p.Stranded(p.newest, names)
	if err != nil {
		return err
	}
	p.apart = map[cohort.Token]bool{}
	for _, n := range found {
		_, token, _ := cohort.ParseDataName(n.File)
		p.apart[token] = true
		p.left(p.Root.Data(n.File), errors.New(n.Reason()))
	}
	return nil
}

// files removes the data files up to the erasure that no manifest names any more, and the temporary files of such.
func (p *purge) files(kept []Manifest) error {
	dir := p.Root.DataDir()
	entries, err := p.FS.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("remove data files: %w", err)
	}
	names := named(kept)
	p.namesElsewhere()
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".nfs") {
			p.left(filepath.Join(dir, name), errors.New("somebody on NFS has a removed file open: it goes when that program closes it"))
		}
		if durable.IsTemp(name) {
			name = ofTemp(name)
		}
		g, token, ours := cohort.ParseDataName(name)
		if !ours || g > p.since || names[entry.Name()] || p.apart[token] {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		p.linked(path)
		err := p.FS.Remove(path)
		switch {
		case err == nil:
			p.done.Files = append(p.done.Files, p.Root.Rel(path))
		case !errors.Is(err, fs.ErrNotExist):
			p.left(path, err)
		}
	}
	if err := durable.SyncDir(p.FS, dir); err != nil {
		return fmt.Errorf("remove data files: %w", err)
	}
	return nil
}

// linked tells of names that a data file has outside of the root.
func (p *purge) linked(path string) {
	info, err := p.FS.Stat(path)
	if err != nil {
		return
	}
	n, known := durable.Links(info)
	for _, other := range p.others {
		if durable.SameFile(info, other) {
			n--
		}
	}
	if known && n > 1 {
		p.left(path, fmt.Errorf("it was removed here, and the file has another name outside of the root (hard links: %d), perhaps in a copy of it: remove that", n-1))
		p.done.Left[len(p.done.Left)-1].Once = true
	}
}

// namesElsewhere are the files of the root that may be one file with a data file: public ones, which may have the same bytes still, temporary
// ones of a publication that was killed, those of the Delta table, and those in quarantine/. The last three are looked through later.
func (p *purge) namesElsewhere() {
	dirs := map[string]bool{p.Root.DamagedGenerations(): true, p.Root.Delta(): true}
	for _, q := range p.public(p.newest) {
		dirs[filepath.Dir(q.Name)] = true
	}
	for dir := range dirs {
		entries, err := p.FS.ReadDir(dir)
		if err != nil {
			continue // as a rule nothing is in quarantine/
		}
		for _, e := range entries {
			if !e.Type().IsRegular() {
				continue
			}
			if info, err := p.FS.Stat(filepath.Join(dir, e.Name())); err == nil {
				p.others = append(p.others, info)
			}
		}
	}
}

func (p *purge) left(path string, why error) {
	p.done.Left = append(p.done.Left, Remains{Path: p.Root.Rel(path), Why: why.Error()})
}

// ofTemp is the name for which a temporary file was made.
func ofTemp(temp string) string {
	name := strings.TrimSuffix(strings.TrimPrefix(temp, "."), ".tmp")
	return strings.TrimSuffix(name, filepath.Ext(name))
}
