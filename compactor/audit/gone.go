package audit

import (
	"errors"
	"io/fs"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/journal"
)

// lacksSegment tells of the directory of a stream that has no segment.
func (c *checker) lacksSegment(s journal.Place, mark generation.Watermark, newest generation.Manifest) bool {
	_, err := c.FS.Stat(cohort.SegmentIn(s.Dir))
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if _, err := c.FS.Stat(s.Dir); errors.Is(err, fs.ErrNotExist) {
		return true // swept since the listing
	}
	switch {
	case s.Reaped && (mark.Sealed || mark.Reaped != 0): // its deletion was cut off (R13)
	case c.isPassed(newest): // a later generation has read it to its end, and its deletion is under way
	case mark.Offset > 0:
		c.damage(s.Dir, "has no segment: somebody removed it, or it was lost; it was folded up to offset %d, and what came after that is gone", mark.Offset)
	default:
		c.note(s.Dir, "has no segment: its writer is about to make it, or was killed before that, or somebody removed it")
	}
	return true
}

// isPassed tells whether a generation is not the newest any more, or whether that cannot be known.
func (c *checker) isPassed(m generation.Manifest) bool {
	now, err := c.Newest()
	return err != nil || now.Generation != m.Generation
}

// goneStreams tells of streams that the newest generation had not read to their end, and that are nowhere in the root.
func (c *checker) goneStreams(streams []journal.Place, newest generation.Manifest) error {
	here := map[journal.Stream]bool{}
	for _, p := range streams {
		here[p.Stream] = true
	}
	var gone []generation.Watermark
	for _, m := range newest.Streams {
		if !m.Sealed && m.Reaped == 0 && !here[m.Stream] {
			gone = append(gone, m)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	kept, err := c.Journal().Quarantined()
	if err != nil {
		return err
	}
	for _, s := range kept {
		here[s] = true
	}
	if c.isPassed(newest) {
		return nil // a later generation may have read it to its end
	}
	for _, m := range gone {
		switch {
		case here[m.Stream]:
		case c.MayBeOld(m.Grown):
			c.unseen(c.Root.Cohort(m.Stream.Cohort), "stream %s is not seen: it was folded up to offset %d", m.Stream.ID, m.Offset)
		default:
			c.among(c.Root.Cohort(m.Stream.Cohort), "stream %s is gone: it was folded up to offset %d, and what came after that is not in this root", m.Stream.ID, m.Offset)
		}
	}
	return nil
}
