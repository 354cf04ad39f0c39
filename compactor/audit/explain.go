package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/journal"
)

// Explanation is what is known of how some keys got their values.
type Explanation struct {
	// Asked is the key, the run, or RUN_ID:STAGE that was asked for.
	Asked string `json:"asked"`
	// Keys are all keys that may be meant, sorted. There are several if a run has several stages, or if a root's key has more fields.
	Keys []KeyHistory `json:"keys"`
	// MoreKeys tells that the run has more keys than are shown.
	MoreKeys bool `json:"more_keys,omitempty"`
	// Generations are how many were looked at, and First and Newest the lowest and the highest of them.
	Generations int               `json:"generations"`
	First       cohort.Generation `json:"first,omitempty"`
	Newest      cohort.Generation `json:"newest,omitempty"`
	// Streams are how many were read, those in reaped/ and quarantine/ included.
	Streams int `json:"streams"`
	// Unread says what could not be read, and why: more may be known there. At most 100 lines.
	Unread []string `json:"unread,omitempty"`
}

// KeyHistory is the writes of one key, oldest first: by stamp, which decides, and not by the time at which they came.
type KeyHistory struct {
	Key    cohort.Key `json:"key"`
	Writes []Write    `json:"writes"`
	// Actions are the withdrawals and protections that name the key, and their ends, oldest first. Their stamps say where they stand among the
	// writes. At most 1000 of a run.
	Actions []Action `json:"actions,omitempty"`
	// Older tells that older writes than these are known, and were left out: at most 1000 of a key are shown.
	Older bool `json:"older,omitempty"`
}

// Action is a withdrawal, a protection, or the end of one.
type Action struct {
	Stamp    cohort.Stamp    `json:"stamp"`
	Time     string          `json:"time"`
	RecordID string          `json:"record_id"`
	Action   string          `json:"action"` // withdraw, undo, protect or unprotect
	Reason   string          `json:"reason,omitempty"`
	Cohort   cohort.ID       `json:"cohort_id"`
	Stream   cohort.StreamID `json:"stream,omitempty"`
	Path     string          `json:"path,omitempty"`   // where the stream is now; empty if it was folded and deleted
	Writer   string          `json:"writer,omitempty"` // user@host:pid; empty if it is not known
	Program  string          `json:"program,omitempty"`
	Written  string          `json:"written,omitempty"`
	InForce  bool            `json:"in_force"` // the newest generation has it; if not, no fold has read it yet, as far as known

	record cohort.Record
}

