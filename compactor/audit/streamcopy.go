package audit

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// streamCopy is a stream that is not in the root any more, and whose entries are in the backup.
type streamCopy struct {
	stream  journal.Stream
	segment string // in the backup
}

// streamsOfBackup looks in the backup for streams with the entries that would be lost.
func (r *repairer) streamsOfBackup() error {
	if r.src.from == "" || len(r.out.Lost) == 0 {
		return nil
	}
	if err := r.src.list(); err != nil {
		return err
	}
	r.out.Lost = slices.DeleteFunc(r.out.Lost, func(l LostEntries) bool {
		s, ok := parseStream(l.Stream)
		if !ok {
			return false
		}
		for _, f := range r.src.files {
			if f.path != cohort.SegmentIn(filepath.Dir(f.path)) || filepath.Base(filepath.Dir(f.path)) != s.ID.String() || !r.hasEntries(f.path, s, l.Last) {
				continue
			}
			r.streamCopies = append(r.streamCopies, streamCopy{s, f.path})
			to := cohort.SegmentIn(r.Root.Reaped(s.Cohort, s.ID))
			r.out.Restored = append(r.out.Restored, Restored{r.Root.Rel(to), r.Root.Rel(f.path)})
			return true
		}
		return false
	})
	return nil
}

// parseStream reads what Stream.String returns.
func parseStream(text string) (journal.Stream, bool) {
	dir, id := filepath.Split(filepath.FromSlash(text))
	c, cerr := cohort.ParseID(filepath.Base(dir))
	s, serr := cohort.ParseStreamID(id)
	return journal.Stream{Cohort: c, ID: s}, cerr == nil && serr == nil
}

// hasEntries tells whether a segment is of this root, and whole up to an entry.
func (r *repairer) hasEntries(path string, s journal.Stream, last uint64) bool {
	in, err := r.Journal().Open(journal.Place{Stream: s, Dir: filepath.Dir(path), Reaped: true}, journal.Position{})
	if err != nil {
		return false
	}
	defer in.Close()
	for in.Position().Seq < last {
		if _, err := in.Next(); err != nil {
			return errors.Is(err, io.EOF) && in.Position().Seq >= last
		}
	}
	return true
}

// bringStream copies a stream of the backup to reaped/, where folds read it. It is made in quarantine/ and moved as a whole: a
// directory without its segment would count as a stream that was read and is being deleted.
func (r *repairer) bringStream(c streamCopy) error {
	part := filepath.Join(r.Root.DamagedGenerations(), c.stream.ID.String())
	if err := r.makeDir(part); err != nil {
		return err
	}
	if err := r.copySegment(cohort.SegmentIn(part), c.segment); err != nil {
		return fmt.Errorf("bring stream %v from %s: %w", c.stream, c.segment, err)
	}
	if err := r.makeDir(r.Root.Reaped(c.stream.Cohort, "")); err != nil {
		return err
	}
	if err := durable.Move(r.FS, part, r.Root.Reaped(c.stream.Cohort, c.stream.ID)); err != nil {
		return fmt.Errorf("bring stream %v: %w", c.stream, err)
	}
	return nil
}

func (r *repairer) copySegment(to, from string) error {
	in, err := r.FS.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := durable.Pending(r.FS, to, r.Settings.FileMode.FS())
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Discard()
		return err
	}
	return out.Commit()
}
