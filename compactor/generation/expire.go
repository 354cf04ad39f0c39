package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// Keep says which generations stay.
type Keep struct {
	Generations int // how many stay in any case; two whole ones stay, also if it is less
	// Age is how long older ones stay after they were succeeded, by the file system's clock. If negative, they do not stay, and what the
	// root's retention would keep does not either.
	Age   time.Duration
	Shown bool // whether those stay that public names still show, because these could not be replaced
	// Room is how many bytes somebody needs who just found no room: what retention keeps gives way to that.
	Room int64
}

// Expire removes manifests once the last keep.Generations do not include them and they were succeeded keep.Age ago, and
// the data files that only they name. m is the newest generation, after Heal or Publish. It returns how many manifests it
// removed; what could not be removed is told as NotSwept and tried again by the next call.
//
// Beyond keep, those stay that the root's retention names (see Retention), as long as the disk has room. A generation that is void stays
// for none of its reasons.
//
// Whatever keep says, two whole generations with an index of their own stay: the streams that the older one had folded are
// deleted once the newer one is committed, so only these two can stand in for each other.
//
// A data file goes only after the manifests that name it, and after the disk knows that these are gone (R23):
//
//	openat manifests; unlinkat old manifests; fsync manifests; unlinkat data files and temporary files
//
// Data files and temporary files that no manifest named go when they are that old: they may belong to an attempt that is
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
	// The directory is open before its first change, so that its sync hears of every error since (S2).
	log, err := s.FS.OpenDir(s.Root.Manifests())
	if err != nil {
		return Expired{}, fmt.Errorf("sweep generations: %w", err)
	}
	defer log.Close()
	e := expiry{Store: s, newest: m, keep: keep, now: now, log: log}
	kept, ok, err := e.manifests()
	if ok && err == nil && !e.areStranded(kept) {
		e.files(kept)
	}
	return e.done, err
}

// Expired is what Expire did and found.
type Expired struct {
	Manifests    int  // removed by this call
	TwoHistories bool // see the notices TwoHistories and Stranded: no data file was removed
}

// expiry is one call of Expire.
type expiry struct {
	*Store
	newest Manifest
	keep   Keep
	now    time.Time
	times  map[cohort.Generation]time.Time // of the files of manifests, as far as they were looked at
	ours   map[string]bool                 // data files of manifests that were there when this call began
	data   []fs.DirEntry                   // what stood in data/ after manifests were removed
	log    durable.Dir                     // manifests/, open since before the first removal
	undone error                           // why the removals of manifests may not be on the disk
	done   Expired
}

// manifests removes old manifests and collects the names of the data files that the others name. ok is false where these
// are not all known.
func (e *expiry) manifests() (kept map[string]bool, ok bool, err error) {
	gens, err := e.List()
	if err != nil {
		return nil, false, err
	}
	if Last(gens) < e.newest.Generation {
		return nil, false, nil // an old listing: it may lack more, whose data files we would remove
	}
	read, unreadable := e.readAll(gens)
	e.ours = named(read)
	if g, met := e.Met(e.newest, read); met {
		e.done.TwoHistories = true
		e.notify(TwoHistories{g})
		return nil, false, nil
	}
	sure, _ := slices.BinarySearch(gens, e.newest.Generation+1) // later ones may not be on the disk yet (R11)
	whole := sync.OnceValue(func() cohort.Generation { return e.secondWhole(slices.Clone(read)) })
	shown := sync.OnceValues(e.shown)
	var old []cohort.Generation
	for i, g := range gens[:sure] {
		if !e.isOld(gens[:sure], i) || g >= whole() {
			continue
		}
		if public, err := shown(); err != nil || public[g] {
			continue
		}
		old = append(old, g)
	}
	for _, g := range e.beyond(read, unreadable, old) {
		if !e.mayForget(read, unreadable, g) {
			continue
		}
		done, gone := e.remove(e.Root.Manifest(g))
		if done {
			e.done.Manifests++
		}
		if !gone {
			continue // it stands, so the data files that it names stay, too
		}
		delete(unreadable, g)
		read = slices.DeleteFunc(read, func(m Manifest) bool { return m.Generation == g })
	}
	for g, err := range unreadable {
		if !IsVoid(read, g) { // unknown what it names: keep every data file
			e.notify(NotSwept{e.Root.Rel(e.Root.DataDir()), err})
			return nil, false, nil
		}
	}
	return named(read), true, nil
}

