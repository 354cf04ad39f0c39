package compactor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// Notice is one fact of a run that somebody should hear of: what String says, on one line. The kinds are the types of this
// package that say "tells", and generation.Published, generation.NotOurs, generation.Conflicted, generation.Without and generation.NotSwept; later versions may
// have more.
type Notice = generation.Notice

// DamagedBytes tells of bytes in a sealed stream that are no valid entry. All else was folded.
type DamagedBytes struct {
	Path           string // of the segment, relative to the root
	Offset, Length int64
	Reason         string
	Kept           string // where the bytes were put, relative to the root
}

func (n DamagedBytes) String() string {
	return fmt.Sprintf("%s: %d bytes at offset %d are damaged: %s: kept in %s", n.Path, n.Length, n.Offset, n.Reason, n.Kept)
}

// SkippedStream tells that a stream could not be read to its end. What was read was folded, and the
// next fold tries again from there. Stream is empty where a whole cohort could not be listed.
type SkippedStream struct {
	Stream journal.Stream
	Err    error
}

func (n SkippedStream) String() string {
	wayOut := ""
	if errors.Is(n.Err, fs.ErrPermission) { // each fold says it, as its records are acknowledged and not folded
		wayOut = ": the umask or the group of its writer keeps this user from reading it: its owner, or root, lets it with chgrp -R GROUP and " +
			"chmod -R g+rwX on its directory; a root that was made with --dir-mode 2775 --file-mode 0664 has no such streams"
	}
	if n.Stream == (journal.Stream{}) {
		return fmt.Sprintf("not all streams could be listed: %v%s", n.Err, wayOut)
	}
	return fmt.Sprintf("stream %v: not read to its end: %v%s", n.Stream, n.Err, wayOut)
}

// UnseenStream tells that the storage does not answer for a stream, or shows it as it was before a fold read it: a cache is
// stale, or a server is away. What was read was folded, and the next fold tries again. Stream is empty where a whole cohort
// could not be listed.
type UnseenStream struct {
	Stream journal.Stream
	Err    error
}

func (n UnseenStream) String() string {
	what := "not all streams could be listed"
	if n.Stream != (journal.Stream{}) {
		what = fmt.Sprintf("stream %v: not read to its end", n.Stream)
	}
	return fmt.Sprintf("%s: %v; nothing is damaged as far as known: the next fold tries again", what, n.Err)
}

// Rewritten tells that a commit wrote every row of the index again instead of taking row groups over: columns came, went,
// or changed their type, the format of the index is a newer one, or nobody had noted its sections. It happens once for each such change.
type Rewritten struct {
	Rows               int64
	New, Retyped, Gone int  // columns
	From, To           int  // formats of the index; equal if that did not change
	Sections           bool // only that: its manifest did not say of which sections the file was
}

func (n Rewritten) String() string {
	var why []string
	for _, c := range []struct {
		n         int
		one, many string
	}{
		{n.New, "a column is new", "%d columns are new"}, {n.Retyped, "a column has another type", "%d columns have another type"},
		{n.Gone, "a column is gone", "%d columns are gone"},
	} {
		switch {
		case c.n == 1:
			why = append(why, c.one)
		case c.n > 1:
			why = append(why, fmt.Sprintf(c.many, c.n))
		}
	}
	if n.From != n.To {
		why = append(why, fmt.Sprintf("its format was version %d and is version %d", n.From, n.To))
	}
	if n.Sections {
		why = append(why, "its files had no sections, which folds take over as they are from now on")
	}
	return fmt.Sprintf("all %d rows of the index were written again: %s", n.Rows, strings.Join(why, ", "))
}

// Upgraded tells that a root has its first manifest of a newer format. Programs of before refuse the root from now on: this
// step has no way back.
type Upgraded struct{ From, To int }

func (n Upgraded) String() string {
	return fmt.Sprintf("the root's manifests were of version %d and are of version %d from now on: older programs can append, "+
		"and refuse to fold or read it (\"written by a newer version\")", n.From, n.To)
}

// InExtra tells how many values of the folded records stand in no column, for one reason. They are in the column _extra.
type InExtra struct{ Extras index.Extras }

func (n InExtra) String() string { return strings.Join(n.Extras.Lines(), "; ") }

// ClockAhead tells of a writer whose clock, or whose storage's clock, ran ahead of the storage's clock now. Its records win over
// others that are appended until that time by writers that were open before.
type ClockAhead struct {
	Host   string
	Stream journal.Stream
	By     time.Duration
}

func (n ClockAhead) String() string {
	return fmt.Sprintf("stream %v: a record of host %s is %v ahead of the storage's clock: set the clock of that host, or of its storage; "+
		"records of writers that began before this fold lose against it until then", n.Stream, n.Host, n.By.Round(time.Second))
}

// Unknown tells of a name under cohorts/ that runfold did not make. It is left alone.
type Unknown struct{ Path string }

func (n Unknown) String() string {
	return fmt.Sprintf("%s: not made by runfold: left alone", n.Path)
}

// Reaped tells that the writer of a stream without a seal is taken for dead, and that the stream was moved to
// reaped/. There it is read again, and deleted after a grace in which nothing came.
type Reaped struct {
	Stream journal.Stream
	Why    string
}

func (n Reaped) String() string {
	return fmt.Sprintf("stream %v: %s: moved to reaped/, its records are folded", n.Stream, n.Why)
}

// NotAsFolded tells of a stream in reaped/ that is not as long as it was when its seal was folded. It is not deleted.
type NotAsFolded struct {
	Stream     journal.Stream
	Folded, Is int64 // sizes of the segment; Is is -1 if it is not known
}

func (n NotAsFolded) String() string {
	is := "its size cannot be read now"
	if n.Is >= 0 {
		is = fmt.Sprintf("it has %d bytes now", n.Is)
	}
	return fmt.Sprintf("stream %v in reaped/: %d bytes were folded, up to its seal, and %s: not deleted; compactd check tells what is wrong",
		n.Stream, n.Folded, is)
}

// TornTail tells of bytes after the last entry of a dead stream.
type TornTail struct {
	Stream journal.Stream
	Length int64
	Kept   string // where the bytes were put, relative to the root
}

func (n TornTail) String() string {
	return fmt.Sprintf("stream %v: its writer ended within an entry: %d bytes kept in %s", n.Stream, n.Length, n.Kept)
}

// LockLeft tells that a lock could not be given back: others get it when its lease ends.
type LockLeft struct{ Err error }

func (n LockLeft) String() string {
	return fmt.Sprintf("the lock stays for a while: %v", n.Err)
}

// Skipped tells that a scheduled run was left out because the one before had not ended.
type Skipped struct{ Total int }

func (n Skipped) String() string {
	return fmt.Sprintf("a scheduled fold was skipped: the one before still runs (%d skipped so far)", n.Total)
}
