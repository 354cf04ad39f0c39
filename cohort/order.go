package cohort

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
)

// Stamp orders records: nanoseconds of a hybrid clock that starts at the time the file system gave
// to the writer's own file. It is not a wall-clock reading, though it looks like one.
type Stamp int64

// FirstClockStamp is below every stamp of a clock, and above all those that imports give.
const FirstClockStamp Stamp = 1 << 53

// Time is the stamp as a UTC time, for people. It is near the time of the append, and not that: see Record.Written.
func (s Stamp) Time() time.Time { return time.Unix(0, int64(s)).UTC() }

// Duration is the difference of two stamps as a duration: (a - b).Duration().
func (s Stamp) Duration() time.Duration { return time.Duration(s) }

func (s Stamp) String() string { return strconv.FormatInt(int64(s), 10) }

// Seq is a snapshot_seq: assigned in the fold, unique and increasing over a whole root, from 1 on.
type Seq uint64

func (s Seq) String() string { return strconv.FormatUint(uint64(s), 10) }

// Generation numbers the manifests of a root: 1 is the first fold, 0 means that none was made yet.
type Generation uint64

// String is the 20 digits that name files, so that names sort as numbers do.
func (g Generation) String() string { return fmt.Sprintf("%020d", uint64(g)) }

// ParseGeneration accepts exactly what String writes, except generation 0, which no file has.
func ParseGeneration(s string) (Generation, error) {
	if len(s) != 20 {
		return 0, fmt.Errorf("generation %q is not 20 digits", s)
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, fmt.Errorf("generation %q is not 20 digits", s)
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("generation %q is out of range", s)
	}
	return Generation(n), nil
}

// Digest is a hash of a record's JSON, byte for byte. It separates a repeated write from another write with the same
// record id. It does not resist a person who searches for two records with one digest. 0: not known.
type Digest uint64

// Version orders the records of one key: the record with the highest version is the last write.
type Version struct {
	Stamp    Stamp
	RecordID string
	Digest   Digest
}

// Compare orders versions by stamp, then by record id, then by digest: it is negative, zero or positive as cmp.Compare.
func (v Version) Compare(other Version) int {
	return cmp.Or(cmp.Compare(v.Stamp, other.Stamp), cmp.Compare(v.RecordID, other.RecordID), cmp.Compare(v.Digest, other.Digest))
}

// SameWrite tells whether both are one write, which may have been appended twice: they have the same record id and the same
// bytes. If a digest is not known, as in rows that older programs wrote, only the id decides.
func (v Version) SameWrite(other Version) bool {
	return v.RecordID == other.RecordID && (v.Digest == other.Digest || v.Digest == 0 || other.Digest == 0)
}
