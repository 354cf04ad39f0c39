package compactor

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/doctor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// A stream whose writer was killed has no seal. It is folded like any other; then it goes its way in steps
// that each leave it whole:
//
//	seen      a manifest says where it ends, and since when
//	dead      its writer has certainly ended, or it has not grown for DeadAfter
//	reaped    it is moved to reaped/ and read again, now as one to which nothing can be added
//	deleted   once a manifest says that nothing came for ReapGrace, and another one stands on that
//
// A verdict may be wrong: a writer that was stopped, or cut off from the share, goes on. It looks at
// the path of its stream before it acknowledges anything and writes the record to a new stream (R5). What
// it had acknowledged before was read before; what its view of the path, old by up to 30 s on NFS, lets it
// acknowledge after the move is read in reaped/, which is what the grace is for.

// atEnd notes that a stream was read to its end.
func (f *folder) atEnd(p place, old Watermark, m *Watermark, torn int64, b *batch) error {
	if m.Sealed {
		m.Torn, m.Grown, m.Reaped = 0, 0, 0
		return nil
	}
	m.Torn = torn
	if *m != old {
		m.Grown = b.now
		b.moved = true
	} else if m.Grown == 0 {
		m.Grown = b.now // it goes with the next commit
	}
	switch {
	case p.reaped && m.Reaped == 0 && b.now > 0:
		m.Reaped = b.now
		b.moved = true
	case !p.reaped && *m == old:
		if why, ok := f.isDead(p, old, b); ok {
			b.dead = append(b.dead, dead{p, why})
		}
	}
	if p.reaped && torn > 0 && (old.Reaped == 0 || torn != old.Torn) {
		return f.keepTail(p, *m, b)
	}
	return nil
}

// dead is a stream that is to be moved to reaped/.
type dead struct {
	place
	why string // its writer is taken for dead
}

// isDead decides that nothing will be added to a stream that a manifest has seen to end where it still
// ends. Where locks cannot be relied upon, only time tells, by the file system's own clock.
func (f *folder) isDead(p place, seen Watermark, b *batch) (why string, ok bool) {
	if seen.Grown == 0 || b.now == 0 {
		return "", false
	}
	if limit := max(f.DeadAfter, 0); (b.now - seen.Grown).Duration() >= limit {
		return "it has not grown for " + limit.String(), true
	}
	if !f.locksTell() {
		return "", false
	}
	gone, err := journal.WriterIsGone(f.FS, f.Root, p.Stream)
	if err != nil || !gone {
		return "", false // whatever is in doubt lives
	}
	return "its writer has ended", true
}

// reap moves dead streams to reaped/, and tells of each once that is done. It reports whether any was moved, which the
// next round reads again.
func (f *folder) reap(all []dead) (any bool) {
	for _, p := range all {
		to := f.Root.Reaped(p.Cohort, p.ID)
		err := f.makeDir(f.Root.Reaped(p.Cohort, ""))
		if err == nil {
			err = durable.Move(f.FS, p.dir, to)
		}
		switch {
		case err == nil:
			any = true
			f.report.Reaped++
			f.notify(Reaped{p.Stream, p.why})
		case !errors.Is(err, fs.ErrNotExist): // else another compactor did it
			f.notify(NotSwept{f.Root.Rel(p.dir), err})
		}
	}
	return any
}

// keepTail keeps the bytes behind the last entry of a dead stream. They were not acknowledged, or they are
// a last entry that was damaged later: nobody can tell, so they are not dropped.
func (f *folder) keepTail(p place, m Watermark, b *batch) error {
	tail := &journal.CorruptError{
		Path: cohort.SegmentIn(p.dir), Offset: m.Offset, Length: m.Torn, Err: errTorn,
	}
	kept, err := f.keep(p.Stream, tail)
	if err != nil {
		return err
	}
	b.tornTails++
	f.once(TornTail{p.Stream, m.Torn, f.Root.Rel(kept)})
	return nil
}

var errTorn = errors.New("the end of a dead stream is no entry: it was being written, or damaged later")