// readAll reads manifests, oldest first. One that is gone meanwhile was swept by another compactor.
func (e *expiry) readAll(gens []cohort.Generation) (read []Manifest, unreadable map[cohort.Generation]error) {
	unreadable, e.times = map[cohort.Generation]error{}, map[cohort.Generation]time.Time{}
	e.Cache.keep(gens)
	far := e.remote()
	for _, g := range gens {
		if g == e.newest.Generation {
			read = append(read, e.newest)
			continue
		}
		m, at, err := e.outline(g, far)
		if !at.IsZero() {
			e.times[g] = at
		}
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

// secondWhole is the earlier one of the two newest generations that are whole and have an index of their own; 0 if there are
// no two. A commit that changes no row names the index of the one before, and is no second copy of it (R18). A void generation
// does not count, and neither does one whose files are gone or cut off.
func (e *expiry) secondWhole(read []Manifest) cohort.Generation {
	first, child := "", (*Manifest)(nil)
	for i := range slices.Backward(read) {
		m := &read[i]
		if m.Generation > e.newest.Generation || child != nil && !isBefore(m, child) {
			continue
		}
		child = m
		if m.Index.Name == first || !e.isWhole(m) {
			continue
		}
		if first != "" {
			return m.Generation
		}
		first = m.Index.Name
	}
	return 0
}

// isBefore tells whether child stands on m: m is its parent, or what a repair has gone back to.
func isBefore(m, child *Manifest) bool {
	if child.RepairedFrom != nil {
		return m.Generation == *child.RepairedFrom
	}
	return m.IsParentOf(child)
}

// isWhole tells whether the index of a generation, and the snapshots that were made together with it, are there with the sizes that
// were committed. There may be thousands of other snapshots files, which are the same ones in the generation before.
func (e *expiry) isWhole(m *Manifest) bool {
	made, _, _ := cohort.ParseDataName(m.Index.Name)
	return !slices.ContainsFunc(m.Files(), func(d DataFile) bool {
		g, _, _ := cohort.ParseDataName(d.Name)
		return g == made && e.CheckSize(d) != nil
	})
}

// shown are the generations that public names still show, if these are to be kept: else the next fold would take what stands there
// for something that somebody else wrote. Public files that are copies are read for it, and so are all manifests.
func (e *expiry) shown() (map[cohort.Generation]bool, error) {
	if !e.keep.Shown {
		return nil, nil
	}
	old, err := e.Unpublished(e.newest)
	shown := map[cohort.Generation]bool{}
	for _, p := range old {
		if g, err := e.Shown(p); err == nil {
			shown[g] = true
		}
	}
	return shown, err
}

// isOld tells whether the i-th generation was succeeded more than the age before now, and is not
// among the last ones.
func (e *expiry) isOld(gens []cohort.Generation, i int) bool {
	if i >= len(gens)-e.keep.Generations {
		return false
	}
	at, ok := e.times[gens[i+1]]
	if !ok {
		info, err := e.FS.Stat(e.Root.Manifest(gens[i+1]))
		if err != nil {
			return false
		}
		at = info.ModTime()
	}
	return e.now.Sub(at) > e.keep.Age
}

// files removes data files that nobody names, and temporary files wherever this module makes them.
func (e *expiry) files(kept map[string]bool) {
	old := e.old(e.Root.DataDir(), func(name string) bool { return !e.ours[name] && isUnnamed(name, e.newest, kept) })
	// What a manifest named is of no attempt that is under way. Its time says nothing either: folds make files young.
	for _, name := range slices.Sorted(maps.Keys(e.ours)) {
		if isUnnamed(name, e.newest, kept) {
			old = append(old, e.Root.Data(name))
		}
	}
	// Unlinks reach the disk in any order. If it kept one of these and not that of a manifest which names the file, a power loss
	// would leave a generation without its data. Another compactor may have removed such a manifest a moment ago, so this sync is
	// needed also if this call has removed none (R23).
	if len(old) > 0 {
		if err := e.syncRemovals(); err != nil {
			e.notify(NotSwept{e.Root.Rel(e.Root.DataDir()), fmt.Errorf("sync manifests: %w", err)})
			old = nil
		}
	}
	for _, name := range old {
		e.remove(name)
	}
	e.sweep(e.Root.DataDir(), durable.IsTemp)
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
	if about, err := e.FS.Statfs(string(e.Root)); err == nil && !about.SyncsNames() {
		e.sweepBesideStreams()
	}
}

// sweepBesideStreams removes temporary files where only the sync of a directory makes some: see durable.SyncDir.
func (e *expiry) sweepBesideStreams() {
	for _, dir := range []string{e.Root.Cohorts(), e.Root.ReapedDir(), e.Root.QuarantineDir()} {
		if _, err := e.FS.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		e.sweep(dir, durable.IsTemp)
		if dir == e.Root.QuarantineDir() {
			continue // its cohorts were swept already
		}
		for _, id := range e.cohortsIn(dir) {
			e.sweep(filepath.Join(dir, string(id)), durable.IsTemp)
		}
	}
}

// syncRemovals makes the removals of manifests durable. A sync that failed is not tried again: the next one would report success for what the
// kernel has dropped (S3).
func (e *expiry) syncRemovals() error {
	if e.undone == nil {
		e.undone = durable.Sync(e.FS, e.log, e.Root.Manifests())
	}
	return e.undone
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

// named are the names of the data files of manifests.
func named(all []Manifest) map[string]bool {
	names := map[string]bool{}
	for _, m := range all {
		for _, d := range m.Files() {
			names[d.Name] = true
		}
	}
	return names
}

// isUnnamed tells whether name is a data file of a generation up to m that is not among those that manifests name.
func isUnnamed(name string, m Manifest, named map[string]bool) bool {
	if named[name] {
		return false // as nearly all are, and there may be thousands
	}
	g, _, ours := cohort.ParseDataName(name)
	return ours && g <= m.Generation
}

// areStranded tells whether data files that would go hold what no other file does. Then none goes. Those of a manifest that this call
// has read are of our history, so they are not opened: in nearly every fold there are no others.
func (e *expiry) areStranded(kept map[string]bool) bool {
	names := e.old(e.Root.DataDir(), func(name string) bool {
		return !e.ours[name] && mayStrand(name) && isUnnamed(name, e.newest, kept)
	})
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	judged := e.Judged(names)
	all, err := e.Stranded(e.newest, judged)
	if errors.Is(err, ErrConflict) {
		return true // the fold that came sweeps
	}
	if err != nil {
		e.notify(NotSwept{e.Root.Rel(e.Root.DataDir()), err})
		return true
	}
	for _, n := range all {
		e.done.TwoHistories = true
		e.notify(n)
	}
	return len(all) > 0 || len(judged) < len(names)
}

// sweep removes the files of dir that are not needed and have not been written for the age. Nothing may name them.
func (e *expiry) sweep(dir string, unneeded func(name string) bool) {
	for _, name := range e.old(dir, unneeded) {
		e.remove(name)
	}
}

// old lists the files of dir that are not needed and have not been written for the age.
func (e *expiry) old(dir string, unneeded func(name string) bool) (old []string) {
	entries, err := e.list(dir)
	if err != nil {
		e.notify(NotSwept{e.Root.Rel(dir), err})
		return nil
	}
	for _, entry := range entries {
		if !unneeded(entry.Name()) {
			continue
		}
		if info, err := entry.Info(); err == nil && e.now.Sub(info.ModTime()) > e.keep.Age {
			old = append(old, filepath.Join(dir, entry.Name()))
		}
	}
	return old
}

// list lists a directory; data/, which is asked several times and may be large, only once.
func (e *expiry) list(dir string) (entries []fs.DirEntry, err error) {
	if dir != e.Root.DataDir() {
		return e.FS.ReadDir(dir)
	}
	if e.data == nil {
		e.data, err = e.FS.ReadDir(dir)
	}
	return e.data, err
}

// remove deletes one file. It does not sync the directory: should a crash bring the file back, it is swept again. done tells that
// this call did it, and gone that the name is absent, perhaps because another compactor did it.
func (e *expiry) remove(name string) (done, gone bool) {
	err := e.FS.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, true
	}
	if err != nil {
		e.notify(NotSwept{e.Root.Rel(name), err})
	}
	return err == nil, err == nil
}
