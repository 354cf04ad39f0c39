// Package index reads and writes the two published files: index.parquet, one row per key, and
// snapshot_index.json, one line per key. It speaks io.ReaderAt and io.Writer, never paths, and knows
// nothing of journals, manifests or locks.
//
// # What a program needs
//
// Most of this package is for packages generation and compactor, and changes with them. A program meets a [File] in
// generation.Data.Index, and these parts of it are stable: [Open], [File.Rows], [File.Identities], [File.Schema] and
// [File.NumRows], with [Identity], [Schema] and [Column]; [Snapshots] with [Snapshot]; and [ErrDamaged].
//
// # How a fold uses it
//
// Both files are immutable once written. A fold makes the next ones out of the old ones and of what
// it decided to put, in one pass and with bounded memory:
//
//	old, err := index.Open(file, size)
//	found, err := old.Find(keys)
//	// ... decide which records win over found, and give each its seq ...
//	schema := old.Schema().Extend(records)
//	stats, err := index.Merge(w, old, found, schema, puts, load, meta)
//	n, err := index.MergeSnapshots(w, oldSnapshots, puts, load, replaced)
//
// # What is held where
//
// A row and the snapshot of its key together are the whole record: a value stands in a column, or in
// the _extra column, or in the snapshot. docs/format/index.md and docs/format/snapshots.md say which.
//
// # Damage
//
// Whatever bytes are given, no function panics and no function returns rows that were not written:
// errors match [ErrDamaged], or cohort.ErrNewer for a file of a later version. A panic while a new file is
// written is no damage: it is an internal error, which says so and has the stack. What a flipped bit
// inside a data page does is found by the page's checksum when the page is read or copied.
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
	// version is that of indexes that are written now.
	version = 2
	// withDigest is the first one with a digest in each row, ids of columns, and a timestamp that may be NULL.
	withDigest = 2
)

// ErrDamaged reports bytes that no version of runfold wrote.
var ErrDamaged = errors.New("damaged")

// damaged makes an error that matches ErrDamaged.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// guard turns a panic of the parquet library over bytes that it reads, and did not expect, into an error. It is
// deferred around single calls of the library, never around a caller's code.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = damaged("parquet: %v", p)
	}
}

// guardWriting is guard for what writes a new file. No bytes of an old one can be blamed for a panic there.
func guardWriting(err *error) {
	if p := recover(); p != nil {
		*err = internal("%v\n%s", p, debug.Stack())
	}
}

// internal makes an error of what only a bug of ours can have made. It matches no other one.
func internal(format string, args ...any) error {
	return fmt.Errorf("write parquet: internal error: this is a bug in runfold and nothing was committed: please report it with all of this: "+format, args...)
}

// Put is a row that a fold decided to write.
type Put struct {
	Key cohort.Key
	Seq cohort.Seq
	// Record is the record; nil where Load gives it, so that a million puts do not lie in memory.
	Record *cohort.Record
	// N is the caller's own number for it.
	N int32
	// Raise leaves the row that stands under Key as it is but for its stamp, which becomes the Record's.
	// Nothing else of the Record is looked at.
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
	Program    string // name and version of what wrote it, for people
}
