package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// wrongly is a stream in quarantine/ that is whole and belongs to this root: it was put there while runfold.json named another root, or
// while it lay in the directory of another cohort.
type wrongly struct {
	lies, belongs journal.Stream // belongs has the cohort that its header names
	notes         []string       // about it, none of them about damage
}

// wrongs finds such streams.
func (r *repairer) wrongs(ctx context.Context) error {
	r.back, r.out.Back = nil, []Problem{}
	kept, err := r.Journal().Quarantined()
	if err != nil {
		return err
	}
	marks := r.good.Marks()
	for _, s := range kept {
		if err := ctx.Err(); err != nil {
			return err
		}
		w, ok := r.wronglyKept(s, marks)
		if !ok {
			continue
		}
		r.back = append(r.back, w)
		r.out.Back = append(r.out.Back, Problem{r.Root.Rel(r.Root.Quarantined(s.Cohort, s.ID)),
			fmt.Sprintf("is whole, and was written for cohort %s of this root", w.belongs.Cohort), true})
	}
	return nil
}

// wronglyKept tells whether a stream in quarantine/ belongs into the root. If anything about it is in doubt, it stays where it is.
func (r *repairer) wronglyKept(s journal.Stream, marks map[journal.Stream]generation.Watermark) (w wrongly, ok bool) {
	j := r.Journal()
	at := journal.Place{Stream: s, Dir: r.Root.Quarantined(s.Cohort, s.ID), Reaped: true}
	id, belongs, ok := j.WrittenFor(at)
	if !ok || id != r.Settings.RootID {
		return wrongly{}, false
	}
	notes, damaged, err := compactor.Notes(j, s)
	if err != nil || damaged {
		return wrongly{}, false
	}
	at.Stream.Cohort = belongs
	m := marks[at.Stream]
	if m.Sealed || m.Damaged || r.stands(at.Stream) {
		return wrongly{}, false // it was folded to its end, or there is another copy of it
	}
	// It is read from its first byte, and must reach at least the place up to which it was folded.
	in, err := j.Open(at, journal.Position{})
	if err != nil {
		return wrongly{}, false
	}
	defer in.Close()
	for err == nil {
		_, err = in.Next()
	}
	whole := errors.Is(err, io.EOF) && in.Torn() == 0 && in.Position().Offset >= m.Offset
	return wrongly{s, at.Stream, notes}, whole
}

// stands tells whether a stream lies in its cohort or in reaped/. In doubt it does.
func (r *repairer) stands(s journal.Stream) bool {
	for _, p := range []journal.Place{r.Journal().InCohort(s), r.Journal().InReaped(s)} {
		if _, err := r.FS.Stat(p.Dir); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// bringWhole moves these streams to reaped/, where folds read them to their end. A fold that has read one before finds only
// duplicates in it.
func (r *repairer) bringWhole() error {
	for _, w := range r.back {
		err := r.makeDir(r.Root.Reaped(w.belongs.Cohort, ""))
		if err == nil {
			err = durable.Move(r.FS, r.Root.Quarantined(w.lies.Cohort, w.lies.ID), r.Root.Reaped(w.belongs.Cohort, w.belongs.ID))
		}
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			continue // another repair has done it just now
		}
		if err != nil {
			return fmt.Errorf("bring back stream %v: %w", w.belongs, err)
		}
		// The notes say nothing that is still true. They go after the move, so a stream in quarantine/ never lacks its note.
		for _, note := range w.notes {
			if err := durable.Remove(r.FS, note); err != nil {
				return fmt.Errorf("bring back stream %v: %w", w.belongs, err)
			}
		}
	}
	return nil
}
