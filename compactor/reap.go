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

// A stream whose writer was killed has no seal. It is folded like any other. Then it is removed in four steps:
//
//	seen      a manifest says where it ends, and since when
//	dead      its writer has certainly ended, or it has not grown for DeadAfter
//	reaped    it is moved to reaped/ and read again, now as a stream to which nothing is added
//	deleted   a manifest says that nothing came for ReapGrace, and a second manifest stands on that one
//
// The stream is whole until the last step. "Dead" may be wrong: a writer that was stopped, or cut off from the share, may go
// on. Before it acknowledges a record, it looks at the path of its stream; if the stream is gone, it writes the record to a new
// stream (docs/durability.md, R5). What it acknowledged before the move is in the stream. On NFS it may see an old path for up to
// 30 s, and acknowledge more in this time. These records are read in reaped/: the grace is for them (P10).

// dead is a stream that must be moved to reaped/.
type dead struct {
	journal.Place
	why string // the reason why its writer is taken for dead
}

// isDead decides whether a stream will grow no more. A manifest has seen where it ends, and it still ends there.
func (s *sweeper) isDead(p journal.Place, seen generation.Watermark, now cohort.Stamp) (why string, ok bool) {
	if seen.Grown == 0 || now == 0 {
		return "", false
	}
	// Both times come from the file system, so the clocks of the machines do not matter.
	if limit := max(s.deadAfter, 0); (now - seen.Grown).Duration() >= limit {
		return "it has not grown for " + limit.String(), true
	}
	if gone, err := s.lockTells(p.Stream); err != nil || !gone {
		return "", false // in doubt, the writer counts as alive
	}
	return "its writer has ended", true
}

// lockTells tells whether a free lock proves that the writer of a stream has ended. Where nobody has measured that locks tell, only
// time decides.
func (s *sweeper) lockTells(of journal.Stream) (gone bool, err error) {
	if !s.locksTell() {
		return false, nil
	}
	return s.WriterIsGone(of)
}

// reap moves dead streams to reaped/, tells of each move that succeeded, and counts them. The next round reads them again.
func (s *sweeper) reap(all []dead) (reaped int) {
	for _, p := range all {
		// This move is synced, unlike that of a sealed stream. The next round notes in the manifest that the stream lies in
		// reaped/, and counts the grace from then on. After a crash it must still lie there.
		err := durable.MkdirWithin(s.FS, string(s.Dir), s.Dir.Reaped(p.Cohort, ""), s.Settings.DirMode.FS())
		if err == nil {
			err = durable.Move(s.FS, p.Dir, s.InReaped(p.Stream).Dir)
		}
		switch {
		case err == nil:
			reaped++
			s.say.tell(Reaped{p.Stream, p.why})
		case !errors.Is(err, fs.ErrNotExist): // if it does not exist, another compactor has moved it
			s.couldNot(p.Stream, p.Dir, err)
		}
	}
	return reaped
}

// Reap moves streams to reaped/ and counts them. The caller must know that their writers have ended. The next fold reads them
// there to their end. Each move is durable. A stream that cannot be moved is told as NotSwept. A stream that is not there
// counts as moved by another compactor, and is not told.
func Reap(root journal.Root, streams []journal.Stream, why string, tell func(Notice)) (reaped int) {
	s := sweeper{Root: root, say: &speaker{to: tell}} // without a map: each stream that cannot be moved is told
	all := make([]dead, len(streams))
	for i, st := range streams {
		all[i] = dead{root.InCohort(st), why}
	}
	return s.reap(all)
}