// emptyReaped deletes what lies in reaped/ and is superfluous on the word of prev, on which next stands now:
// sealed streams that prev had folded whole, and dead ones that prev had read to their end, that
// did not change for the grace. One generation later, that is: should the files of next be damaged,
// prev is still there, and so is every stream that next has folded (docs/decisions/0014). A stream whose records
// stand in files that both share stays.
func (f *folder) emptyReaped(prev, next head, now cohort.Stamp) {
	newer := make(map[journal.Stream]Watermark, len(next.Streams))
	for _, m := range next.Streams {
		newer[m.Stream] = m
	}
	twice := slices.DeleteFunc(slices.Clone(prev.Streams), func(m Watermark) bool { return !f.standsTwice(prev, next, m.Stream.Cohort) })
	for _, m := range f.movedForGood(twice) {
		dir := f.Root.Reaped(m.Stream.Cohort, m.Stream.ID)
		switch {
		case m.Sealed && !m.Damaged:
		case m.Sealed || m.Reaped == 0 || newer[m.Stream] != m || (now-m.Reaped).Duration() < f.ReapGrace:
			continue
		case !f.endsAt(dir, m.size()):
			continue // somebody lives: it is read again first
		case m.Damaged:
			f.sweepStream(dir, f.Root.Quarantined(m.Stream.Cohort, m.Stream.ID))
			continue
		}
		err := f.staysWithin(dir, filepath.Dir(dir))
		if err == nil {
			err = durable.RemoveAll(f.FS, dir)
		}
		if err != nil {
			f.notify(NotSwept{f.Root.Rel(dir), err})
		}
	}
}

// standsTwice tells whether what prev holds of a cohort stands in files of prev, which the fold of next has read
// whole, and in other ones of next.
func (f *folder) standsTwice(prev, next head, id cohort.ID) bool {
	if f.settings.Snapshots != cohort.PerCohort {
		id = ""
	}
	was, ok := prev.Snapshots.of(id)
	now, _ := next.Snapshots.of(id)
	return prev.Index.Name != next.Index.Name && (!ok || was.Name != now.Name)
}

// movedForGood picks the streams that lie in reaped/ and will still do so after a power loss. Sweeping syncs
// no move, and another compactor may have made this one just now; if it were undone behind a deletion,
// the stream would stand among the living again, cut off (R17).
func (f *folder) movedForGood(all []Watermark) (moved []Watermark) {
	for _, m := range all {
		if _, err := f.FS.Stat(f.Root.Reaped(m.Stream.Cohort, m.Stream.ID)); err == nil {
			moved = append(moved, m)
		}
	}
	synced := map[cohort.ID]error{}
	return slices.DeleteFunc(moved, func(m Watermark) bool {
		err, done := synced[m.Stream.Cohort]
		if !done {
			err = f.syncMoves(m.Stream.Cohort)
			synced[m.Stream.Cohort] = err
		}
		return err != nil
	})
}

func (f *folder) syncMoves(id cohort.ID) error {
	err := f.FS.SyncDir(f.Root.Reaped(id, ""))
	if err == nil {
		err = f.FS.SyncDir(f.Root.Stream(id, ""))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody removed the cohort's directory, and with it what the move could go back to
	}
	if err != nil {
		f.notify(NotSwept{f.Root.Rel(f.Root.Reaped(id, "")), err})
	}
	return err
}

// endsAt tells whether the segment in dir has a size, or is gone: the rest of a deletion that was cut off.
func (f *folder) endsAt(dir string, size int64) bool {
	info, err := f.FS.Stat(cohort.SegmentIn(dir))
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == size
}

// locksTell reports whether a free lock proves that its holder has ended: only where somebody has measured
// that it does, on a file system that is still, by its type, one that no other machine mounts.
func (f *folder) locksTell() bool {
	f.locks.Do(func() {
		_, local, err := doctor.IsLocal(string(f.Root))
		if err != nil || !local {
			return
		}
		v, err := doctor.Read(f.FS, f.Root)
		f.tell = err == nil && v.LocksTell()
	})
	return f.tell
}
