package compactor

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// sweeper moves streams out of their cohorts: sealed streams, and those of dead writers. One goroutine uses it.
type sweeper struct {
	journal.Root
	say       *speaker
	deadAfter time.Duration
	grace     time.Duration

	stuck map[journal.Stream]error // see couldNot

	ask   sync.Once // for locks
	locks bool      // see locksTell
}

// sweep moves each stream that m has folded to its seal out of its cohort, and counts them. m must be committed, and durable
// (docs/durability.md, R11). Nothing depends on the result: what cannot be moved now is told, and the next run tries again
// before it folds.
func (s *sweeper) sweep(m generation.Manifest) (swept int) {
	for _, m := range m.Streams {
		// A writer may still add to a stream without a seal. Such a stream goes only after its writer is taken for dead: see
		// reap.go.
		if !m.Sealed {
			continue
		}
		// The stream is moved and not deleted. Until a second generation stands on this one, it is the second copy of what
		// was folded from it (P6, P11).
		from, to := s.InCohort(m.Stream).Dir, s.InReaped(m.Stream).Dir
		// A damaged stream stays in quarantine/ for a person to look at. It may lie in reaped/ already, if it was reaped
		// before its damage was found.
		if m.Damaged {
			to = s.Dir.Quarantined(m.Stream.Cohort, m.Stream.ID)
			swept += s.move(m.Stream, s.InReaped(m.Stream).Dir, to)
		}
		swept += s.move(m.Stream, from, to)
	}
	return swept
}

// move moves one stream's directory and counts it.
func (s *sweeper) move(of journal.Stream, from, to string) (moved int) {
	err := s.moveAway(from, to)
	if err == nil {
		return 1
	}
	// If the stream is gone, another compactor has moved it: that is no fault, and it is not counted here.
	if !errors.Is(err, fs.ErrNotExist) {
		s.couldNot(of, from, err)
	}
	return 0
}

// notSwept tells that something could not be moved or removed. The run goes on: a later run tries again.
func (s *sweeper) notSwept(path string, err error) {
	s.say.tell(generation.NotSwept{Path: s.Dir.Rel(path), Err: err})
}

// moveAway renames a stream's directory, and makes the parent of the new name if that is missing. Others see the stream in one
// place or the other, and always whole.
func (s *sweeper) moveAway(from, to string) error {
	if _, err := s.FS.Stat(from); err != nil {
		return err
	}
	// A link in the place of the stream or its cohort could lead out of the root (P13). The directories above these were
	// checked when the root was opened.
	if err := durable.RealDir(s.FS, from, filepath.Dir(from), filepath.Dir(to)); err != nil {
		return err
	}
	// The rename is not synced (S4). If a crash undoes it, the stream is in its cohort again and is read again; each record
	// of it is then a duplicate (R6). A deletion in reaped/ syncs the move first (R17).
	err := s.FS.Rename(from, to)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := durable.MkdirAll(s.FS, filepath.Dir(to), s.Settings.DirMode.FS()); err != nil {
		return err
	}
	return s.FS.Rename(from, to)
}
