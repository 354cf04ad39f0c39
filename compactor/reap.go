package compactor

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
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

// dead is a stream that is to be moved to reaped/.
type dead struct {
	journal.Place
	why string // its writer is taken for dead
}

// isDead decides that nothing will be added to a stream that a manifest has seen to end where it still
// ends. Where locks cannot be relied upon, only time tells, by the file system's own clock.
func (s *sweeper) isDead(p journal.Place, seen generation.Watermark, now cohort.Stamp) (why string, ok bool) {
	if seen.Grown == 0 || now == 0 {
		return "", false
	}
	if limit := max(s.deadAfter, 0); (now - seen.Grown).Duration() >= limit {
		return "it has not grown for " + limit.String(), true
	}
	if !s.locksTell() {
		return "", false
	}
	gone, err := s.WriterIsGone(p.Stream)
	if err != nil || !gone {
		return "", false // whatever is in doubt lives
	}
	return "its writer has ended", true
}

// reap moves dead streams to reaped/, tells of each once that is done, and counts them. The next round reads them again.
func (s *sweeper) reap(all []dead) (reaped int) {
	for _, p := range all {
		err := durable.MkdirWithin(s.FS, string(s.Dir), s.Dir.Reaped(p.Cohort, ""), s.Settings.DirMode.FS())
		if err == nil {
			err = durable.Move(s.FS, p.Dir, s.InReaped(p.Stream).Dir)
		}
		switch {
		case err == nil:
			reaped++
			s.say.tell(Reaped{p.Stream, p.why})
		case !errors.Is(err, fs.ErrNotExist): // else another compactor did it
			s.notSwept(p.Dir, err)
		}
	}
	return reaped
}

// Reap moves streams whose writers the caller knows to have ended to reaped/, where the next fold reads them to their end,
// and counts them. Each move is durable. What cannot be moved is told as NotSwept; what is not there was moved by
// somebody else.
func Reap(root journal.Root, streams []journal.Stream, why string, tell func(Notice)) (reaped int) {
	s := sweeper{Root: root, say: &speaker{to: tell}}
	all := make([]dead, len(streams))
	for i, st := range streams {
		all[i] = dead{root.InCohort(st), why}
	}
	return s.reap(all)
}

// empty deletes what lies in reaped/ and is superfluous on the word of prev, on which next stands now:
// sealed streams that prev had folded whole, and dead ones that prev had read to their end, that
// did not change for the grace. One generation later, that is: should the files of next be damaged,
// prev is still there, and so is every stream that next has folded (docs/decisions/0014). A stream whose records
// stand in files that both share stays. It counts those that it moves to quarantine/ instead.
func (s *sweeper) empty(prev, next generation.Manifest, now cohort.Stamp) (swept int) {
	newer := make(map[journal.Stream]generation.Watermark, len(next.Streams))
	for _, m := range next.Streams {
		newer[m.Stream] = m
	}
	twice := slices.DeleteFunc(slices.Clone(prev.Streams), func(m generation.Watermark) bool { return !s.standsTwice(prev, next, m.Stream.Cohort) })
	for _, m := range s.movedForGood(twice) {
		dir := s.Dir.Reaped(m.Stream.Cohort, m.Stream.ID)
		switch {
		case m.Sealed && !m.Damaged:
		case m.Sealed || m.Reaped == 0 || newer[m.Stream] != m || (now-m.Reaped).Duration() < s.grace:
			continue
		case !s.endsAt(dir, m.Size()):
			continue // somebody lives: it is read again first
		case m.Damaged:
			swept += s.move(dir, s.Dir.Quarantined(m.Stream.Cohort, m.Stream.ID))
			continue
		}
		err := durable.RealDir(s.FS, dir, filepath.Dir(dir))
		if err == nil {
			err = durable.RemoveAll(s.FS, dir)
		}
		if err != nil {
			s.notSwept(dir, err)
		}
	}
	return swept
}

// standsTwice tells whether what prev holds of a cohort stands in files of prev, which the fold of next has read
// whole, and in other ones of next.
func (s *sweeper) standsTwice(prev, next generation.Manifest, id cohort.ID) bool {
	if s.Settings.Snapshots != cohort.PerCohort {
		id = ""
	}
	was, ok := prev.Snapshots.Of(id)
	now, _ := next.Snapshots.Of(id)
	return prev.Index.Name != next.Index.Name && (!ok || was.Name != now.Name)
}

// movedForGood picks the streams that lie in reaped/ and will still do so after a power loss. Sweeping syncs
// no move, and another compactor may have made this one just now; if it were undone behind a deletion,
// the stream would stand among the living again, cut off (R17).
func (s *sweeper) movedForGood(all []generation.Watermark) (moved []generation.Watermark) {
	for _, m := range all {
		if _, err := s.FS.Stat(s.Dir.Reaped(m.Stream.Cohort, m.Stream.ID)); err == nil {
			moved = append(moved, m)
		}
	}
	synced := map[cohort.ID]error{}
	return slices.DeleteFunc(moved, func(m generation.Watermark) bool {
		err, done := synced[m.Stream.Cohort]
		if !done {
			err = s.syncMoves(m.Stream.Cohort)
			synced[m.Stream.Cohort] = err
		}
		return err != nil
	})
}

func (s *sweeper) syncMoves(id cohort.ID) error {
	err := s.FS.SyncDir(s.Dir.Reaped(id, ""))
	if err == nil {
		err = s.FS.SyncDir(s.Dir.Stream(id, ""))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody removed the cohort's directory, and with it what the move could go back to
	}
	if err != nil {
		s.notSwept(s.Dir.Reaped(id, ""), err)
	}
	return err
}

// endsAt tells whether the segment in dir has a size, or is gone: the rest of a deletion that was cut off.
func (s *sweeper) endsAt(dir string, size int64) bool {
	info, err := s.FS.Stat(cohort.SegmentIn(dir))
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == size
}

// locksTell reports whether a free lock proves that its holder has ended: only where somebody has measured
// that it does, on a file system that is still, by its type, one that no other machine mounts.
func (s *sweeper) locksTell() bool {
	s.ask.Do(func() {
		_, local, err := doctor.IsLocal(string(s.Dir))
		if err != nil || !local {
			return
		}
		v, err := doctor.Read(s.FS, s.Dir)
		s.locks = err == nil && v.LocksTell()
	})
	return s.locks
}
