package audit

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// A damaged generation before the newest is no danger yet: the newest is whole. But it cannot stand in for it. A repair makes its data
// files anew from copies, or puts it aside, so that check has nothing to tell any more and nobody relies on it.

// oldGeneration is a damaged generation before the newest one.
type oldGeneration struct {
	number   cohort.Generation
	files    []generation.DataFile // that no other manifest names; none if the manifest cannot be read
	restores []restore
	whole    bool // once restores are done
}

// older looks for damage in the ancestors of the newest generation, as Check does.
func (r *repairer) older(ctx context.Context) error {
	if err := r.readChain(); err != nil {
		return err
	}
	gens, err := r.List()
	if err != nil {
		return err
	}
	// What is above good is void, or will be.
	upTo := slices.DeleteFunc(slices.Clone(r.chain), func(m generation.Manifest) bool { return m.Generation >= r.out.Good })
	line, _ := generation.Ancestors(append(upTo, r.good))
	isOn := map[cohort.Generation]bool{}
	for _, m := range line {
		isOn[m.Generation] = true
	}
	for i := len(gens) - 1; i >= 0; i-- {
		g := gens[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		if g >= r.out.Good {
			continue
		}
		m, err := r.Read(g)
		switch {
		case errors.Is(err, fs.ErrNotExist): // swept
		case errors.Is(err, cohort.ErrNewer):
			return err
		case err != nil && !generation.IsVoid(r.chain, g):
			r.out.Old = append(r.out.Old, Problem{r.Root.Rel(r.Root.Manifest(g)), err.Error(), true})
			r.old = append(r.old, oldGeneration{number: g, files: r.filesOf(g)})
		case err == nil && isOn[g]: // what is not is void, or left over
			if err := r.oldFiles(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// oldFiles looks at the data files of one generation that no later one shares.
func (r *repairer) oldFiles(m generation.Manifest) error {
	restores, damaged, whole, err := r.copies(m)
	if err != nil || len(damaged) == 0 || generation.IsVoid(r.chain, m.Generation) {
		return err
	}
	old := oldGeneration{number: m.Generation, restores: restores, whole: whole}
	for _, d := range m.Files() {
		if !r.isNamed(d.Name, m.Generation) {
			old.files = append(old.files, d)
		}
	}
	for _, p := range damaged {
		if !r.told[p.Path] && !slices.Contains(r.out.Damaged, p) {
			r.told[p.Path] = true
			r.out.Old = append(r.out.Old, p)
		}
	}
	r.use(restores)
	r.old = append(r.old, old)
	return nil
}

// isNamed tells whether another manifest than that of g names a data file.
func (r *repairer) isNamed(name string, g cohort.Generation) bool {
	for _, m := range r.chain {
		for _, d := range m.Files() {
			if m.Generation != g && d.Name == name {
				return true
			}
		}
	}
	return false
}

// filesOf are the data files that a generation made and that no manifest names which can be read.
func (r *repairer) filesOf(g cohort.Generation) (all []generation.DataFile) {
	entries, err := r.FS.ReadDir(r.Root.DataDir())
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if of, _, ours := cohort.ParseDataName(e.Name()); ours && of == g && !r.isNamed(e.Name(), g) {
			all = append(all, generation.DataFile{Name: e.Name()})
		}
	}
	return all
}

// mendOlder restores the data files of damaged older generations, or puts these generations aside. They go from the top: a generation
// whose child is put aside is no ancestor of the newest any more.
func (r *repairer) mendOlder() error {
	for _, old := range r.old {
		if !old.whole {
			if err := r.setAside(old); err != nil {
				return err
			}
			continue
		}
		for _, d := range old.restores {
			if err := r.Restore(d.file, d.from); err != nil {
				return err
			}
		}
	}
	return nil
}

// setAside moves all files of a generation to quarantine/: first it keeps all of them there, then its manifest goes, then the others. A
// crash in between leaves data files that nobody names.
func (r *repairer) setAside(old oldGeneration) error {
	paths := []string{r.Root.Manifest(old.number)}
	for _, d := range old.files {
		paths = append(paths, r.Root.Data(d.Name))
	}
	for _, path := range paths {
		if durable.Regular(r.FS, path) != nil {
			continue // a link has no bytes of its own
		}
		if _, err := r.Keep(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// The manifest goes first, and durably: a manifest must not name files that are gone.
	for _, path := range paths {
		if err := durable.Remove(r.FS, path); err != nil {
			return err
		}
	}
	return nil
}
