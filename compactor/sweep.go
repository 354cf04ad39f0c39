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

// sweeper takes streams out of a root: sealed ones, and those of dead writers. One goroutine uses it.
type sweeper struct {
	journal.Root
	say       *speaker
	deadAfter time.Duration
	grace     time.Duration

	ask   sync.Once // for locks
	locks bool      // see locksTell
}

// sweep moves each stream that m has folded to its seal out of its cohort, and counts them; m must be committed.
// Nothing depends on it: what cannot be moved now is noted and tried again by the next run, which begins
// with it. The rename makes it atomic: a reader or a compactor sees a whole stream or none. It is not
// synced, for if it is undone by a crash the stream is read again and every record of it is a duplicate.
func (s *sweeper) sweep(m generation.Manifest) (swept int) {
	for _, m := range m.Streams {
		if !m.Sealed {
			continue
		}
		from, to := s.InCohort(m.Stream).Dir, s.InReaped(m.Stream).Dir
		if m.Damaged {
			to = s.Dir.Quarantined(m.Stream.Cohort, m.Stream.ID)
			swept += s.move(s.InReaped(m.Stream).Dir, to)
		}
		swept += s.move(from, to)
	}
	return swept
}

// move moves one stream's directory and counts it. What is gone was moved by another compactor.
func (s *sweeper) move(from, to string) (moved int) {
	err := s.moveAway(from, to)
	if err == nil {
		return 1
	}
	if !errors.Is(err, fs.ErrNotExist) {
		s.notSwept(from, err)
	}
	return 0
}

func (s *sweeper) notSwept(path string, err error) {
	s.say.tell(generation.NotSwept{Path: s.Dir.Rel(path), Err: err})
}

// moveAway renames a stream's directory and makes the parent that it needs. It goes through no link: the stream, or the
// cohort that it lies in, may have been replaced by one to a place that is not ours. The directories above were looked at when the
// root was opened.
func (s *sweeper) moveAway(from, to string) error {
	if _, err := s.FS.Stat(from); err != nil {
		return err
	}
	if err := durable.RealDir(s.FS, from, filepath.Dir(from), filepath.Dir(to)); err != nil {
		return err
	}
	err := s.FS.Rename(from, to)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := durable.MkdirAll(s.FS, filepath.Dir(to), s.Settings.DirMode.FS()); err != nil {
		return err
	}
	return s.FS.Rename(from, to)
}
