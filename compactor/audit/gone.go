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
	case mark.Offset > 0 && c.MayBeOld(mark.Grown):
		c.unseen(s.Dir, "the storage does not show its segment, which was folded up to offset %d", mark.Offset)
	case mark.Offset > 0 && mark.MayEndAt(journal.Position{}):
		c.lostUnsynced(s.Dir, 0, mark)
	case mark.Offset > 0:
		c.damage(s.Dir, "has no segment: somebody removed it, or it was lost; it was folded up to offset %d, and what came after that is gone", mark.Offset)
	default:
		c.note(s.Dir, "has no segment: its writer is about to make it, or was killed before that, or somebody removed it")
	}
	return true
}

// lostUnsynced tells of a stream that lost what was folded before its writer had synced it: see generation.Watermark.MayEndAt.
func (c *checker) lostUnsynced(path string, at int64, mark generation.Watermark) {
	if mark.Sealed {
		c.note(path, "ends at offset %d, before its seal, which was folded: a power loss took it before it was synced; no record is missing", at)
		return
	}
	c.note(path, "has no entry that ends at offset %d, up to which it was folded; what is missing after offset %d was not synced then, and a power "+
		"loss takes that: it is in the index (if somebody has put an older copy in its place, what came after that is lost)", mark.Offset, at)
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
		case m.Offset == 0: // nothing of it was folded
			c.note(c.Root.Stream(m.Stream.Cohort, m.Stream.ID), "is gone: a fold saw it before anything was written there; a power loss takes such a stream")
		case c.MayBeOld(m.Grown):
			c.unseen(c.Root.Cohort(m.Stream.Cohort), "stream %s is not seen: it was folded up to offset %d", m.Stream.ID, m.Offset)
		case m.MayEndAt(journal.Position{}):
			c.lostUnsynced(c.Root.Stream(m.Stream.Cohort, m.Stream.ID), 0, m)
		default:
			c.among(c.Root.Cohort(m.Stream.Cohort), "stream %s is gone: it was folded up to offset %d, and what came after that is not in this root", m.Stream.ID, m.Offset)
		}
	}
	return nil
}
