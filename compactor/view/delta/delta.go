// Package delta publishes the generations of a root as a Delta table, for Spark, Trino, DuckDB, Polars, ClickHouse and other readers.
//
// # What the table is
//
// ROOT/delta/ holds a log and hard links to index files. A version of the table is one file: the whole index of one generation. The
// table is a view. It is a function of the manifests, it is no part of a commit, and it may be dropped and made again. The root itself is
// never a Delta table: a VACUUM would remove everything that its log does not name.
//
//	delta/_delta_log/<20 digits>.json                  a version; durable.Create makes it, and it never changes
//	delta/_delta_log/<20 digits>.checkpoint.parquet    all of the log up to a version
//	delta/_delta_log/_last_checkpoint                  a hint
//	delta/<generation>-<token>-<attempt>.parquet       a link to a file in data/, or a copy
//
// Versions are contiguous and begin at 0, so a version is not a generation. Each version says in its commitInfo which generation it is.
//
// # Publishing
//
// [Publish] shows the newest generation. Any number of publishers may run, on any number of machines, without a lock. Of several that try one
// version exactly one succeeds, and a generation is never followed by a lower one. A publisher that is killed leaves a whole version.
//
// [Sweep] removes links and log files whose generations are gone. [Purge] removes everything before the newest generation, for an erasure.
// [Reassert] takes back a table into which somebody else has written. docs/format/delta.md describes the files.
package delta

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

var (
	// ErrForeign reports a version that another program has committed. Nothing is published until Reassert has put a version of ours above it.
	ErrForeign = errors.New("another program has written into the table")
	// ErrNotOurs is an ErrForeign that Reassert cannot take back: no version of ours is left. Drop removes the table.
	ErrNotOurs = errors.New("no version of it is of this root, or the last one was removed")
	// ErrGone reports that the file of the newest version is not there: somebody has removed it. Reassert links it again.
	ErrGone = errors.New("the file of the newest version is gone")
	// ErrAhead reports a table that shows a generation which the root does not have, because the root was restored from a backup. Drop removes
	// the table; the next Publish makes a new one.
	ErrAhead = errors.New("the table is ahead of the root")
)

// IsWrong tells whether an error says that somebody else has changed the table, so that it waits for a person.
func IsWrong(err error) bool {
	return errors.Is(err, ErrForeign) || errors.Is(err, ErrGone) || errors.Is(err, ErrAhead)
}

// State is what the newest version of a table says of itself. It stands in the commitInfo of each version.
type State struct {
	Version    int64             `json:"-"`
	RootID     string            `json:"root_id"`
	Generation cohort.Generation `json:"generation"`
	Token      cohort.Token      `json:"token"` // of the generation's manifest
	// Attempt is random: a publisher knows its own version by it.
	Attempt string `json:"attempt"`
	File    string `json:"file"`     // which holds all rows, in delta/
	Size    int64  `json:"size"`     // of File
	Index   string `json:"index"`    // the data file that File is a link to, or a copy of
	Added   int64  `json:"added"`    // modificationTime of File, in milliseconds
	Meta    string `json:"metadata"` // SHA-256 of the metaData in force
	Mapped  bool   `json:"mapped"`   // column mapping is on
	// LeftOut are columns that the table cannot have: see Done.
	LeftOut []string `json:"left_out,omitempty"`
	// Reasserted tells that the version took the table back from another program.
	Reasserted bool  `json:"reasserted,omitempty"`
	Time       int64 `json:"time"`  // as timestamp in commitInfo
	Lines      int   `json:"lines"` // of the file: one with fewer is not complete
}

// table is the table of one root.
type table struct{ *generation.Store }

func (t table) dir() string          { return t.Root.Delta() }
func (t table) log() string          { return filepath.Join(t.dir(), logName) }
func (t table) file(n string) string { return filepath.Join(t.dir(), n) }
func (t table) version(v int64) string {
	return filepath.Join(t.log(), fmt.Sprintf("%020d.json", v))
}
func (t table) checkpoint(v int64) string {
	return filepath.Join(t.log(), fmt.Sprintf("%020d%s", v, checkpointSuffix))
}
func (t table) lastCheckpoint() string { return filepath.Join(t.log(), "_last_checkpoint") }

const (
	// Part of the format of Delta.
	logName          = "_delta_log"
	checkpointSuffix = ".checkpoint.parquet"

	fileSuffix = ".parquet"
	droppedAs  = "_dropped-" // the prefix of a log that is on its way out

	// readOnly is what the mode of a file may not have: it is immutable.
	readOnly fs.FileMode = 0o222
)

// fileName names the file of one attempt to publish a generation. No other attempt has it, so a name is added to the table at most once: a sweep
// of an old file can never meet a publisher that brings its name back.
func fileName(g cohort.Generation, t cohort.Token, attempt string) string {
	return g.String() + "-" + string(t) + "-" + attempt + fileSuffix
}

// generationOf is the generation of a file that fileName names.
func generationOf(name string) (cohort.Generation, bool) {
	body, ok := strings.CutSuffix(name, fileSuffix)
	parts := strings.Split(body, "-")
	if !ok || len(parts) != 3 {
		return 0, false
	}
	g, gerr := cohort.ParseGeneration(parts[0])
	_, terr := cohort.ParseToken(parts[1])
	_, aerr := cohort.ParseToken(parts[2]) // it has the same form
	return g, gerr == nil && terr == nil && aerr == nil
}

// versionOf reads the name of a version or of a checkpoint.
func versionOf(name, suffix string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	return v, err == nil
}

// timeOf is when a generation was made, in milliseconds: by the file system's clock if that is known.
func timeOf(m generation.Manifest) int64 {
	if m.At > 0 {
		return m.At.Time().UnixMilli()
	}
	at, _ := cohort.ParseTime(m.CreatedAt)
	return max(at.UnixMilli(), 0)
}

// Done is what Publish or Reassert did.
type Done struct {
	Version    int64             // the newest one; -1: there is no table, as the root has no generation
	Generation cohort.Generation // which it shows
	Published  bool              // by this call
	NewColumns bool              // this call published, and the columns are others than before
	LeftOut    []string          // columns that the table cannot have, because Delta does not tell upper from lower case in names
	Mapped     bool              // names need column mapping, which not all readers know
}

// maxConflicts bounds how often Publish begins again. Each time another publisher has made progress.
const maxConflicts = 20

// maxVersion bounds the size of a version's file. Those of 2,000 columns with long names have 2 MB.
const maxVersion = 64 << 20

// versions is how many versions a table keeps at most: readers list them all.
const versions = 5000

// checkpointEvery is how often a checkpoint is written, in versions.
const checkpointEvery = 10

func isOld(now time.Time, info fs.FileInfo, age time.Duration) bool {
	return now.Sub(info.ModTime()) >= age
}
