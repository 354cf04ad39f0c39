// Package view keeps copies of a generation in other forms, such as a table in a database.
//
// # What a view is
//
// The root is the truth. A view is a copy of the rows of exactly one generation, in the form that somebody's programs read. It takes no
// part in the commit: a fold does not know it. It can be dropped and made again at any time.
//
//	report, err := view.Sync(ctx, store, v, view.Options{})     // v is now the newest generation
//	report, err := view.Check(ctx, store, v)                    // its rows are those of the generation that it states
//	err := v.Drop(ctx, rootID)                                  // it holds nothing of the root
//
// # Any number of publishers
//
// What a view holds is a pure function of manifests and the data files that they name. The view says which generation it is
// ([State]) in the same transaction, or file, as its rows. So any number of processes on any number of machines may call [Sync] for one view,
// none needs a lock of ours, and one that is killed anywhere leaves a view that is a whole generation. One that slept for an hour and
// wakes up fails, or goes forward: no view ever goes back.
//
// # How an implementation is tested
//
// Package viewtest holds the tests that every implementation passes.
//
// # Backwards compatibility
//
// A State says the version of its form. A view of a later version is cohort.ErrNewer, and nothing is changed.
package view

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// ErrBusy reports a view that somebody else changes, or a file that somebody reads, for longer than the view waits. Nothing was changed: try again later.
var ErrBusy = errors.New("the view is in use by somebody else")

// ErrForeign reports a table of the name that a view was given, which no view has made. Nothing in it is read or changed.
var ErrForeign = errors.New("no view has made it")

// ErrChanged reports a view that somebody else has changed, so that its rows cannot be those of the generation that it states. A Sync writes
// what is missing again as far as it sees that; Drop and Sync make the view anew.
var ErrChanged = errors.New("somebody else has changed the view")

// ErrAway reports a view whose server does not answer, or ended a call in its midst. The view is a whole generation: a commit whose answer is lost was
// made, or was not. The next sync finds out.
var ErrAway = errors.New("the server of the view does not answer")

// ErrFull reports that the place of a view has no room. Nothing was changed.
var ErrFull = errors.New("there is no room for it")

// View is a place that holds copies of roots. Each root in it is by itself. An implementation is safe for several goroutines.
type View interface {
	// Name says to people which view it is. It has no password in it.
	Name() string
	// State is what the view holds of a root. It is the zero State if that is nothing, also where the place was never used.
	State(ctx context.Context, rootID string) (State, error)
	// Begin begins a change of what the view holds of a root, and makes the place ready if it was never used. Of several changes of one root the second begins
	// after the first has ended, or fails with ErrBusy.
	Begin(ctx context.Context, rootID string) (Tx, error)
	// Rows calls each with every row of a root, in any order, and with the state of the root. It returns that state. All are of one moment.
	Rows(ctx context.Context, rootID string, each func(State, Held) error) (State, error)
	// Canonical is one spelling of a JSON text for all that the view cannot tell apart. A view that keeps bytes returns it as it is.
	Canonical(json []byte) []byte
	// Drop removes all that the view holds of a root.
	Drop(ctx context.Context, rootID string) error
	// Close ends all use of it.
	Close() error
}

// Held is a row as the view holds it.
type Held struct {
	index.Content
	Snapshot []byte
}

// Tx is one change. Until Commit returns nobody else sees any of it.
type Tx interface {
	// State is what the view holds of the root now. It does not change but by this Tx.
	State() State
	// Apply makes the rows those of a generation.
	Apply(ctx context.Context, c Change) (Applied, error)
	// Commit makes visible and durable what Apply did, and next as the state. It fails if the view holds a later generation than next.
	Commit(ctx context.Context, next State) error
	// Rollback gives up what was not committed. After Commit it does nothing.
	Rollback() error
}

