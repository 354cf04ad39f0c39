package compactor

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// sweepStreams moves each stream that h has folded to its seal out of its cohort; h must be committed.
// Nothing depends on it: what cannot be moved now is noted and tried again by the next run, which begins
// with it. The rename makes it atomic: a reader or a compactor sees a whole stream or none. It is not
// synced, for if it is undone by a crash the stream is read again and every record of it is a duplicate.
func (f *folder) sweepStreams(h head) {
	for _, m := range h.Streams {
		if !m.Sealed {
			continue
		}
		from, to := f.Root.Stream(m.Stream.Cohort, m.Stream.ID), f.Root.Reaped(m.Stream.Cohort, m.Stream.ID)
		if m.Damaged {
			to = f.Root.Quarantined(m.Stream.Cohort, m.Stream.ID)
			f.sweepStream(f.Root.Reaped(m.Stream.Cohort, m.Stream.ID), to)
		}
		f.sweepStream(from, to)
	}
}

func (f *folder) sweepStream(from, to string) {
	err := f.moveAway(from, to)
	if err == nil {
		f.report.Swept++
	} else if !errors.Is(err, fs.ErrNotExist) {
		f.notify(NotSwept{f.Root.Rel(from), err})
	}
}

// cohortsIn lists the cohorts that have a directory in dir, which need not exist.
func (f *folder) cohortsIn(dir string) []cohort.ID {
	entries, err := f.FS.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.notify(NotSwept{f.Root.Rel(dir), err})
	}
	var ids []cohort.ID
	for _, e := range entries {
		if id, err := cohort.ParseID(e.Name()); err == nil && e.IsDir() {
			ids = append(ids, id)
		}
	}
	return ids
}

// moveAway renames a stream's directory and makes the parent that it needs.
func (f *folder) moveAway(from, to string) error {
	if _, err := f.FS.Stat(from); err != nil {
		return err
	}
	if err := f.staysWithin(from, filepath.Dir(from), filepath.Dir(to)); err != nil {
		return err
	}
	err := f.FS.Rename(from, to)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := durable.MkdirAll(f.FS, filepath.Dir(to), f.settings.DirMode.FS()); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// sweepGenerations removes manifests, and the data files that only they name, once the last
// KeepGenerations do not include them and they were succeeded KeepAge ago. Data files and temporary
// files that no manifest names go when they are that old: they may belong to an attempt that is still
// under way. Data files of a generation behind h never go, however old they are: who made them may have slept,
// and commit them yet (R16). All ages are differences of times that one file system gave: no wall clock.
func (f *folder) sweepGenerations(h head) error {
	now, err := f.fileSystemTime(h)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // swept itself: others are far ahead, and sweeping is theirs
	}
	if err != nil {
		return err
	}
	gens, err := generations(f.FS, f.Root)
	if err != nil {
		return err
	}
	if newestOf(gens) < h.Generation {
		return nil // an old listing: it may lack more, whose data files we would remove
	}
	keep := map[string]bool{}
	keepFiles := func(m head) {
		for _, d := range m.files() {
			keep[d.Name] = true
		}
	}
	keepFiles(h)
	kept, unreadable := []head{h}, map[cohort.Generation]error{}
	sure, _ := slices.BinarySearch(gens, h.Generation+1) // later ones may not be on the disk yet (R11)
	for i, g := range gens {
		if i < sure && f.isOld(gens[:sure], i, now) {
			if f.remove(f.Root.Manifest(g)) {
				f.report.SweptGens++
			}
			continue
		}
		m, err := readManifest(f.FS, f.Root, g)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			unreadable[g] = err
		default:
			kept = append(kept, m)
			keepFiles(m)
		}
	}
	for g, err := range unreadable {
		if !isVoid(kept, g) { // unknown what it names: keep every data file
			f.notify(NotSwept{f.Root.Rel(f.Root.DataDir()), err})
			return nil
		}
	}
	f.sweepFiles(f.Root.DataDir(), now, func(name string) bool {
		g, _, ours := cohort.ParseDataName(name)
		return ours && g <= h.Generation && !keep[name] || durable.IsTemp(name)
	})
	f.sweepFiles(f.Root.Manifests(), now, durable.IsTemp)
	f.sweepFiles(string(f.Root), now, durable.IsTemp)
	if f.settings.Snapshots == cohort.PerCohort {
		for _, s := range h.Snapshots {
			f.sweepFiles(f.Root.Cohort(s.Cohort), now, durable.IsTemp)
		}
	}
	f.sweepQuarantine(now)
	return nil
}

// sweepQuarantine removes the temporary files of notes that were never finished, and nothing else.
func (f *folder) sweepQuarantine(now time.Time) {
	for _, id := range f.cohortsIn(f.Root.QuarantineDir()) {
		f.sweepFiles(f.Root.Quarantine(id), now, durable.IsTemp)
	}
}

// isOld tells whether the i-th generation was succeeded more than KeepAge before now, and is not
// among the last ones.
func (f *folder) isOld(gens []cohort.Generation, i int, now time.Time) bool {
	if i >= len(gens)-f.KeepGenerations {
		return false
	}
	info, err := f.FS.Stat(f.Root.Manifest(gens[i+1]))
	return err == nil && now.Sub(info.ModTime()) > f.KeepAge
}

// fileSystemTime is the latest time that the root's file system is known to have given: to the newest
// manifest, or to the lock file, which every holder writes.
func (f *folder) fileSystemTime(h head) (time.Time, error) {
	info, err := f.FS.Stat(f.Root.Manifest(h.Generation))
	if err != nil {
		return time.Time{}, fmt.Errorf("look at the newest manifest: %w", err)
	}
	now := info.ModTime()
	if lock, err := f.FS.Stat(f.Root.CompactLock()); err == nil && lock.ModTime().After(now) {
		now = lock.ModTime()
	}
	return now, nil
}

// now is fileSystemTime as a stamp, for a root without manifests too; 0 if nothing tells it.
func (f *folder) now(h head) cohort.Stamp {
	now, _ := f.fileSystemTime(h)
	if h.Generation == 0 {
		if lock, err := f.FS.Stat(f.Root.CompactLock()); err == nil {
			now = lock.ModTime()
		}
	}
	if now.Before(time.Unix(0, 1)) {
		return 0
	}
	return cohort.Stamp(now.UnixNano())
}

// sweepFiles removes the files of dir that are not needed and have not been written for KeepAge.
func (f *folder) sweepFiles(dir string, now time.Time, unneeded func(name string) bool) {
	entries, err := f.FS.ReadDir(dir)
	if err != nil {
		f.notify(NotSwept{f.Root.Rel(dir), err})
		return
	}
	for _, e := range entries {
		if !unneeded(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > f.KeepAge {
			f.remove(filepath.Join(dir, e.Name()))
		}
	}
}

// remove deletes one file without syncing its directory: should a crash bring it back, it is swept
// again. It reports whether it did, and not another compactor.
func (f *folder) remove(name string) (done bool) {
	err := f.FS.Remove(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.notify(NotSwept{f.Root.Rel(name), err})
	}
	return err == nil
}
