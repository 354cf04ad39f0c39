// Package journal appends records durably and reads them back.
//
// # Promises
//
// When [Writer.Append] returns nil the records are on stable storage and survive the death of the
// process, of the kernel and of the power. A Writer shares nothing with any other: it makes streams of
// its own, so any number of them, in any number of processes on any number of machines, append to one
// cohort without waiting for each other.
//
//	w, err := journal.Create("runs", "churn_eu", journal.Options{})
//	...
//	r, err := cohort.ParseRecord(line, 0)
//	...
//	if err := w.Append([]cohort.Record{r}); err != nil { ... }   // durable on nil
//	if err := w.Close(); err != nil { ... }                      // seals the stream
//
// # Roots
//
// A root is made on purpose, by [InitRoot], and opened by [OpenRoot], which makes nothing. Both return a [Root]: it makes
// Writers, lists the streams and opens them. [Create] is short for a program that only appends.
//
// # Reading
//
// A [Reader] reads one stream from a [Position] on. It opens files to read and nothing else, so it can
// do no harm to a stream that is being written, and takes a frame for what it says only if its checksum,
// its number and its stream are right. [Entries] reads a stream that lies anywhere. Most programs want neither: package
// compactor folds streams and lists the runs in them.
//
// # Errors
//
// These are for a program to branch on; every other error is one of the file system.
//
//	*RecordError     a record is not valid: nothing of that Append was written, the Writer goes on
//	ErrClosed        an Append came after Close
//	*NoRootError     there is no root, and what is there instead (matches ErrNoRoot)
//	ErrOtherRoot     it is a root, and not the one that was meant
//	*CorruptError    a place in a stream is damaged (matches ErrCorrupt)
//	cohort.ErrNewer  a later version wrote it
//
// # What we owe to tidwall/wal
//
// It has no checksums, no repair, and goes on after a failed write as if nothing had happened. So each
// stream is one log with one segment, opened once, by the process that made its directory; any error
// ends the stream; and only this package's own reader ever reads it. docs/format/journal.md describes
// the bytes without mentioning the library. It keeps in memory what it wrote, which is thrown away; a program that is built with
// another version than v1.2.1 keeps it: see [MemoryNote].
//
// # Backwards compatibility
//
// A stream of any version that was ever released can be read. A newer one is cohort.ErrNewer.
package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// Stream names one writer's stream: one directory with one file, written by one process, never reopened.
type Stream struct {
	Cohort cohort.ID
	ID     cohort.StreamID
}

// String is "cohort/ULID".
func (s Stream) String() string { return string(s.Cohort) + "/" + string(s.ID) }

// Position is a place between two entries of a stream: where a reader stands. The zero value is the
// beginning. It stands in manifests as the watermark of a stream.
type Position struct {
	Offset int64  `json:"offset"`           // in bytes from the start of the segment
	Seq    uint64 `json:"seq"`              // of the last entry before it
	CRC    uint32 `json:"crc"`              // of the last frame before it
	Sealed bool   `json:"sealed,omitempty"` // that frame is the seal: nothing follows
}

// streamsIn lists the streams in a directory of cohorts, oldest first (by ULID). Names that are not of our making, and
// symbolic links, are returned as paths in unknown, but for those of cohort.IsSystemEntry. A cohort that cannot be read
// is reported in err beside the streams of all others; one that disappears meanwhile is not.
func streamsIn(fsys durable.FS, dir string) (streams []Stream, unknown []string, err error) {
	ids, unknown, err := cohorts(fsys, dir)
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	for _, id := range ids {
		entries, err := fsys.ReadDir(filepath.Join(dir, string(id)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("list cohort %s: %w", id, err))
		}
		for _, e := range entries {
			s, err := cohort.ParseStreamID(e.Name())
			switch {
			case err == nil && e.IsDir():
				streams = append(streams, Stream{id, s})
			case !cohort.IsSystemEntry(e.Name()):
				unknown = append(unknown, filepath.Join(dir, string(id), e.Name()))
			}
		}
	}
	slices.SortFunc(streams, func(a, b Stream) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Cohort, b.Cohort))
	})
	return streams, unknown, errors.Join(errs...)
}

// cohorts lists the directories of cohorts in dir, which need not exist.
func cohorts(fsys durable.FS, dir string) (ids []cohort.ID, unknown []string, err error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list cohorts: %w", err)
	}
	for _, e := range entries {
		id, err := cohort.ParseID(e.Name())
		switch {
		case err == nil && e.IsDir():
			ids = append(ids, id)
		case !cohort.IsSystemEntry(e.Name()):
			unknown = append(unknown, filepath.Join(dir, e.Name()))
		}
	}
	return ids, unknown, nil
}

// makeCohort makes the directory of a cohort, unless it exists.
//
// Two processes may make two spellings of one name at once, and neither has seen the other's. Where letter case does not
// count, there is one directory then, with the spelling of whoever was first. The streams of the other would not be read:
// their headers name another cohort. So the spelling is looked at after the mkdir. Where letter case counts, each has a
// directory of its own, and both go on.
func makeCohort(fsys durable.FS, root cohort.Root, id cohort.ID, perm fs.FileMode) error {
	if err := durable.MkdirAll(fsys, root.Cohort(id), perm); err != nil {
		return err
	}
	return checkSpelling(fsys, root, id)
}

// checkSpelling refuses a cohort that does not exist, although one does whose name differs in letter case only. Where letter
// case does not count, a listing shows the name that the directory was made with, and no other.
func checkSpelling(fsys durable.FS, root cohort.Root, id cohort.ID) error {
	ids, _, err := cohorts(fsys, root.Cohorts())
	if err != nil || slices.Contains(ids, id) {
		return err
	}
	if i := slices.IndexFunc(ids, id.EqualFold); i >= 0 {
		return fmt.Errorf("cohort %q differs from the existing %q in letter case only: use that name, or another one", id, ids[i])
	}
	return nil
}