// Write is one write of a key: a record that was appended, or one that was imported.
type Write struct {
	Stamp    cohort.Stamp  `json:"stamp"`
	Time     string        `json:"time,omitempty"` // of the stamp, which orders the writes; empty for an imported one
	RecordID string        `json:"record_id"`
	Digest   cohort.Digest `json:"-"` // 0: not known
	Cohort   cohort.ID     `json:"cohort_id"`
	RunID    string        `json:"run_id"`
	Stage    string        `json:"stage"`
	// Stream is the stream that held the record first, as far as known; empty for an imported one. Path is where it is now, relative to the
	// root; empty if it was folded and deleted.
	Stream cohort.StreamID `json:"stream,omitempty"`
	Path   string          `json:"path,omitempty"`
	// Writer is who appended it, as user@host:pid, and User, Host and PID are its parts; Program is with what. Empty or 0 if it is not known.
	Writer  string `json:"writer,omitempty"`
	User    string `json:"user,omitempty"`
	Host    string `json:"host,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Program string `json:"program,omitempty"`
	// Written is when it was appended, by the writer's clock, and Timestamp what the user gave; empty if not known or not given. Of a write
	// of which only a row is left, RowTime is the one or the other.
	Written   string `json:"written,omitempty"`
	Timestamp string `json:"timestamp,omitempty"`
	RowTime   string `json:"row_timestamp,omitempty"`

	// Seq is its snapshot_seq in the last generation that has it, First and Last are the kept generations that have its row, all
	// 0 if none has. Since tells that First is where it became visible: the generation before is kept, too, and has not its row.
	Seq   cohort.Seq        `json:"snapshot_seq,omitempty"`
	First cohort.Generation `json:"first,omitempty"`
	Last  cohort.Generation `json:"last,omitempty"`
	Since bool              `json:"since,omitempty"`
	// WithdrawnFirst and WithdrawnLast are the kept generations that have its row among the withdrawn ones, both 0 if none has. Withdrawn
	// tells that the newest one has.
	WithdrawnFirst cohort.Generation `json:"withdrawn_first,omitempty"`
	WithdrawnLast  cohort.Generation `json:"withdrawn_last,omitempty"`
	Withdrawn      bool              `json:"withdrawn,omitempty"`
	// Unfolded tells that no fold has read it yet, and Current that its row is in the newest generation.
	Unfolded bool `json:"unfolded,omitempty"`
	Current  bool `json:"current,omitempty"`

	// Raises is the number of the write, from 1, of which this one is a repeat: it raised the stamp and changed nothing else. Replaces
	// and ReplacedBy are the writes before and after it that are no repeats. 0: none that is known.
	Raises     int `json:"raises,omitempty"`
	Replaces   int `json:"replaces,omitempty"`
	ReplacedBy int `json:"replaced_by,omitempty"`
	// Differs are the fields in which it differs from the write that it replaces, at most 20, sorted by name, and MoreDiffer how many
	// others do. Both are empty where Incomparable says why nothing was compared.
	Differs      []FieldDifference `json:"differs,omitempty"`
	MoreDiffer   int               `json:"more_differ,omitempty"`
	Incomparable string            `json:"incomparable,omitempty"`
	// Unknown says, for people, what is not known any more, and why.
	Unknown []string `json:"unknown,omitempty"`

	fields fieldTexts
	offset int64 // of its entry, in a stream that folds read
	isRow  bool  // only a row tells of it
}

// Version is the write's place among those of its key.
func (w *Write) Version() cohort.Version {
	return cohort.Version{Stamp: w.Stamp, RecordID: w.RecordID, Digest: w.Digest}
}

// ErrUnknownRun reports a key or run of which no write is known.
var ErrUnknownRun = errors.New("no such key or run is known")

// Explain finds every write of a key that is still known, and says who made it, when, what it replaced, and what replaced it. asked is
// a key, a run id, or RUN_ID:STAGE. It looks in all streams, those in reaped/ and in quarantine/ included, where superseded writes stand as well, and in
// the index of each kept generation, the withdrawn rows included. Actions that name the key stand beside its writes.
//
// If nothing is known, the error matches ErrUnknownRun, and the Explanation says where it looked. A stream, entry or generation that cannot be read
// ends nothing: Unread says so. Where a manifest or data file is damaged, Check tells more.
//
// It takes no lock and writes nothing; others may append, fold and sweep meanwhile. What is appended while it runs may be missing.
// All streams are read from their beginning. Of the indexes it reads what the bloom filters do not rule out. Memory is bounded: 1000 writes of a
// key, 20,000 in all.
func Explain(ctx context.Context, cfg compactor.Config, asked string) (Explanation, error) {
	store, err := cfg.Store()
	if err != nil {
		return Explanation{}, err
	}
	e := newExplainer(store, asked)
	// Streams come first: what a fold deletes meanwhile is then in a generation that is read after it.
	if err := e.streams(ctx); err != nil {
		return Explanation{}, err
	}
	if err := e.quarantine(ctx); err != nil {
		return Explanation{}, err
	}
	if err := e.generations(ctx); err != nil {
		return Explanation{}, err
	}
	e.finish()
	if len(e.out.Keys) == 0 {
		return e.out, fmt.Errorf("%q: %w: it is in none of %d generations and %d streams", asked, ErrUnknownRun, e.out.Generations, e.out.Streams)
	}
	return e.out, nil
}

// explainer is one call of Explain.
type explainer struct {
	*generation.Store
	asked  string
	runs   []string // run ids that may be meant
	keys   map[cohort.Key]*KeyHistory
	acts   []Action // that name a run which may be meant
	writes int      // of all keys
	fields fieldMemory
	heads  map[cohort.StreamID]journal.Header
	out    Explanation
}

func newExplainer(store *generation.Store, asked string) *explainer {
	e := &explainer{
		Store: store, asked: asked, runs: []string{asked}, keys: map[cohort.Key]*KeyHistory{}, fields: newFieldMemory(),
		heads: map[cohort.StreamID]journal.Header{}, out: Explanation{Asked: asked, Keys: []KeyHistory{}},
	}
	for i := range len(asked) { // a run id may have a ':', and so may what follows it in a key
		if asked[i] == ':' {
			e.runs = append(e.runs, asked[:i])
		}
	}
	return e
}

// isMeant tells whether a write is one of those that are asked for.
func (e *explainer) isMeant(key cohort.Key, runID, stage string) bool {
	switch {
	case !strings.HasPrefix(e.asked, runID): // nearly all
		return false
	case e.asked == runID, e.asked == string(key):
		return true
	}
	return e.asked == runID+":"+stage
}

// mostUnread bounds the lines of what cannot be read.
const mostUnread = 100

func (e *explainer) unread(format string, args ...any) {
	if len(e.out.Unread) < mostUnread {
		e.out.Unread = append(e.out.Unread, fmt.Sprintf(format, args...))
	}
}

const (
	mostWrites = 1000   // of a key
	mostOfAll  = 20_000 // writes of all keys
)

// write is the write with this version, a new one if it is not known yet, and nil if there is no room for it: of many, the newest stay.
func (e *explainer) write(key cohort.Key, v cohort.Version) *Write {
	h := e.keys[key]
	if h == nil {
		if e.writes >= mostOfAll {
			e.out.MoreKeys = true
			return nil
		}
		h = &KeyHistory{Key: key}
		e.keys[key] = h
	}
	i, found := slices.BinarySearchFunc(h.Writes, v, func(w Write, v cohort.Version) int {
		known, v := w.Version(), v
		if known.Digest == 0 || v.Digest == 0 { // of a row that an older program wrote: the id alone says which write it is
			known.Digest, v.Digest = 0, 0
		}
		return known.Compare(v)
	})
	if found {
		w := &h.Writes[i]
		w.Digest = max(w.Digest, v.Digest)
		return w
	}
	if len(h.Writes) >= mostWrites || e.writes >= mostOfAll {
		h.Older = true
		if i == 0 {
			return nil
		}
		h.Writes = slices.Delete(h.Writes, 0, 1)
		i--
		e.writes--
	}
	e.writes++
	h.Writes = slices.Insert(h.Writes, i, Write{Stamp: v.Stamp, RecordID: v.RecordID, Digest: v.Digest})
	return &h.Writes[i]
}
