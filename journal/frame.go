package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/runfold/runfold/cohort"
)

// An entry is a length and one frame. All integers are little-endian.
//
//	uvarint  length of the frame
//	frame:
//	  0   4  CRC32C over the 26 characters of the stream's ULID, then frame[4:]
//	  4   1  version, 2
//	  5   1  kind: 1 header, 2 record, 3 seal, 4 action
//	  6   8  seq: 1 for the header and no other, then one more each
//	 14   8  stamp, nanoseconds
//	 22   1  length n of the record id; 0 in headers and seals
//	 23   n  record id
//	 23+n 8  only in a record: the writer's wall clock, nanoseconds since 1970; 0: not known
//	 31+n    payload: JSON; in a header or seal it begins at 23
//
// The checksum covers the stream's name, so a frame that was moved or copied to another stream
// is not valid there. The checksum, the version and the seq keep their places in all later versions, and a seal ends
// the stream in all of them. So a newer frame can be told from a damaged one, at any place. Zero is
// never a valid length, version, kind or seq: zeros are not an entry.
//
// Version 1 has no wall clock, and no actions. From version 2 on, a kind that we do not know comes from
// a newer program, like a version that we do not know.
//
// Part of the format, do not change.
const (
	frameVersion = 2
	firstVersion = 1
	frameHead    = 23
	clockSize    = 8
	maxFrame     = 64 << 20
	minFrame     = frameHead
)

// kind says what a frame is.
type kind uint8

const (
	kindHeader kind = iota + 1
	kindRecord
	kindSeal
	kindAction
)

func (k kind) String() string {
	switch k {
	case kindHeader:
		return "header"
	case kindRecord:
		return "record"
	case kindSeal:
		return "seal"
	case kindAction:
		return "action"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// frame is a decoded frame. payload aliases the bytes that it was parsed from.
type frame struct {
	version  uint8 // 0: the version that appendFrame writes
	kind     kind
	seq      uint64
	stamp    cohort.Stamp
	recordID string
	written  int64 // the writer's wall clock, only in a record or action; see clockOf
	payload  []byte
	crc      uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// streamCRC is the checksum of the stream's name. The checksum of every frame continues it.
func streamCRC(id cohort.StreamID) uint32 {
	crc := ^uint32(0)
	for i := range len(id) { // the same as crc32.Checksum, which would need a copy of id on the heap
		crc = castagnoli[byte(crc)^id[i]] ^ crc>>8
	}
	return ^crc
}

// appendFrame appends f's frame, without the length before it, to dst, which is empty.
func appendFrame(dst []byte, id cohort.StreamID, f frame) []byte {
	f.version = cmp.Or(f.version, frameVersion)
	dst = append(dst, 0, 0, 0, 0, f.version, byte(f.kind))
	dst = binary.LittleEndian.AppendUint64(dst, f.seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.stamp))
	dst = append(dst, byte(len(f.recordID)))
	dst = append(dst, f.recordID...)
	if f.hasClock() {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(f.written))
	}
	dst = append(dst, f.payload...)
	binary.LittleEndian.PutUint32(dst, crc32.Update(streamCRC(id), castagnoli, dst[4:]))
	return dst
}

func (f frame) hasClock() bool { return f.hasID() && f.version > firstVersion }

// hasID tells whether the frame is something that was appended.
func (f frame) hasID() bool { return f.kind == kindRecord || f.kind == kindAction }

// clockOf is a wall clock in the form of a frame. It is 0 for a time before 1970, when the clock is not set, and for a time
// after 2261, which does not fit into a frame.
func clockOf(t time.Time) int64 {
	if y := t.UTC().Year(); y < 1970 || y > 2261 {
		return 0
	}
	return t.UnixNano()
}

// timeOf is the time from which clockOf made this value, in UTC. It is the zero time if that is not known.
func timeOf(clock int64) time.Time {
	if clock <= 0 {
		return time.Time{}
	}
	return time.Unix(0, clock).UTC()
}

// writtenAt is when a record was written. Frames of version 1 have no wall clock: there it is the stamp, which began at the
// storage's clock.
func (f frame) writtenAt() time.Time {
	if !f.hasClock() {
		return timeOf(int64(f.stamp))
	}
	return timeOf(f.written)
}

// entrySize is how many bytes a frame takes as an entry.
func entrySize(frame int) int {
	return len(binary.AppendUvarint(nil, uint64(frame))) + frame
}

var (
	errShort    = errors.New("ends within an entry")
	errLength   = errors.New("length is out of bounds")
	errChecksum = errors.New("checksum does not fit")
	errForm     = errors.New("is no frame of ours although its checksum fits")
)

// parseLength reads the length before a frame. errShort means that b is too short to hold it.
func parseLength(b []byte) (length, width int, err error) {
	n, width := binary.Uvarint(b)
	switch {
	case width == 0 && len(b) < binary.MaxVarintLen64:
		return 0, 0, errShort
	case width <= 0, n < minFrame, n > maxFrame:
		return 0, 0, errLength
	case width > 1 && b[width-1] == 0: // a longer spelling of a smaller number
		return 0, 0, errLength
	}
	return int(n), width, nil
}

// parseFrame decodes what appendFrame makes for this stream, and refuses everything else. Bytes with a
// good checksum that a newer program wrote are cohort.ErrNewer; of such a frame only the seq is returned.
func parseFrame(b []byte, id cohort.StreamID) (frame, error) {
	if len(b) < minFrame {
		return frame{}, errShort
	}
	crc := binary.LittleEndian.Uint32(b)
	if crc != crc32.Update(streamCRC(id), castagnoli, b[4:]) {
		return frame{}, errChecksum
	}
	f, n, err := parseHead(b, len(b))
	if err != nil {
		return f, err
	}
	f.recordID, f.payload = string(b[frameHead:frameHead+n]), b[frameHead+n:]
	if f.hasClock() {
		f.written = int64(binary.LittleEndian.Uint64(f.payload))
		f.payload = f.payload[clockSize:]
	}
	return f, nil
}

// isNewer tells from the head of a frame whether a newer program wrote it, if its checksum fits.
func isNewer(b []byte) bool {
	return b[4] > frameVersion || b[4] > firstVersion && kind(b[5]) > kindAction
}

func seqOf(b []byte) uint64 { return binary.LittleEndian.Uint64(b[6:]) }

// parseHead decodes the first frameHead bytes of a frame of some length. It does not compare the checksum. n is the length
// of the record's id. A newer frame is cohort.ErrNewer; of it only the seq is returned.
func parseHead(b []byte, length int) (f frame, n int, err error) {
	switch {
	case b[4] > frameVersion:
		return frame{seq: seqOf(b)}, 0, fmt.Errorf("frame of version %d: %w", b[4], cohort.ErrNewer)
	case isNewer(b):
		return frame{seq: seqOf(b)}, 0, fmt.Errorf("frame of kind %d: %w", b[5], cohort.ErrNewer)
	}
	f = frame{
		version: b[4], kind: kind(b[5]), seq: seqOf(b),
		stamp: cohort.Stamp(binary.LittleEndian.Uint64(b[14:])), crc: binary.LittleEndian.Uint32(b),
	}
	n = int(b[22])
	least := frameHead + n
	if f.hasClock() {
		least += clockSize
	}
	if f.version == 0 || f.kind < kindHeader || f.kind > kindAction || f.kind == kindAction && f.version == firstVersion || f.seq == 0 || length < least ||
		f.hasID() != (n > 0) || (f.kind == kindHeader) != (f.seq == 1) {
		return frame{}, 0, errForm
	}
	return f, n, nil
}
