// Package journal appends records durably and reads them back.
//
// # Promises
//
// When [Writer.Append] returns nil the records are on stable storage. They survive the end of the
// process, a crash of the kernel and a loss of power. A Writer shares nothing with other Writers: it makes streams of
// its own. So any number of Writers, in any number of processes on any number of machines, append to one
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
// A [Reader] reads one stream from a [Position] on. It only reads files, so it cannot
// harm a stream that is being written. It accepts a frame only if its checksum,
// its number and its stream are right. [Entries] reads a stream in any directory. Most programs need neither: package
// compactor folds streams and lists the runs in them.
//
// # Errors
//
// A program may branch on these errors. Every other error comes from the file system.
//
//	*RecordError     a record is not valid: nothing of that Append was written, the Writer goes on
//	ErrClosed        an Append came after Close
//	*NoRootError     there is no root, and what is there instead (matches ErrNoRoot)
//	ErrOtherRoot     it is a root, but not the one that was meant
//	ErrNotExclusive  the file system decides nothing: no root is made there, and nothing is appended
//	*MixedError      its files name different roots (matches ErrMixed)
//	*SettingsError   its runfold.json is damaged
//	*CorruptError    a place in a stream is damaged (matches ErrCorrupt)
//	cohort.ErrNewer  a later version wrote it
//
// # What we owe to tidwall/wal
//
// It has no checksums and no repair, and it goes on after a failed write as if the write had succeeded. So each
// stream is one log with one segment, opened once, by the process that made its directory. Any error
// ends the stream. Only this package's own reader reads it. docs/format/journal.md describes
// the bytes without mentioning the library. The library keeps in memory what it wrote, and this package throws that away. In a
// program that is built with another version than v1.2.1 it stays in memory: see [MemoryNote].
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
	"strings"

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

// Position is a place between two entries of a stream, up to which a Reader has read. The zero value is the
// beginning. A manifest holds one for each stream: its watermark.
type Position struct {
	Offset int64  `json:"offset"`           // in bytes from the start of the segment
	Seq    uint64 `json:"seq"`              // of the last entry before it
	CRC    uint32 `json:"crc"`              // of the last frame before it
	Sealed bool   `json:"sealed,omitempty"` // that frame is the seal: nothing follows
}

// streamsIn lists the streams in a directory of cohorts, oldest first (by ULID). Names that we did not make, and
// symbolic links, are returned as paths in unknown, except those of cohort.IsSystemEntry. A cohort that cannot be read
// is reported in err, and the streams of all others are returned as well. A cohort that disappears meanwhile is no error.
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
			case !isNobodys(e):
				unknown = append(unknown, filepath.Join(dir, string(id), e.Name()))
			}
		}
	}
	slices.SortFunc(streams, func(a, b Stream) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Cohort, b.Cohort))
	})
	return streams, unknown, errors.Join(errs...)
}

// cohorts lists the directories of cohorts in dir. dir need not exist.
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
		case !isNobodys(e):
			unknown = append(unknown, filepath.Join(dir, e.Name()))
		}
	}
	return ids, unknown, nil
}

// isNobodys tells whether nobody has put an entry among cohorts or streams: volumes make some by themselves, and a temporary file may stay after a
// power loss.
func isNobodys(e fs.DirEntry) bool {
	return cohort.IsSystemEntry(e.Name()) || e.Type().IsRegular() && durable.IsTemp(e.Name())
}

// makeCohort makes the directory of a cohort, unless it exists.
//
// Two processes may make two spellings of one name at the same time, and neither sees the other's. Where letter case does not
// count, there is one directory, with the spelling of the first process. The streams of the second process would not be read,
// because their headers name another cohort. So the spelling is compared after the mkdir. Where letter case counts, each process
// has a directory of its own, and both go on.
func makeCohort(fsys durable.FS, root cohort.Root, id cohort.ID, perm fs.FileMode) error {
	if err := durable.MkdirAll(fsys, root.Cohort(id), perm); err != nil {
		return err
	}
	return checkSpelling(fsys, root, id)
}

// checkSpelling refuses a new cohort whose name differs from an existing one in letter case only, or in dots at its end. Where
// letter case does not count, a listing shows only the name with which the directory was made. Windows leaves out dots at the
// end: the records of "a." would be those of "a" without a word.
func checkSpelling(fsys durable.FS, root cohort.Root, id cohort.ID) error {
	ids, _, err := cohorts(fsys, root.Cohorts())
	if err != nil || slices.Contains(ids, id) {
		return err
	}
	if i := slices.IndexFunc(ids, id.EqualFold); i >= 0 {
		return fmt.Errorf("cohort %q differs from the existing %q in letter case only: use that name, or another one", id, ids[i])
	}
	if i := slices.IndexFunc(ids, func(other cohort.ID) bool { return undotted(id).EqualFold(undotted(other)) }); i >= 0 {
		return fmt.Errorf("cohort %q differs from the existing %q in dots at the end, which Windows leaves out: use that name, or another one", id, ids[i])
	}
	return nil
}

func undotted(id cohort.ID) cohort.ID { return cohort.ID(strings.TrimRight(string(id), ".")) }
