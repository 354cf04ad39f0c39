package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// copied is the copy of a stream.
type copied struct {
	dir  string
	what scanned
}

// copyStreams copies each stream that may hold more than first has folded, and each that a writer may still go on with: a root whose
// newest generation has read a part of a stream that is nowhere looks like one that has lost it.
func (b *backup) copyStreams(ctx context.Context, first generation.Manifest) error {
	all, _, err := b.Journal().Streams()
	if err != nil {
		return err
	}
	marks := first.Marks()
	for _, p := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if m := marks[p.Stream]; !m.Sealed {
			if err := b.copyStream(p); err != nil {
				return fmt.Errorf("stream %v: %w", p.Stream, err)
			}
		}
	}
	return nil
}

// copyStream copies one stream, from where it lies now. A fold may move it to reaped/ meanwhile, or delete it there.
func (b *backup) copyStream(p journal.Place) error {
	var err error
	for range 3 { // on a share an open may find nothing although the name is there
		for _, at := range []journal.Place{p, b.Journal().InReaped(p.Stream)} {
			if err = b.copyFrom(at); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if !b.stands(cohort.SegmentIn(p.Dir)) && !b.stands(cohort.SegmentIn(b.Root.Reaped(p.Cohort, p.ID))) {
			return b.without(p)
		}
	}
	return err
}

func (b *backup) stands(path string) bool {
	_, err := b.FS.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// without notes a stream that has no segment any more, or not yet. Where its directory is, its writer has not begun one, or a
// deletion was cut off (R13). In quarantine/ it is copied later.
func (b *backup) without(p journal.Place) error {
	for _, dir := range []string{p.Dir, b.Root.Reaped(p.Cohort, p.ID), b.Root.Quarantined(p.Cohort, p.ID)} {
		if b.stands(dir) {
			return nil
		}
	}
	b.gone = append(b.gone, p.Stream)
	return nil
}

// copyFrom copies a stream, up to the end of an entry.
func (b *backup) copyFrom(p journal.Place) error {
	if err := durable.RealDir(b.FS, p.Dir, filepath.Dir(p.Dir)); err != nil {
		return err
	}
	what, err := scan(b.Journal(), p)
	if err != nil {
		return err
	}
	to := b.to.Stream(p.Cohort, p.ID)
	if p.Reaped {
		to = b.to.Reaped(p.Cohort, p.ID)
	}
	if err := b.mkdir(to); err != nil {
		return err
	}
	file, err := b.FS.Open(cohort.SegmentIn(p.Dir))
	if err != nil {
		return errors.Join(err, b.forget(to))
	}
	defer file.Close()
	if err := b.write(cohort.SegmentIn(to), io.NewSectionReader(file, 0, what.end), b.Settings.FileMode.FS()); err != nil {
		return err
	}
	if err := b.closeDir(to); err != nil {
		return err
	}
	b.streams[p.Stream] = copied{to, what}
	if what.whole != nil {
		return nil
	}
	// The copy is read back, with the checksum of each entry. A place that was damaged in the root must be so in the copy, unless its
	// bytes came late; anything else is an error of the copy.
	again, err := scan(journal.Root{Dir: b.to, Settings: b.Settings, FS: b.disk}, journal.Place{Stream: p.Stream, Dir: to, Reaped: true})
	if err != nil {
		return err
	}
	if again.end != what.end || again.records < what.records {
		return fmt.Errorf("the copy has %d records up to byte %d, and %d up to byte %d were read before: is the memory or the disk of the copy broken?",
			again.records, again.end, what.records, what.end)
	}
	b.streams[p.Stream] = copied{to, again}
	return nil
}

// scanned is what a stream holds.
type scanned struct {
	end      int64 // of its last valid entry
	entries  int   // those that hold something: records, and damage
	records  int64
	ends     []int64 // where the records end, to count those behind a watermark
	problems []Problem
	whole    *Problem // it cannot be read as a stream of this root: it is copied as it is
}

// scan reads a stream as one to which nothing is added, so that it finds what is valid behind damage. Bytes at its end that are not
// an entry, perhaps not yet, do not count.
func scan(root journal.Root, p journal.Place) (s scanned, err error) {
	path := cohort.SegmentIn(p.Dir)
	p.Reaped = true
	r, err := root.Open(p, journal.Position{})
	if err != nil {
		return scanned{}, err
	}
	defer r.Close()
	r.ReuseMemory()
	damaged := int64(0)
	for {
		_, err := r.Next()
		at := r.Position().Offset
		var damage *journal.CorruptError
		switch {
		case err == nil:
			s.end, s.records, s.entries = at, s.records+1, s.entries+1
			s.ends = append(s.ends, at)
		case errors.As(err, &damage):
			damaged, s.entries = at, s.entries+1
			s.problems = append(s.problems, Problem{root.Dir.Rel(path),
				fmt.Sprintf("%d bytes at offset %d: %v", damage.Length, damage.Offset, damage.Err), true})
		case errors.Is(err, io.EOF):
			if at > damaged {
				s.end = at
			}
			return s, nil
		case journal.IsMisfit(err), errors.Is(err, cohort.ErrNewer):
			info, serr := root.FS.Stat(path)
			if serr != nil {
				return scanned{}, serr
			}
			s.end, s.whole = info.Size(), &Problem{root.Dir.Rel(path), fmt.Sprintf("copied as it is, and not read: %v", err), journal.IsMisfit(err)}
			return s, nil
		default:
			return scanned{}, err
		}
	}
}

// copyMore copies those streams again that m has read further than they were copied, if no fold has read them to their end.
func (b *backup) copyMore(m generation.Manifest) error {
	for _, mark := range m.Streams {
		had, ok := b.streams[mark.Stream]
		if mark.Sealed || mark.Reaped != 0 || ok && (had.what.whole != nil || had.what.end >= mark.Offset) {
			continue
		}
		if ok {
			if err := b.forget(had.dir); err != nil {
				return err
			}
			delete(b.streams, mark.Stream)
		}
		if err := b.copyStream(b.Journal().InCohort(mark.Stream)); err != nil {
			return fmt.Errorf("stream %v: %w", mark.Stream, err)
		}
		if b.streams[mark.Stream].what.end >= mark.Offset {
			continue
		}
		// A fold has read it to its end meanwhile, and deleted it. If not, it is as torn or gone in the root as it is here.
		if now, err := b.Newest(); err != nil || now.Generation > m.Generation {
			return errors.Join(err, fmt.Errorf("stream %v went on: %w", mark.Stream, generation.ErrConflict))
		}
	}
	return nil
}

// dropFolded removes the copies of streams of which m has folded all that was copied, and counts the others. The restored root has no
// watermark for them, and needs none. A stream that was there before and is gone must be one that a fold may delete.
func (b *backup) dropFolded(first, m generation.Manifest) error {
	before, marks := first.Marks(), m.Marks()
	for _, s := range b.gone {
		if m.Generation == first.Generation && before[s].Reaped == 0 {
			return fmt.Errorf("stream %v is gone, and no fold can have deleted it", s)
		}
	}
	for s, c := range b.streams {
		mark := marks[s]
		if c.what.whole == nil && (mark.Sealed || mark.Reaped != 0 && c.what.end <= mark.Offset || mark.Offset == 0 && c.what.entries == 0) {
			if err := b.forget(c.dir); err != nil {
				return err
			}
			continue
		}
		if c.what.whole == nil && c.what.end <= mark.Offset {
			continue // its writer lives, or was killed, and all of it is folded
		}
		b.out.Streams++
		for _, end := range c.what.ends {
			if end > mark.Offset {
				b.out.Unfolded++
			}
		}
		b.out.Problems = append(b.out.Problems, c.what.problems...)
		if c.what.whole != nil {
			b.out.Problems = append(b.out.Problems, *c.what.whole)
		}
	}
	slices.SortFunc(b.out.Problems, func(a, b Problem) int { return strings.Compare(a.String(), b.String()) })
	return nil
}
