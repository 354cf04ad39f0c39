// Package index reads and writes the two published files: index.parquet, one row per key, and
// snapshot_index.json, one line per key. It uses io.ReaderAt and io.Writer, never paths. It does not know
// journals, manifests or locks.
//
// # What a program needs
//
// Most of this package is for the packages generation and compactor, and changes with them. A program gets a [File] from
// generation.Data.Index. These parts are stable: [Open], [File.Rows], [File.Identities], [File.Schema] and
// [File.NumRows], with [Identity], [Schema] and [Column]; [Snapshots] with [Snapshot]; and [ErrDamaged].
//
// # How a fold uses it
//
// Both files are immutable after they are written. A fold makes the next files from the old ones and from the rows that
// it puts, in one pass and with bounded memory:
//
//	old, err := index.Open(file, size)
//	found, err := old.Find(keys)
//	// ... decide which records win over found, and give each its seq ...
//	schema := old.Schema().Extend(records)
//	stats, err := index.Merge(w, old, found, schema, puts, load, meta)
//	n, err := index.MergeSnapshots(w, oldSnapshots, puts, load, replaced)
//
// # Where the values are
//
// A row and the snapshot of its key together are the whole record. Each value is in a column, or in
// the _extra column, or in the snapshot. docs/format/index.md and docs/format/snapshots.md say which.
//
// # Damage
//
// For any bytes, no function panics, and no function returns rows that were not written. The
// errors match [ErrDamaged], or cohort.ErrNewer for a file of a later version. A panic while a new file is
// written is not damage: it is an internal error, which says so and has the stack. A flipped bit
// in a data page is found by the page's checksum when the page is read. What is taken over unread, [Target] answers for.
//
// # Backwards compatibility
//
// [Open] reads every version of the index that was ever written, [Merge] always writes the newest.
package index

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/runfold/runfold/cohort"
)

// Part of the format, do not change.
const (
	// version is the version of the indexes that are written now.
	version = 3
	// withDigest is the first version with a digest in each row, ids of columns, and a timestamp that may be NULL.
	withDigest = 2
	// withWriter is the first version that says who wrote each row.
	withWriter = 3
)

// ErrDamaged reports bytes that no version of runfold wrote.
var ErrDamaged = errors.New("damaged")

// damaged makes an error that matches ErrDamaged.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// guard turns a panic of the parquet library over unexpected bytes into an error. It is
// deferred around single calls of the library, never around a caller's code.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = damaged("parquet: %v", p)
	}
}

// guardWriting is guard for code that writes a new file. The bytes of an old file cannot cause a panic there.
func guardWriting(err *error) {
	if p := recover(); p != nil {
		*err = internal("%v\n%s", p, debug.Stack())
	}
}

// internal makes an error for a state that only a bug of ours can cause. It matches no other error.
func internal(format string, args ...any) error {
	return fmt.Errorf("write parquet: internal error: this is a bug in runfold and nothing was committed: please report it with all of this: "+format, args...)
}

// Put is a row that a fold decided to write.
type Put struct {
	Key cohort.Key
	Seq cohort.Seq
	// Record is the record. It is nil if Load gives it, so that the records of a million puts need not be in memory.
	Record *cohort.Record
	// N is the caller's own number for it.
	N int32
	// Segment is the segment_id that the row had where it comes from; nil: Segments decides.
	Segment *int64
	// Raise changes only the stamp of the row with this Key, to that of the Record.
	// No other field of the Record is used.
	Raise bool
}

// Load returns the record of a put that has none. It is called for each such put once, in seq order. The
// record's JSON and Top need not outlive the next call.
type Load func(Put) (cohort.Record, error)

// record is the record of p.
func (p Put) record(load Load) (cohort.Record, error) {
	if p.Record != nil {
		return *p.Record, nil
	}
	return load(p)
}

// Meta is what the index says about itself in the footer.
type Meta struct {
	Generation cohort.Generation
	Token      cohort.Token
	Program    string // name and version of the program that wrote it, for people
	// Withdrawn tells that the rows are not those of an index: they were withdrawn.
	Withdrawn bool
	// Beside tells that the same attempt wrote a file of withdrawn rows: this index is not all that it wrote of rows.
	Beside bool
}
