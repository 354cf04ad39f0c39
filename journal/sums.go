package journal

import (
	"hash/crc32"
	"math/bits"

	"github.com/runfold/runfold/cohort"
)

// sums tells whether a checksum fits, for any part of a segment, and reads only the two ends of that part. Without it a search
// among bytes that were made to look like entries would read most of the segment for each of them.
//
// It keeps the CRC of all bytes up to every 64th byte. A CRC, without its inversions, is linear: the CRC of A followed by B is the CRC of A followed by
// as many zeros as B has bytes, xor the CRC of B. So the CRC of the bytes between two places follows from the CRCs up to
// these places: the first CRC is continued with zeros, and then taken away (xor) from the second. What zeros do to a CRC is
// linear in its 32 bits, so a table for each power of two is enough.
//
// It only moves forward. It does not know what lies more than maxFrame before the furthest sum.
type sums struct {
	near  *window // the Reader's
	w     window  // a window of its own, which is ahead of near
	id    uint32  // the CRC of the stream's name
	begin int64
	every []uint32 // a ring: the i-th is the CRC of the i*sumStep bytes from begin on
	kept  int64    // how many the ring holds
	n     int64    // how many were made
	zeros [27]zeros
	count int64 // of bytes that went into checksums
}

const (
	sumStep = 64
	// sumsKept is enough for both ends of the longest frame.
	sumsKept = maxFrame/sumStep + 3
)

// zeros says what a number of zero bytes makes of each bit of a CRC, before the last inversion.
type zeros [32]uint32

func (z *zeros) after(crc uint32) (out uint32) {
	for ; crc != 0; crc &= crc - 1 {
		out ^= z[bits.TrailingZeros32(crc)]
	}
	return out
}

func newSums(near *window, id cohort.StreamID, begin int64) *sums {
	s := &sums{near: near, w: window{f: near.f, size: near.size}, id: ^streamCRC(id), begin: begin, every: []uint32{0}, kept: sumsKept, n: 1}
	for bit := range 32 {
		crc := uint32(1) << bit
		s.zeros[0][bit] = castagnoli[byte(crc)] ^ crc>>8 // one zero: what streamCRC does with a byte
	}
	for i := range s.zeros[1:] {
		for bit := range 32 {
			s.zeros[i+1][bit] = s.zeros[i].after(s.zeros[i][bit]) // twice as many zeros
		}
	}
	return s
}

// fits tells whether crc is the checksum of the frame of that length at an offset. It returns true where it does not know,
// because the frame lies too far back or a read failed. The caller reads the frame then, and compares its checksum.
func (s *sums) fits(off, length int64, crc uint32) bool {
	if off < s.begin || (off-s.begin)/sumStep < s.n-s.kept {
		return true
	}
	to, err := s.upTo(off + length)
	if err != nil {
		return true
	}
	from, err := s.upTo(off + 4)
	if err != nil {
		return true
	}
	sum := s.id ^ from // the CRC of the name replaces the CRC of all bytes before the frame
	for i, n := 0, length-4; n > 0; i, n = i+1, n>>1 {
		if n&1 == 1 {
			sum = s.zeros[i].after(sum)
		}
	}
	return ^(sum ^ to) == crc
}

// upTo is the CRC of the bytes from begin to an offset, without its inversions.
func (s *sums) upTo(off int64) (uint32, error) {
	i := (off - s.begin) / sumStep
	for ; s.n <= i; s.n++ {
		b, err := s.w.at(s.begin+(s.n-1)*sumStep, sumStep)
		if err != nil {
			return 0, err
		}
		crc := s.add(s.every[(s.n-1)%s.kept], b)
		if s.n < s.kept {
			s.every = append(s.every, crc)
		} else {
			s.every[s.n%s.kept] = crc
		}
	}
	start := s.begin + i*sumStep
	var rest [sumStep]byte
	b := rest[:off-start]
	if !s.near.copy(b, start) && !s.w.copy(b, start) {
		if err := s.w.read(b, start); err != nil {
			return 0, err
		}
	}
	return s.add(s.every[i%s.kept], b), nil
}

func (s *sums) add(crc uint32, b []byte) uint32 {
	s.count += int64(len(b))
	return ^crc32.Update(^crc, castagnoli, b)
}