// State says which generation of a root a view holds. The view keeps it with the rows.
type State struct {
	RootID     string            `json:"root_id"` // empty: the view holds nothing of the root
	Generation cohort.Generation `json:"generation"`
	Token      cohort.Token      `json:"token"`
	NextSeq    cohort.Seq        `json:"next_seq"` // above those of all rows, withdrawn ones too
	Rows       int64             `json:"rows"`
	// Form tells apart what would look different although the rows are the same: our way to write them, and the version of the
	// index.
	Form   Form         `json:"form"`
	Schema index.Schema `json:"schema"`
	// Lost says what somebody else has taken away from the view; empty if all is there. A sync writes all rows again then.
	Lost string `json:"lost,omitempty"`
	// LeftOut and Named are as in Applied. Only View.State gives them.
	LeftOut []LeftOut `json:"left_out,omitempty"`
	Named   []Named   `json:"named,omitempty"`
}

// formVersion is the version of what a view makes of a row. Part of the format: a change of it makes every view write all rows again.
const formVersion = 1

// Form is the version of the form of a view, and that of the index that it was made of.
type Form struct {
	View  int `json:"view"`
	Index int `json:"index"`
}

// IsNone tells whether the view holds nothing of the root.
func (s State) IsNone() bool { return s.RootID == "" }

// stateOf is the state of a view that holds a generation.
func stateOf(rootID string, m generation.Manifest, data *generation.Data) State {
	s := State{
		RootID: rootID, Generation: m.Generation, Token: m.Token, NextSeq: m.NextSeq, Rows: m.Index.Rows, Form: Form{View: formVersion},
	}
	if data.Index != nil {
		s.Form.Index, s.Schema = data.Index.Version(), data.Index.Schema()
	}
	return s
}

// How says how a view becomes a generation.
type How string

const (
	// Since: rows with a seq from Change.Since on are written, and withdrawn ones with such a seq removed. It costs what is new.
	Since How = "since"
	// Compared: the rows are compared by seq and Mark. What the generation does not have is removed, and what the view does not have
	// written.
	Compared How = "compared"
	// Whole: all rows are written again.
	Whole How = "whole"
)

// Change is what a view must do to become a generation.
type Change struct {
	How      How
	Since    cohort.Seq
	Manifest generation.Manifest
	Data     *generation.Data
	Next     State // that the view states afterwards
	Back     bool  // the view holds a generation that Next does not follow, and gives it up: see Options.Replace
}

// Rows yields the rows from a seq on with their snapshots, as Data.RowsFrom.
func (c Change) Rows(from cohort.Seq) iter.Seq2[generation.Row, error] { return c.Data.RowsFrom(from) }

// Identities yields the fixed columns of all rows, in the order of their seqs.
func (c Change) Identities() iter.Seq2[index.Identity, error] {
	if c.Data.Index == nil {
		return func(func(index.Identity, error) bool) {}
	}
	return c.Data.Index.Identities()
}

// Gone yields the rows that were withdrawn from Since on. Their keys do not stand among the rows.
func (c Change) Gone() iter.Seq2[index.Identity, error] {
	if c.Data.Withdrawn == nil || c.Data.Withdrawn.Index == nil {
		return func(func(index.Identity, error) bool) {}
	}
	return c.Data.Withdrawn.Index.IdentitiesFrom(c.Since)
}

// Applied counts what Apply did.
type Applied struct {
	Written int64     `json:"written"` // rows
	Removed int64     `json:"removed"` // rows that were deleted, of which some may be among those written; where all are written again, by how many there are less
	LeftOut []LeftOut `json:"left_out,omitempty"`
	Named   []Named   `json:"named,omitempty"`
}

// Told says to people which columns they do not find, or not under their names.
func (a Applied) Told() (all []string) {
	for _, l := range a.LeftOut {
		all = append(all, l.String())
	}
	for _, n := range a.Named {
		all = append(all, n.String())
	}
	return all
}

// Named is a column of the index that has another name in the view, which has no names that long.
type Named struct {
	Column string `json:"column"`
	As     string `json:"as"`
}

func (n Named) String() string {
	return fmt.Sprintf("column %q is %q in the view: its name is too long", n.Column, n.As)
}

// LeftOut is a column of the index that the view does not have as a column. Its values stand in the _extra of the view.
type LeftOut struct {
	Column string `json:"column"`
	Why    string `json:"why"`
}

func (l LeftOut) String() string {
	return fmt.Sprintf("column %q is no column of the view, and its values stand in _extra: %s", l.Column, l.Why)
}
