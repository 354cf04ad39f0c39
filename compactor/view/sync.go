package view

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// ErrAhead reports a view that holds a later generation than the root has, or another one of that number: the root was restored from a
// backup. Which of both is right, no program knows, so the view stays as it is. View.Drop is the way out.
var ErrAhead = errors.New("the view is not of the history of the root")

// AheadError is an ErrAhead.
type AheadError struct {
	View   string
	Holds  State
	Newest cohort.Generation // of the root
}

func (e *AheadError) Error() string {
	what := fmt.Sprintf("holds generation %d, and the newest one of the root is %d", e.Holds.Generation, e.Newest)
	if e.Holds.Generation <= e.Newest {
		what = fmt.Sprintf("holds another generation %d than the root has", e.Holds.Generation)
	}
	return fmt.Sprintf("%s %s: was the root restored from a backup? The view stays as it is: drop it, and sync it again", e.View, what)
}

// Is makes it an ErrAhead.
func (*AheadError) Is(target error) bool { return target == ErrAhead }

// Options are those of Sync.
type Options struct {
	// Tries is how often a sync begins again whose generation is swept before it was read, as others fold meanwhile. If zero, 10.
	Tries int
	// Replace writes all rows again where the view is not of the history of the root, in the place of ErrAhead. It is for a view that is a
	// cache of the caller's.
	Replace bool
}

// Report tells what a sync did.
type Report struct {
	View   string            `json:"view"`
	RootID string            `json:"root_id"`
	From   cohort.Generation `json:"from"` // that the view held
	To     cohort.Generation `json:"to"`   // that it holds now
	Rows   int64             `json:"rows"` // that it holds now
	How    How               `json:"how"`  // empty: it held the newest generation already
	Applied
}

func (r Report) String() string {
	if r.How == "" {
		return fmt.Sprintf("%s holds generation %d already: %d rows", r.View, r.To, r.Rows)
	}
	return fmt.Sprintf("%s holds generation %d: %d rows; %d written, %d removed", r.View, r.To, r.Rows, r.Written, r.Removed)
}

// Sync makes a view the newest generation of a root. Any number of calls may run at once, in any processes, and others may fold. On error
// the view holds what it held, or a generation that somebody else has put there. A root that was never folded gives an empty view.
//
// It costs what is new where the view holds an ancestor of the newest generation, and all commits between are folds, or changes of columns, of
// retention or of the Delta table. Else all rows are compared, or written again if they would look different.
//
// A view that is not of the history of the root is ErrAhead. generation.ErrConflict means that folds swept each
// generation before it could be read. ErrBusy means that somebody else changes the view.
func Sync(ctx context.Context, store *generation.Store, v View, o Options) (Report, error) {
	tries := o.Tries
	if tries == 0 {
		tries = 10
	}
	for try := 1; ; try++ {
		r, err := syncOnce(ctx, store, v, o.Replace)
		if err == nil || !errors.Is(err, generation.ErrConflict) || try >= tries || ctx.Err() != nil {
			return r, err
		}
	}
}

// syncOnce takes the change of the view first, and looks for the newest generation then. A state that was written before is of a generation
// that was committed before, so it cannot be ahead of what is found after it.
func syncOnce(ctx context.Context, store *generation.Store, v View, replace bool) (r Report, err error) {
	rootID := store.Settings.RootID
	if done, err := isNewest(ctx, store, v); err != nil || done != nil {
		return report(v, done), err
	}
	tx, err := v.Begin(ctx, rootID)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	newest, err := store.Newest()
	if err != nil {
		return Report{}, err
	}
	data, err := store.Data(newest)
	if err != nil {
		return Report{}, err
	}
	defer data.Close()
	held := tx.State()
	next := stateOf(rootID, newest, data)
	change := Change{Manifest: newest, Data: data, Next: next}
	if err := change.decide(v.Name(), store, held); errors.Is(err, ErrAhead) && replace {
		change.How, change.Back = Whole, true
	} else if err != nil {
		return Report{}, err
	}
	r = Report{View: v.Name(), RootID: rootID, From: held.Generation, To: newest.Generation, Rows: newest.Index.Rows, How: change.How}
	if change.How == "" {
		return r, nil
	}
	if r.Applied, err = tx.Apply(ctx, change); err != nil {
		return Report{}, err
	}
	if err := tx.Commit(ctx, next); err != nil {
		return Report{}, err
	}
	return r, nil
}

// isNewest returns the state of a view that holds the newest generation, without keeping others from changing it.
func isNewest(ctx context.Context, store *generation.Store, v View) (*State, error) {
	held, err := v.State(ctx, store.Settings.RootID)
	if err != nil || held.IsNone() || held.Lost != "" {
		return nil, err
	}
	newest, err := store.Newest()
	if err != nil || newest.Generation != held.Generation || newest.Token != held.Token {
		return nil, err
	}
	data, err := store.Data(newest)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	if held.Form != stateOf(held.RootID, newest, data).Form {
		return nil, nil
	}
	return &held, nil
}

