package journal

import "fmt"

// A write that makes a file longer changes its size, and its fsync must then commit the journal of the file system. A write over
// bytes that are there needs none. So a stream that goes on is extended ahead with zeros. The library writes its entries over
// them, at its own position, and an fdatasync makes these durable at half the price or less (docs/decisions/0064).
//
//	1 to 3     fsync: as many streams have one record, they never pay for zeros
//	then       the group, zeros after it, one fsync for both
//	later      the group over the zeros, fdatasync; when they are used up, as in the line before
//	seal       the zeros are cut off, fsync; then the seal, fsync
//
// Zero is never a valid length, so a reader that meets zeros is at the end of the stream. Zeros never follow a seal: a seal must end
// the segment. A stream whose writer was killed, or whose machine has died, ends with zeros.

// spare is the room after the last entry. Tests have another one, which fails.
type spare interface {
	// fill makes the file longer: it writes zeros from an offset up to another one. They are not durable yet.
	fill(from, to int64) error
	// cut makes the file shorter again. That is not durable yet.
	cut(size int64) error
	// syncData makes durable what was written over zeros that are durable themselves. The file must have the size that it had then.
	syncData() error
	// sync makes durable what was written, and the size.
	sync() error
	// limit is the largest size that the system lets this process write.
	limit() int64
	// large is the size of a group from which on zeros cost more here than they save.
	large() int64
}

// firstGroups are the groups of a stream after which zeros are written ahead.
const firstGroups = 3

// How many zeros are written at once: a quarter of what the stream has, within bounds. So a fold that looks through them reads little beside
// the entries, and a stream that ends soon has written few in vain. There is room for some groups like the last one in any case.
const (
	ofStream   = 4
	ofGroup    = 8
	leastAhead = 64 << 10
	mostAhead  = 1 << 20
)

// Each byte is written twice, so from some size on zeros cost what the commit of the file system costs. Where that has no journal, a commit
// is cheap.
const (
	largeGroup          = mostAhead / 4
	largeWithoutJournal = 16 << 10
)

// sync makes the group durable that was just written. It makes the file longer if the stream goes on.
func (s *stream) sync() error {
	s.groups++
	group := s.size - s.synced
	s.synced = s.size
	if s.size <= s.end && s.spare != nil {
		return s.spare.syncData()
	}
	s.end = s.size
	if s.groups > firstGroups && s.spare != nil {
		if err := s.extend(group); err != nil {
			return err
		}
	}
	// The fsync of the library. It covers the zeros as well, whatever descriptor they were written through.
	return s.seg.sync()
}

// extend writes zeros after the group that was just written. The fsync that follows is for both.
func (s *stream) extend(group int64) error {
	if group >= largeWithoutJournal && group >= s.spare.large() {
		return nil
	}
	end := s.size + min(max(s.size/ofStream, leastAhead, ofGroup*group), mostAhead)
	if end = min(end, s.most, s.spare.limit()); end < s.size+group {
		return nil // the next group would not fit
	}
	err := s.spare.fill(s.size, end)
	if err == nil {
		s.end = end
		return nil
	}
	// The disk is full, or a quota is used up. The group itself is written. So the file ends with it again, and from here on this stream
	// goes on without zeros. The fsync that follows makes the size durable.
	if cut := s.spare.cut(s.size); cut != nil {
		return fmt.Errorf("cut off what was written after the last entry (%w): %w", err, cut)
	}
	s.spare = nil
	return nil
}

// cut cuts off the zeros, durably. The seal must not follow before that is durable: a power loss could keep the seal and lose the cut.
// Then zeros would stand after a seal, which is damage.
func (s *stream) cut() error {
	spare := s.spare
	s.spare = nil // nothing is written ahead of what follows
	if s.end == s.size {
		return nil
	}
	// If somebody else has cut the file off, this would make it longer, and leave a hole in front of the seal.
	size, err := s.own.size()
	if err == nil && size != s.end {
		return s.resized(size)
	}
	if err == nil {
		err = spare.cut(s.size)
	}
	if err == nil {
		err = spare.sync()
	}
	if err != nil {
		return fmt.Errorf("cut off the zeros of %s: %w", s.path(), err)
	}
	s.end = s.size
	return nil
}
