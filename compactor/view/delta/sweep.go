package delta

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// Sweep removes files of generations that the root does not keep any more, once no version has shown them for the time of grace: readers may still
// be at it. Then it removes the part of the log that no version with a file needs, and in any case what is below the last 5,000 versions. It
// returns how many files it removed.
//
// It never touches the newest version, nor a file of that generation or above: a publisher may be about to name it. A table that is not ours
// is left alone. Files that cannot be removed are tried again by the next call.
func Sweep(s *generation.Store, grace time.Duration) (removed int, err error) {
	t := table{s}
	if _, err := t.FS.Stat(t.dir()); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	h, err := t.head()
	if err != nil || h.state == nil {
		return 0, err
	}
	newest, err := t.Newest()
	if err != nil {
		return 0, err
	}
	w := sweep{table: t, head: h, now: t.Stamp(newest).Time(), grace: grace}
	if err := w.files(); err != nil {
		return w.removed, err
	}
	err = w.logs()
	return w.removed, err
}

// sweep is one call of Sweep.
type sweep struct {
	table
	head    head
	now     time.Time
	grace   time.Duration
	removed int
	oldest  cohort.Generation // of the files that stay
}

// remove removes one file. The directory is not synced: what a crash brings back is removed again.
func (w *sweep) remove(path string) error {
	err := w.FS.Remove(path)
	if err == nil {
		w.removed++
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// files removes files that were in the table.
func (w *sweep) files() error {
	entries, err := w.FS.ReadDir(w.dir())
	if err != nil {
		return err
	}
	gens, err := w.List()
	if err != nil {
		return err
	}
	w.oldest = w.head.state.Generation
	var old []string
	for _, e := range entries {
		g, ours := generationOf(e.Name())
		_, kept := slices.BinarySearch(gens, g)
		switch {
		case strings.HasPrefix(e.Name(), droppedAs):
			if err := durable.RemoveAll(w.FS, w.file(e.Name())); err != nil {
				return err
			}
		case durable.IsTemp(e.Name()):
			// A link is as old as what it shows, so a publisher may be about to give it its name. Then it fails, and tries again.
			if info, err := e.Info(); err == nil && isOld(w.now, info, max(w.grace, time.Hour)) {
				old = append(old, e.Name())
			}
		case !ours || g >= w.head.state.Generation || e.Name() == w.head.state.File:
		case kept:
			w.oldest = min(w.oldest, g)
		default:
			old = append(old, e.Name())
		}
	}
	if len(old) == 0 {
		return nil
	}
	// The versions above those that go must be on the disk. Other publishers may have made them.
	if err := durable.SyncDir(w.FS, w.log()); err != nil {
		return err
	}
	for _, name := range old {
		if g, ours := generationOf(name); ours {
			free, err := w.isFree(g, gens)
			if err != nil {
				return err
			}
			if !free {
				continue
			}
		}
		if err := w.remove(w.file(name)); err != nil {
			return err
		}
	}
	return nil
}

// isFree tells whether a file of generation g is of no kept generation, and another file has taken its place for the time of grace. Generations that change
// no row show the file of the one before, so a file is that of all versions from the first with such a file up to the first with a later one. The
// oldest generation that a version still shows is noted.
func (w *sweep) isFree(g cohort.Generation, gens []cohort.Generation) (bool, error) {
	to, err := w.search(func(s *State) bool { return fileGeneration(s) > g })
	if err != nil {
		return false, err
	}
	if to == len(w.head.versions) {
		w.oldest = min(w.oldest, g)
		return false, nil // the newest version shows a file of this generation
	}
	last, err := w.stateAt(to - 1)
	if err != nil {
		return false, err
	}
	newest := g
	if last != nil && fileGeneration(last) == g {
		newest = last.Generation
	}
	if i, _ := slices.BinarySearch(gens, g); i < len(gens) && gens[i] <= newest {
		w.oldest = min(w.oldest, gens[i])
		return false, nil
	}
	info, err := w.FS.Stat(w.version(w.head.versions[to]))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // it was removed since, so it is old
	}
	free := err == nil && isOld(w.now, info, w.grace)
	if !free {
		w.oldest = min(w.oldest, g)
	}
	return free, err
}

// fileGeneration is the generation that the name of a version's file says.
func fileGeneration(s *State) cohort.Generation {
	g, _ := generationOf(s.File)
	return g
}

// stateAt is what a version says, or the nearest one of ours below it; nil if there is none.
func (w *sweep) stateAt(at int) (*State, error) {
	for ; at >= 0; at-- {
		c, err := w.read(w.head.versions[at])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if c.state != nil {
			return c.state, nil
		}
	}
	return nil, nil
}

// search is the index of the first version for which is holds, or their number. It holds for all later ones, too, as generations rise with
// versions, so it reads few of them. A version of others says what the one below it says.
func (w *sweep) search(is func(*State) bool) (at int, err error) {
	at = sort.Search(len(w.head.versions), func(i int) bool {
		s, serr := w.stateAt(i)
		err = errors.Join(err, serr)
		return s != nil && is(s)
	})
	return at, err
}

// logs removes the part of the log below the checkpoint that the oldest version with a file needs. Readers need the newest
// checkpoint, and nothing below it.
func (w *sweep) logs() error {
	for _, e := range w.head.others {
		if info, err := e.Info(); durable.IsTemp(e.Name()) && err == nil && isOld(w.now, info, max(w.grace, time.Hour)) {
			if err := w.remove(filepath.Join(w.log(), e.Name())); err != nil {
				return err
			}
		}
	}
	below, err := w.needed()
	if err != nil || below <= 0 {
		return err
	}
	for _, v := range w.head.versions {
		if v < below {
			if err := w.remove(w.version(v)); err != nil {
				return err
			}
		}
	}
	for _, v := range w.head.checkpoints {
		if v < below {
			if err := w.remove(w.checkpoint(v)); err != nil {
				return err
			}
		}
	}
	return nil
}

// needed is the checkpoint below which nothing is needed, -1 if there is no such.
func (w *sweep) needed() (int64, error) {
	l := w.head.listing
	if len(l.checkpoints) == 0 || l.versions[0] >= l.checkpoints[0] && len(l.checkpoints) == 1 {
		return -1, nil
	}
	at, err := w.search(func(s *State) bool { return s.Generation >= w.oldest })
	if err != nil {
		return -1, err
	}
	from := l.versions[min(at, len(l.versions)-1)]
	below := l.checkpoint(max(from, l.newest()-versions))
	// The file of _last_checkpoint, and one that a reader has just found, must stay.
	for below >= 0 {
		info, err := w.FS.Stat(w.checkpoint(below))
		if err == nil && isOld(w.now, info, w.grace) {
			break
		}
		below = l.checkpoint(below - 1)
	}
	return below, nil
}

// Purge removes everything but the newest version, for an erasure: files hold rows of before, and versions hold their bounds. The newest version
// must show a generation without what was erased, which is since or above; newest is the last one that the caller has seen. What stays, and why, is
// in left. It is generation.ErrConflict if somebody has committed since.
//
// On success what was removed is gone also after a power loss. Versions before the newest are gone for readers, too.
func Purge(s *generation.Store, newest generation.Manifest, since cohort.Generation) (removed []string, left []generation.Remains, err error) {
	t := table{s}
	if _, err := t.FS.Stat(t.dir()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	h, err := t.head()
	if err == nil && h.state == nil {
		// Nothing of ours, or what a drop has left that was cut off.
		if n, herr := t.before(since); herr != nil || n == 0 {
			return nil, nil, herr
		}
	}
	if err == nil && h.state != nil && h.state.Generation < since {
		err = fmt.Errorf("it shows generation %d", h.state.Generation)
	}
	if err != nil || h.state == nil {
		why := "the Delta table could not be brought up to date, and may hold what was erased"
		if err != nil {
			why += ": " + err.Error()
		}
		return nil, []generation.Remains{{Path: t.Root.Rel(t.dir()), Why: why + ": compactd delta drop removes it"}}, nil
	}
	now, err := t.Newest()
	if err == nil && now.Generation > newest.Generation {
		err = fmt.Errorf("generation %d came: %w", now.Generation, generation.ErrConflict)
	}
	if err != nil {
		return nil, nil, err
	}
	v := h.state.Version
	if v > 0 && (len(h.versions) > 1 || !contains(h.checkpoints, v)) {
		// With it readers need no other version. A table that was turned off shows an earlier generation.
		p := publisher{table: t, head: h}
		if p.newest, err = t.Read(h.state.Generation); errors.Is(err, fs.ErrNotExist) || err == nil && p.newest.Token != h.state.Token {
			why := fmt.Sprintf("earlier versions of the Delta table may hold what was erased, and generation %d, which it shows, is not kept", h.state.Generation)
			return nil, []generation.Remains{{Path: t.Root.Rel(t.dir()), Why: why + ": compactd delta drop removes it"}}, nil
		}
		if err == nil {
			err = p.writeCheckpoint()
		}
		if err != nil {
			return nil, nil, err
		}
	}
	drop := func(path string, remove func() error) {
		if rerr := remove(); rerr == nil {
			removed = append(removed, t.Root.Rel(path))
		} else if !errors.Is(rerr, fs.ErrNotExist) {
			left = append(left, generation.Remains{Path: t.Root.Rel(path), Why: rerr.Error()})
		}
	}
	for _, dir := range []string{t.log(), t.dir()} {
		entries, err := t.FS.ReadDir(dir)
		if err != nil {
			return removed, left, err
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if path != t.log() && !t.isOfNewest(h.state, dir, e.Name()) {
				drop(path, func() error {
					if e.IsDir() {
						return durable.RemoveAll(t.FS, path)
					}
					return t.FS.Remove(path)
				})
			}
		}
		if err := durable.SyncDir(t.FS, dir); err != nil {
			return removed, left, err
		}
	}
	return removed, left, nil
}

// Before is how many files the table holds of generations before since, as far as their names tell, with what was left of one that was dropped.
func Before(s *generation.Store, since cohort.Generation) (int, error) { return table{s}.before(since) }

func (t table) before(since cohort.Generation) (n int, err error) {
	if err := durable.RealDir(t.FS, t.dir()); err != nil { // what a link leads to is not ours (P13)
		return 0, nil
	}
	entries, err := t.FS.ReadDir(t.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, e := range entries {
		g, ours := generationOf(e.Name())
		if ours && g < since || durable.IsTemp(e.Name()) || strings.HasPrefix(e.Name(), droppedAs) {
			n++
		}
	}
	return n, err
}

// isOfNewest tells whether a file belongs to the newest version.
func (t table) isOfNewest(s *State, dir, name string) bool {
	if dir == t.dir() {
		return name == s.File
	}
	v, is := versionOf(name, ".json")
	c, isCheckpoint := versionOf(name, checkpointSuffix)
	return is && v >= s.Version || isCheckpoint && c >= s.Version || filepath.Join(dir, name) == t.lastCheckpoint()
}

// Drop removes the table: first its log, in one step, so that no reader sees a part of it, then its files. What somebody else has put there stays.
func Drop(s *generation.Store) error {
	t := table{s}
	if err := durable.RealDir(t.FS, t.dir(), t.log()); err != nil {
		return err
	}
	entries, err := t.FS.ReadDir(t.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if slices.Contains(names, logName) {
		attempt, err := newAttempt()
		if err != nil {
			return err
		}
		names = append(names, droppedAs+attempt)
		if err := durable.Move(t.FS, t.log(), t.file(droppedAs+attempt)); err != nil {
			return err
		}
	}
	for _, name := range names {
		_, ours := generationOf(name)
		if ours || durable.IsTemp(name) || strings.HasPrefix(name, droppedAs) {
			if err := durable.RemoveAll(t.FS, t.file(name)); err != nil {
				return err
			}
		}
	}
	if rest, err := t.FS.ReadDir(t.dir()); err != nil || len(rest) > 0 {
		return err
	}
	return durable.Remove(t.FS, t.dir())
}
