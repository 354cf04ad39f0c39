package compactor

import (
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/journal"
)

// Fate says what becomes of a stream without a seal, whose writer lives or was killed.
type Fate struct {
	Stream journal.Stream
	State  State
	// Due is the time of the storage from which on a fold does what State says, and 0 if that does not hang on a time. A fold before
	// it may do it where a lock tells that the writer has ended.
	Due cohort.Stamp
}

// State is what a stream without a seal waits for. More may be added.
type State string

// The states, in their order.
const (
	// MayLive: its writer is not known to have ended. A fold moves it to reaped/ when it has not grown until Due.
	MayLive State = "its writer is not known to have ended"
	// WriterEnded: the next fold moves it to reaped/.
	WriterEnded State = "its writer has ended: the next fold moves it to reaped/"
	// InGrace: it lies in reaped/, and each fold reads it there. The second fold after Due that changes rows has deleted it.
	InGrace State = "in reaped/"
)

// Fates tells of each of these streams what a fold with cfg's DeadAfter and ReapGrace would do about it, as m, the newest generation,
// has seen it. Left out are streams that are folded to their seal, and those that a fold still has to read to their end. It reads only.
func Fates(root journal.Root, cfg Config, m generation.Manifest, streams []journal.Place) []Fate {
	cfg = cfg.withDefaults()
	s := sweeper{Root: root, deadAfter: cfg.DeadAfter, grace: cfg.ReapGrace}
	seen := m.Marks()
	var out []Fate
	for _, p := range streams {
		w := seen[p.Stream]
		if f, ok := s.fate(p, w); ok && !w.Sealed {
			out = append(out, f)
		}
	}
	return out
}

// fate is that of a stream without a seal; ok is false if the next fold reads it first.
func (s *sweeper) fate(p journal.Place, seen generation.Watermark) (f Fate, ok bool) {
	f.Stream = p.Stream
	switch {
	case p.Reaped && seen.Reaped > 0:
		f.State, f.Due = InGrace, after(seen.Reaped, s.grace)
	case p.Reaped || seen.Grown == 0 || !s.isUnchanged(p, seen):
		return f, false
	default:
		f.State, f.Due = MayLive, after(seen.Grown, s.deadAfter)
		// Where locks tell, a fold need not wait for that time: see isDead.
		if gone, err := s.lockTells(p.Stream); err == nil && gone {
			f.State, f.Due = WriterEnded, 0
		}
	}
	return f, true
}

func after(t cohort.Stamp, d time.Duration) cohort.Stamp { return t + cohort.Stamp(max(d, 0)) }
