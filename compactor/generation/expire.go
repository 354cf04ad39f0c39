package generation

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// Keep says which generations stay.
type Keep struct {
	Generations int           // how many stay in any case
	Age         time.Duration // how long older ones stay after they were succeeded, by the file system's clock
}

// Expire removes manifests once the last keep.Generations do not include them and they were succeeded keep.Age ago, and
// the data files that only they name. m is the newest generation, after Heal or Publish. It returns how many manifests it
// removed; what could not be removed is told as NotSwept and tried again by the next call.
//
// Data files and temporary files that no manifest names go when they are that old: they may belong to an attempt that is
// still under way. Data files of a generation above m never go, however old they are: who made them may have slept,
// and commit them yet (R16). All ages are differences of times that one file system gave: no wall clock.
func (s *Store) Expire(m Manifest, keep Keep) (Expired, error) {
	now, err := s.time(m)
	if errors.Is(err, fs.ErrNotExist) {
		return Expired{}, nil // swept itself: others are far ahead, and sweeping is theirs
	}
	if err != nil {
		return Expired{}, err
	}
	e := expiry{Store: s, newest: m, keep: keep, now: now}
	named, ok, err := e.manifests()
	if ok && err == nil {
		e.files(named)
	}
	return e.done, err
}

// Expired is what Expire did and found.
type Expired struct {
	Manifests    int  // removed by this call
	TwoHistories bool // see the notice: nothing was removed
}

// expiry is one call of Expire.
type expiry struct {
	*Store
	newest Manifest
	keep   Keep
	now    time.Time
	done   Expired
}

// manifests removes old manifests and collects the names of the data files that the others name. ok is false where these
// are not all known.
func (e *expiry) manifests() (named map[string]bool, ok bool, err error) {
	gens, err := e.List()
	if err != nil {
		return nil, false, err
	}
	if Last(gens) < e.newest.Generation {
		return nil, false, nil // an old listing: it may lack more, whose data files we would remove
	}
	read, unreadable := e.readAll(gens)
	if g, met := Met(read); met {
		e.done.TwoHistories = true
		e.notify(TwoHistories{g})
		return nil, false, nil
	}
	sure, _ := slices.BinarySearch(gens, e.newest.Generation+1) // later ones may not be on the disk yet (R11)
	for i, g := range gens[:sure] {
		if e.isOld(gens[:sure], i) {
			if e.remove(e.Root.Manifest(g)) {
				e.done.Manifests++
			}
			delete(unreadable, g)
			read = slices.DeleteFunc(read, func(m Manifest) bool { return m.Generation == g })
		}
	}
	for g, err := range unreadable {
		if !IsVoid(read, g) { // unknown what it names: keep every data file
			e.notify(NotSwept{e.Root.Rel(e.Root.DataDir()), err})
			return nil, false, nil
		}
	}
	named = map[string]bool{}
	for _, m := range read {
		for _, d := range m.Files() {
			named[d.Name] = true
		}
	}
	return named, true, nil
}

// readAll reads manifests, oldest first. One that is gone meanwhile was swept by another compactor.
func (e *expiry) readAll(gens []cohort.Generation) (read []Manifest, unreadable map[cohort.Generation]error) {
	unreadable = map[cohort.Generation]error{}
	for _, g := range gens {
		if g == e.newest.Generation {
			read = append(read, e.newest)
			continue
		}
		m, err := e.Read(g)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			unreadable[g] = err
		default:
			read = append(read, m)
		}
	}
	return read, unreadable
}

// isOld tells whether the i-th generation was succeeded more than the age before now, and is not
// among the last ones.
func (e *expiry) isOld(gens []cohort.Generation, i int) bool {
	if i >= len(gens)-e.keep.Generations {
		return false
	}
	info, err := e.FS.Stat(e.Root.Manifest(gens[i+1]))
	return err == nil && e.now.Sub(info.ModTime()) > e.keep.Age
}

// files removes data files that nobody names, and temporary files wherever this module makes them.
func (e *expiry) files(named map[string]bool) {
	e.sweep(e.Root.DataDir(), func(name string) bool {
		g, _, ours := cohort.ParseDataName(name)
		return ours && g <= e.newest.Generation && !named[name] || durable.IsTemp(name)
	})
	e.sweep(e.Root.Manifests(), durable.IsTemp)
	e.sweep(string(e.Root), durable.IsTemp)
	if e.Settings.Snapshots == cohort.PerCohort {
		for _, f := range e.newest.Snapshots {
			e.sweep(e.Root.Cohort(f.Cohort), durable.IsTemp)
		}
	}
	if _, err := e.FS.Stat(e.Root.DamagedGenerations()); err == nil {
		e.sweep(e.Root.DamagedGenerations(), durable.IsTemp)
	}
	for _, id := range e.cohortsIn(e.Root.QuarantineDir()) {
		e.sweep(e.Root.Quarantine(id), durable.IsTemp)
	}
}

// cohortsIn lists the cohorts that have a directory in dir, which need not exist.
func (e *expiry) cohortsIn(dir string) []cohort.ID {
	entries, err := e.FS.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.notify(NotSwept{e.Root.Rel(dir), err})
	}
	var ids []cohort.ID
	for _, entry := range entries {
		if id, err := cohort.ParseID(entry.Name()); err == nil && entry.IsDir() {
			ids = append(ids, id)
		}
	}
	return ids
}

// sweep removes the files of dir that are not needed and have not been written for the age.
func (e *expiry) sweep(dir string, unneeded func(name string) bool) {
	entries, err := e.FS.ReadDir(dir)
	if err != nil {
		e.notify(NotSwept{e.Root.Rel(dir), err})
		return
	}
	for _, entry := range entries {
		if !unneeded(entry.Name()) {
			continue
		}
		if info, err := entry.Info(); err == nil && e.now.Sub(info.ModTime()) > e.keep.Age {
			e.remove(filepath.Join(dir, entry.Name()))
		}
	}
}

// remove deletes one file without syncing its directory: should a crash bring it back, it is swept
// again. It reports whether it did, and not another compactor.
func (e *expiry) remove(name string) (done bool) {
	err := e.FS.Remove(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.notify(NotSwept{e.Root.Rel(name), err})
	}
	return err == nil
}