// empty deletes streams in reaped/ that two committed generations, prev and its child next, make superfluous (P6). These are
// sealed streams that prev had folded whole, and dead streams that prev had read to their end and that did not change during
// the grace. It counts those that it moves to quarantine/ instead, because they are damaged.
func (s *sweeper) empty(prev, next generation.Manifest, now cohort.Stamp) (swept int) {
	// prev decides, not next. If the files of next are damaged one day, those of prev have every row of the deleted streams, and
	// the streams that next has folded are still here (P11, docs/decisions/0014).
	newer := next.Marks()
	// If both generations name the same file, its rows exist once, and damage to that file would need the streams (R18).
	twice := slices.DeleteFunc(slices.Clone(prev.Streams), func(m generation.Watermark) bool { return !s.standsTwice(prev, next, m.Stream.Cohort) })
	for _, m := range s.movedForGood(twice) {
		dir := s.Dir.Reaped(m.Stream.Cohort, m.Stream.ID)
		switch {
		// prev has folded the seal, and no writer writes after its seal. So what is not as long as it was then is damaged, or
		// somebody wrote there; on a share the size may also be an old one. It stays for a person to look at.
		case m.Sealed && !m.Damaged:
			if size, ok := s.endsAt(dir, m.Size()); !ok && !s.lacksOnlySeal(m) {
				s.say.once(NotAsFolded{m.Stream, m.Size(), size})
				continue
			}
		// A sealed damaged stream is moved by sweep. A dead stream stays until prev has read it in reaped/, next has found it
		// unchanged, and the grace is over.
		case m.Sealed || m.Reaped == 0 || newer[m.Stream] != m || (now-m.Reaped).Duration() < s.grace:
			continue
		// It has grown since the last look, so its writer lives (R5). The next fold reads it before it is deleted (P10).
		case !s.isUnchanged(s.InReaped(m.Stream), m):
			continue
		case m.Damaged:
			swept += s.move(m.Stream, dir, s.Dir.Quarantined(m.Stream.Cohort, m.Stream.ID))
			continue
		}
		err := durable.RealDir(s.FS, dir, filepath.Dir(dir)) // no deletion through a link (P13)
		// The deletion is not synced (S4). If it is cut off, the segment may be gone and the directory may stay: endsAt accepts
		// that, and a later run deletes the rest (R13).
		if err == nil {
			err = durable.RemoveAll(s.FS, dir)
		}
		if err != nil {
			s.notSwept(dir, err)
		}
	}
	return swept
}

// standsTwice tells whether what prev holds of a cohort stands in two sets of files: in those of prev, of which the fold of next
// has read all that was fresh, and in other files of next (R18).
func (s *sweeper) standsTwice(prev, next generation.Manifest, id cohort.ID) bool {
	if s.Settings.Snapshots != cohort.PerCohort {
		id = ""
	}
	was, ok := prev.Snapshots.Of(id)
	now, _ := next.Snapshots.Of(id)
	if prev.Withdrawn != nil && (next.Withdrawn == nil || prev.Withdrawn.Actions.Name == next.Withdrawn.Actions.Name) {
		return false
	}
	return prev.Index.Name != next.Index.Name && (!ok || was.Name != now.Name)
}

// movedForGood picks the streams that lie in reaped/ and will lie there after a power loss, too.
func (s *sweeper) movedForGood(all []generation.Watermark) (moved []generation.Watermark) {
	// A sweep does not sync its moves, and another compactor may have made one just now. If the disk keeps a deletion but not
	// the move before it, the stream stands in its cohort again without its beginning (R17). So the two directories of a move
	// are synced before the first deletion; a cohort whose sync fails keeps its streams.
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

// syncMoves makes the moves of a cohort's streams to reaped/ durable.
func (s *sweeper) syncMoves(id cohort.ID) error {
	err := durable.SyncDir(s.FS, s.Dir.Reaped(id, "")) // the new name first, as in durable.Move
	if err == nil {
		err = durable.SyncDir(s.FS, s.Dir.Stream(id, ""))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the cohort's directory was removed, so the move cannot be undone to it
	}
	if err != nil {
		s.notSwept(s.Dir.Reaped(id, ""), err)
	}
	return err
}

// lacksOnlySeal tells whether a stream in reaped/ ends before its seal, and is whole up to there: a power loss took the seal, which was
// folded before it was synced.
func (s *sweeper) lacksOnlySeal(m generation.Watermark) bool {
	info, err := s.FS.Stat(cohort.SegmentIn(s.Dir.Reaped(m.Stream.Cohort, m.Stream.ID)))
	if err != nil || !info.Mode().IsRegular() || info.Size() >= m.Size() {
		return false
	}
	end, err := s.End(s.InReaped(m.Stream))
	return err == nil && m.MayEndAt(end)
}

// isUnchanged tells whether a stream ends where its watermark says, or is gone because a deletion was cut off (R13). Zeros behind that are
// no change: its writer has put them there, ahead of its entries.
func (s *sweeper) isUnchanged(p journal.Place, m generation.Watermark) bool {
	is, ok := s.endsAt(p.Dir, m.Size())
	if ok || is < m.Size() {
		return ok
	}
	ends, err := s.EndsAt(p, m.Size())
	return err == nil && ends
}

// endsAt tells whether the segment in dir has this size, or is gone because a deletion was cut off (R13). is is the size that it has;
// -1 if that is not known.
func (s *sweeper) endsAt(dir string, want int64) (is int64, ok bool) {
	info, err := s.FS.Stat(cohort.SegmentIn(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return -1, true
	}
	if err != nil || !info.Mode().IsRegular() {
		return -1, false
	}
	return info.Size(), info.Size() == want
}

// locksTell reports whether a free lock proves that its holder has ended. It does so only where compactd doctor has measured
// it, and only if the file system is still of a type that no other machine mounts.
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
