package compactor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view/delta"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// purge removes what newest and second make superfluous: generations before, streams, and what quarantine/ has of erased runs.
func (e *eraser) purge(newest, second generation.Manifest) error {
	p, err := e.store.Purge(newest, second)
	e.done.Gone = append(e.done.Gone, p.Gone...)
	e.done.Removed = append(e.done.Removed, p.Files...)
	for _, l := range p.Left {
		h := Holding{Path: l.Path, Why: l.Why}
		if l.Once {
			e.links = append(e.links, h)
		} else {
			e.done.Holding = append(e.done.Holding, h)
		}
	}
	if err != nil {
		return err
	}
	// Somebody who slept may have published an old generation until now. From here on its data file is not there any more.
	if err := e.published(e.store.Heal(newest)); err != nil {
		return err
	}
	if e.unpublished != nil {
		old, err := e.store.Unpublished(newest)
		if err != nil {
			return err
		}
		for _, p := range old {
			e.done.Holding = append(e.done.Holding, Holding{Path: e.Root.Rel(p.Name), Why: "it is in use, and was not replaced: " + e.unpublished.Error()})
		}
	}
	if err := e.purgeDelta(newest); err != nil {
		return err
	}
	return e.streamsOf(newest, second)
}

// purgeDelta removes all of the Delta table but the newest version. A table that cannot be brought up to date is named.
func (e *eraser) purgeDelta(newest generation.Manifest) error {
	if newest.Erased == nil {
		return nil
	}
	e.show(newest)
	removed, left, err := delta.Purge(e.store, newest, newest.Erased.Since)
	e.done.Removed = append(e.done.Removed, removed...)
	for _, l := range left {
		e.done.Holding = append(e.done.Holding, Holding{Path: l.Path, Why: l.Why})
	}
	return err
}

// lookAtDelta finds files of the Delta table that may hold what is to be erased.
func (e *eraser) lookAtDelta(newest generation.Manifest) error {
	n, err := delta.Before(e.store, e.since)
	if err != nil || n == 0 {
		return err
	}
	h := Holding{Path: e.Root.Rel(e.Root.Delta()), Goes: newest.Delta}
	if !newest.Delta {
		h.Why = "folds do not keep the Delta table any more: compactd delta drop removes it"
	}
	e.done.Holding = append(e.done.Holding, h)
	return nil
}