func report(v View, s *State) Report {
	if s == nil {
		return Report{}
	}
	return Report{
		View: v.Name(), RootID: s.RootID, From: s.Generation, To: s.Generation, Rows: s.Rows, Applied: Applied{LeftOut: s.LeftOut, Named: s.Named},
	}
}

// decide sets How and Since. It looks at manifests, and at statistics of the index.
func (c *Change) decide(name string, store *generation.Store, held State) error {
	switch {
	case held.IsNone():
		c.How = Whole
		return nil
	case held.Form.View > formVersion:
		return fmt.Errorf("%s: form %d: %w", name, held.Form.View, cohort.ErrNewer)
	case held.Generation > c.Manifest.Generation, held.Generation == c.Manifest.Generation && held.Token != c.Manifest.Token:
		return &AheadError{name, held, c.Manifest.Generation}
	case held.Lost != "":
		c.How = Whole
		return nil
	case held.Generation == c.Manifest.Generation && held.Form == c.Next.Form:
		return nil
	case held.Generation == 0: // a root without rows
		c.How, c.Since = Since, 1
		return nil
	}
	same, err := c.looksSame(held)
	if err != nil {
		return err
	}
	line, err := c.lineage(store, held)
	switch {
	case err != nil:
		return err
	case !same, line.known && !line.keptColumns, !line.known && c.columnsMayHaveChanged():
		c.How = Whole
	case line.known && line.addsOnly:
		c.How, c.Since = Since, held.NextSeq
	default:
		c.How = Compared
	}
	return nil
}

// looksSame tells whether a row that the view holds looks as it would if it were written again: its columns are of the same types, and no
// value of it has moved from _extra to a column that is new.
func (c *Change) looksSame(held State) (bool, error) {
	if held.Form != c.Next.Form {
		return false, nil
	}
	if !extends(c.Next.Schema, held.Schema) {
		return false, nil
	}
	had := map[string]bool{}
	for _, col := range held.Schema {
		had[col.Name] = true
	}
	var added []string
	for _, col := range c.Next.Schema {
		if !had[col.Name] {
			added = append(added, col.Name)
		}
	}
	if len(added) == 0 {
		return true, nil
	}
	moved, err := c.Data.Index.HasBelow(held.NextSeq, added)
	return !moved, err
}

// lineage is what the manifests say that were committed since the generation of the view.
type lineage struct {
	known bool // they are all there, and that generation is an ancestor
	// addsOnly tells that rows and withdrawn rows from State.NextSeq on are all that changed: no commit took a row away in another way.
	addsOnly bool
	// keptColumns tells that no column went, or changed its type, also not for a while: a value that goes to _extra and comes back may stand
	// there in another order or spelling than before.
	keptColumns bool
}

// lineage reads the manifests from the newest one down. One that is not kept, or is damaged, says nothing.
func (c *Change) lineage(store *generation.Store, held State) (lineage, error) {
	from, err := store.Read(held.Generation)
	if err != nil || from.Token != held.Token {
		return lineage{}, unlessLost(err)
	}
	line := lineage{true, from.Without(&c.Manifest), true}
	m := c.Manifest
	for m.Generation > from.Generation {
		parent, err := store.Read(m.Generation - 1)
		if err != nil || !parent.IsParentOf(&m) {
			return lineage{}, unlessLost(err)
		}
		line.addsOnly = line.addsOnly && addsOnly(m.Verb)
		line.keptColumns = line.keptColumns && extends(m.Schema, parent.Schema)
		m = parent
	}
	return line, nil
}

func unlessLost(err error) error {
	if errors.Is(err, fs.ErrNotExist) || generation.IsDamage(err) {
		return nil
	}
	return err
}

// extends tells whether a schema has all columns of an earlier one, with their types.
func extends(later, earlier index.Schema) bool {
	kinds := make(map[string]index.Kind, len(later))
	for _, col := range later {
		kinds[col.Name] = col.Kind
	}
	for _, col := range earlier {
		if kinds[col.Name] != col.Kind {
			return false
		}
	}
	return true
}

// columnsMayHaveChanged tells whether columns may have gone and come back, or changed their type there and back, where no manifest is there to say it: they do
// only where somebody has declared or dropped some.
func (c *Change) columnsMayHaveChanged() bool {
	return len(c.Manifest.Columns.Declared) > 0 || len(c.Manifest.Columns.Gone) > 0
}

// addsOnly tells whether such a commit gives each row that it changes a new seq. One of a program that did not say what it did may have done
// anything.
func addsOnly(v generation.Verb) bool {
	switch v {
	case generation.DidFold, generation.DidColumns, generation.DidRetention, generation.DidDelta:
		return true
	}
	return false
}