// streamsOf deletes the streams that both generations have folded, as two folds would.
func (e *eraser) streamsOf(newest, second generation.Manifest) error {
	before, _, err := e.streams.Streams()
	if err != nil {
		return err
	}
	e.sweeper.sweep(newest)
	e.sweeper.empty(second, newest, e.store.Stamp(newest))
	synced := map[string]bool{}
	for _, p := range before {
		_, here := e.FS.Stat(e.streams.InCohort(p.Stream).Dir)
		dir := e.Root.Reaped(p.Cohort, p.ID)
		_, reaped := e.FS.Stat(dir)
		if !errors.Is(here, fs.ErrNotExist) || !errors.Is(reaped, fs.ErrNotExist) {
			continue
		}
		e.done.Removed = append(e.done.Removed, e.Root.Rel(p.Dir))
		synced[filepath.Dir(dir)] = true
	}
	// A deletion of a sweep is not synced; here it must not come back.
	for dir := range synced {
		if err := durable.SyncDir(e.FS, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// look finds where something of erased runs stands. With Apply, what it finds in quarantine/ is removed, and all else is left.
func (e *eraser) look(newest generation.Manifest) error {
	if !e.what.Apply {
		if err := e.lookAtGenerations(newest); err != nil {
			return err
		}
		if err := e.lookAtDelta(newest); err != nil {
			return err
		}
	}
	if err := e.lookAtStreams(newest); err != nil {
		return err
	}
	if err := e.lookAtQuarantine(newest); err != nil {
		return err
	}
	return e.lookAtTemps()
}

// lookAtGenerations counts the rows to be erased in every generation that is kept, as far as they can be read.
func (e *eraser) lookAtGenerations(newest generation.Manifest) error {
	gens, err := e.store.List()
	if err != nil {
		return err
	}
	keys := make([]cohort.Key, len(e.done.Rows))
	for i, row := range e.done.Rows {
		keys[i] = row.Key
	}
	for _, g := range gens {
		m, err := e.store.Read(g)
		h := Holding{Path: e.Root.Rel(e.Root.Manifest(g)), Goes: true}
		if err == nil {
			h.Runs, err = e.rowsIn(m, keys)
		}
		if err != nil && isSwept(e.store, g) {
			continue
		}
		if err != nil {
			h.Why = fmt.Sprintf("it cannot be read (%v), and goes, too", err)
		}
		if err != nil || h.Runs > 0 || !m.Without(&newest) {
			e.done.Holding = append(e.done.Holding, h)
		}
	}
	return nil
}

// isSwept tells whether a generation that a listing had is gone since. Its manifest goes before its data files (R23).
func isSwept(store *generation.Store, g cohort.Generation) bool {
	gens, err := store.List()
	return err == nil && !slices.Contains(gens, g)
}

func (e *eraser) rowsIn(m generation.Manifest, keys []cohort.Key) (n int, err error) {
	d, err := e.store.Data(m)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	found, err := d.FindAnywhere(keys)
	return len(found), err
}

// lookAtStreams reads every stream for records and actions of erased runs.
func (e *eraser) lookAtStreams(newest generation.Manifest) error {
	all, _, err := e.streams.Streams()
	if err != nil {
		e.done.Holding = append(e.done.Holding, Holding{Path: e.Root.Rel(e.Root.Cohorts()), Why: "not all streams could be listed: " + err.Error()})
	}
	marks := newest.Marks()
	for _, p := range all {
		in := e.readStream(p, false)
		if in.gone || in.runs == 0 && in.err == nil {
			continue
		}
		h := Holding{Path: e.Root.Rel(p.Dir), Runs: in.runs, Goes: !e.what.Apply && in.err == nil && (marks[p.Stream].Sealed || in.sealed)}
		h.Host, h.PID, _ = e.streams.Writer(p)
		switch {
		case h.Goes:
		case in.err != nil:
			h.Why = "it cannot be read to its end: " + in.err.Error()
		case marks[p.Stream].Sealed:
			h.Why = "it is folded, and could not be removed: a message above says why, or another call is at work"
		case p.Reaped:
			h.Why = "its writer is taken for dead, and records may still come: the folds delete it after the grace"
		default:
			h.Why = "its writer may go on: end it, or let it seal the stream, and fold"
		}
		e.done.Holding = append(e.done.Holding, h)
		if e.what.Apply && marks[p.Stream].Sealed && !marks[p.Stream].Damaged {
			e.onceOnly = e.onceOnly || !e.wasSealed[p.Stream]
		}
	}
	return nil
}

// inStream is what was found in one stream.
type inStream struct {
	runs    int
	others  []candidate      // records that were not erased; only their keys and versions
	actions []cohort.Version // actions that were not erased
	notes   []string         // about damaged bytes that name an erased run, if they were noted
	gone    bool
	sealed  bool
	err     error // it could not be looked through to its end
}

// readStream reads a stream in any place, and keeps what its other records and actions are if that is asked for.
func (e *eraser) readStream(p journal.Place, others bool) (in inStream) {
	r, err := e.streams.Open(p, journal.Position{})
	if errors.Is(err, fs.ErrNotExist) {
		return inStream{gone: true}
	}
	if err != nil {
		return inStream{err: err}
	}
	defer r.Close()
	if !others {
		r.ReuseMemory()
	}
	for {
		rec, err := r.Next()
		var damage *journal.CorruptError
		switch {
		case errors.Is(err, io.EOF):
			in.sealed = r.Position().Sealed
			if r.Torn() > 0 {
				e.damaged(&in, p.Stream, &journal.CorruptError{Path: cohort.SegmentIn(p.Dir), Offset: r.Position().Offset, Length: r.Torn()})
			}
			return in
		case errors.As(err, &damage):
			e.damaged(&in, p.Stream, damage)
		case err != nil:
			in.err = err
			return in
		case e.erased.DropsRecord(rec):
			in.runs++
		case !others:
		case rec.Action != cohort.NoAction:
			in.actions = append(in.actions, rec.Version())
		default:
			in.others = append(in.others, candidate{Version: rec.Version(), key: e.streams.Settings.Key.Of(rec)})
		}
	}
}

// damaged looks through damaged bytes of a stream. If they name an erased run, the note about them goes, too: it may have only the beginning of a
// record that names its run farther behind.
func (e *eraser) damaged(in *inStream, s journal.Stream, damage *journal.CorruptError) {
	data, err := bytesAt(e.FS, damage, maxLooked)
	if err == nil && damage.Length > maxLooked {
		err = fmt.Errorf("only %d of the %d damaged bytes at offset %d were looked through", int64(maxLooked), damage.Length, damage.Offset)
	}
	if e.erased.IsMentionedIn(data) {
		note := e.Root.Damaged(s.Cohort, s.ID, damage.Offset)
		in.runs++
		in.notes, e.notes[note] = append(in.notes, note), true
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && in.err == nil {
		in.err = err
	}
}

// maxLooked bounds the bytes of a damaged file that are looked through.
const maxLooked = 1 << 30

// lookAtTemps finds temporary files of published files that hold erased runs. Those in data/ are gone.
func (e *eraser) lookAtTemps() error {
	dirs := []string{string(e.Root)}
	if e.streams.Settings.Snapshots == cohort.PerCohort {
		entries, err := e.FS.ReadDir(e.Root.Cohorts())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, entry := range entries {
			if entry.IsDir() {
				dirs = append(dirs, filepath.Join(e.Root.Cohorts(), entry.Name()))
			}
		}
	}
	for _, dir := range dirs {
		entries, err := e.FS.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, entry := range entries {
			if durable.IsTemp(entry.Name()) && entry.Type().IsRegular() {
				if err := e.file(filepath.Join(dir, entry.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// lookAtQuarantine looks through all that quarantine/ keeps.
func (e *eraser) lookAtQuarantine(newest generation.Manifest) error {
	kept, err := e.streams.Quarantined()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, s := range kept {
		if err := e.quarantined(newest, s); err != nil {
			return err
		}
	}
	cohorts, err := e.FS.ReadDir(e.Root.QuarantineDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, c := range cohorts {
		if !c.IsDir() { // a link leads to what is not ours (P13)
			continue
		}
		dir := filepath.Join(e.Root.QuarantineDir(), c.Name())
		files, err := e.FS.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, f := range files {
			if !f.Type().IsRegular() {
				continue
			}
			if err := e.file(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// quarantined removes a stream in quarantine/ that holds erased runs, if every other record and action of it stands in the newest generation.
func (e *eraser) quarantined(newest generation.Manifest, s journal.Stream) error {
	dir := e.Root.Quarantined(s.Cohort, s.ID)
	in := e.readStream(journal.Place{Stream: s, Dir: dir, Reaped: true}, true)
	var unread bool
	if in.err != nil && in.runs == 0 {
		data, err := durable.Read(e.FS, cohort.SegmentIn(dir), maxLooked)
		unread = err != nil && !errors.Is(err, fs.ErrNotExist)
		if e.erased.IsMentionedIn(data) {
			in.runs++
		}
	}
	if in.runs == 0 && !unread {
		return nil
	}
	h := Holding{Path: e.Root.Rel(dir), Runs: in.runs}
	if in.err != nil {
		h.Why = fmt.Sprintf("it cannot be read (%v): move it out of the root by hand, if nothing of it is needed", in.err)
		e.done.Holding = append(e.done.Holding, h)
		return nil
	}
	taken, err := e.areTaken(newest, in)
	if err != nil {
		return err
	}
	if !taken {
		h.Why = "it holds records or actions that no fold has taken: compactd repair brings them back; else move it out of the root by hand"
		e.done.Holding = append(e.done.Holding, h)
		return nil
	}
	return e.removeStream(h, s, in)
}

// removeStream removes a stream from quarantine/. The notes about it go first: alone, one of them might not tell whose it is.
func (e *eraser) removeStream(h Holding, s journal.Stream, in inStream) error {
	if e.what.Apply { // else lookAtQuarantine names them
		for _, note := range in.notes {
			if err := e.file(note); err != nil {
				return err
			}
		}
	}
	return e.remove(h, func() error { return durable.RemoveAll(e.FS, e.Root.Quarantined(s.Cohort, s.ID)) })
}

// areTaken tells whether the other records of a stream stand in a generation, or gave way there to later ones, and its other actions stand there.
func (e *eraser) areTaken(m generation.Manifest, in inStream) (bool, error) {
	if len(in.others)+len(in.actions) == 0 {
		return true, nil
	}
	d, err := e.store.Data(m)
	if err != nil {
		return false, err
	}
	defer d.Close()
	keys := make([]cohort.Key, len(in.others))
	for i, r := range in.others {
		keys[i] = r.key
	}
	found, err := d.FindAnywhere(keys)
	if err != nil {
		return false, err
	}
	missing := slices.ContainsFunc(in.others, func(r candidate) bool {
		f, ok := found[r.key]
		return !ok || f.Compare(r.Version) < 0 && !f.SameWrite(r.Version)
	})
	if missing || len(in.actions) == 0 {
		return !missing, nil
	}
	here, err := d.ActionVersions()
	return !slices.ContainsFunc(in.actions, func(v cohort.Version) bool { return !here[v] }), err
}

// file removes a note, or a file of a generation in quarantine/ or under a temporary name, if it holds an erased run.
func (e *eraser) file(path string) error {
	name := filepath.Base(path)
	if g, _, ok := cohort.ParseDataName(name); ok && g >= e.since {
		return nil
	}
	n, err := e.store.Holds(path, e.erased)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case e.notes[path]:
		n = max(n, 1)
	case err != nil:
		e.done.Holding = append(e.done.Holding, Holding{Path: e.Root.Rel(path),
			Why: fmt.Sprintf("it cannot be read (%v), and may hold an erased run: remove it by hand, if nothing of it is needed", err)})
		return nil
	case n == 0:
		return nil
	}
	return e.remove(Holding{Path: e.Root.Rel(path), Runs: n}, func() error { return e.FS.Remove(path) })
}

// remove removes what holds erased runs, durably, or says that it would.
func (e *eraser) remove(h Holding, do func() error) error {
	if !e.what.Apply {
		h.Goes = true
		e.done.Holding = append(e.done.Holding, h)
		return nil
	}
	path := filepath.Join(string(e.Root), filepath.FromSlash(h.Path))
	err := durable.RealDir(e.FS, filepath.Dir(path)) // no deletion through a link (P13)
	if err == nil {
		err = do()
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = durable.SyncDir(e.FS, filepath.Dir(path))
	}
	if err != nil {
		h.Why = err.Error()
		e.done.Holding = append(e.done.Holding, h)
		return nil
	}
	e.done.Removed = append(e.done.Removed, h.Path)
	return nil
}
