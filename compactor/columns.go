package compactor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// ColumnChange says how the columns of a root are to change. What is declared is applied before what is dropped.
type ColumnChange struct {
	// Declare are columns that exist from now on, with these types. A column of another type changes it: its values move
	// between the column and _extra.
	Declare []index.Column
	// Drop are columns that go. Their values move to _extra, and a column that comes again has the type that it had.
	Drop []string
	// Max bounds the columns of the root. If zero, it stays as it is.
	Max int
}

// ChangeColumns commits a change of columns and publishes it. It returns the newest generation, which is the one before where
// the change changes nothing. All rows are written again if a column comes, goes or changes its type.
//
// It takes the lock of a fold, and like a fold it may be raced by anybody and cut off anywhere. On error nothing has changed,
// or the change is committed and the next fold publishes it.
func ChangeColumns(ctx context.Context, cfg Config, change ColumnChange) (newest generation.Manifest, err error) {
	return changing(ctx, cfg, func(r *run) (generation.Manifest, error) { return r.changeColumns(change) })
}

// changing takes the lock, and tries a change of settings until it is committed.
func changing(ctx context.Context, cfg Config, change func(*run) (generation.Manifest, error)) (newest generation.Manifest, err error) {
	r, err := open(cfg)
	if err != nil {
		return generation.Manifest{}, err
	}
	release, err := r.lock(ctx)
	if err != nil {
		return generation.Manifest{}, err
	}
	defer func() {
		release()
		err = r.store.Doubt(err, 0)
	}()
	for try := 0; ; try++ {
		newest, err = change(r)
		again := errors.Is(err, generation.ErrConflict) || r.isOvertaken(err)
		if err == nil {
			r.show(newest)
		}
		if !again || try == maxConflicts || ctx.Err() != nil {
			return newest, err
		}
	}
}

// changeSetting commits a setting that set gives the manifest, without a row. set tells whether it is another one; if not, the newest generation stays.
func (r *run) changeSetting(verb generation.Verb, set func(*generation.Manifest) (changed bool, err error)) (generation.Manifest, error) {
	prev, err := r.store.Newest()
	if err != nil {
		return generation.Manifest{}, err
	}
	wanted := prev
	changed, err := set(&wanted)
	if err != nil {
		return generation.Manifest{}, err
	}
	r.base = prev.Generation
	if err := r.store.Heal(prev); err != nil {
		return generation.Manifest{}, err
	}
	if prev.Generation > 0 && !changed {
		return prev, nil
	}
	next, err := r.store.Draft(wanted, prev.Streams)
	if err != nil {
		return generation.Manifest{}, err
	}
	next.Verb, next.Changed = verb, &generation.Changed{}
	old, err := r.store.Summed(prev)
	if err != nil {
		return generation.Manifest{}, err
	}
	defer old.Close()
	var c *generation.Changes
	if prev.Generation == 0 { // the first generation has files, also where there is no row
		c = &generation.Changes{}
	}
	return r.commit(prev, next, old, c)
}

func (r *run) changeColumns(change ColumnChange) (generation.Manifest, error) {
	prev, err := r.store.Newest()
	if err != nil {
		return generation.Manifest{}, err
	}
	r.base = prev.Generation
	if err := r.store.Heal(prev); err != nil {
		return generation.Manifest{}, err
	}
	next, err := r.store.Draft(prev, prev.Streams)
	if err != nil {
		return generation.Manifest{}, err
	}
	next.Verb, next.Changed = generation.DidColumns, &generation.Changed{}
	old, err := r.store.Summed(prev)
	if err != nil {
		return generation.Manifest{}, err
	}
	defer old.Close()
	if err := change.suits(r.streams.Settings.Profile); err != nil {
		return generation.Manifest{}, err
	}
	next.Schema, next.Columns, err = change.apply(prev, unusedOf(old))
	if err != nil {
		return generation.Manifest{}, err
	}
	same := prev.Schema.Equal(next.Schema)
	if prev.Generation > 0 && same && reflect.DeepEqual(prev.Columns, next.Columns) {
		return prev, nil
	}
	var c *generation.Changes
	if prev.Generation == 0 || !same {
		c = &generation.Changes{}
	}
	return r.commit(prev, next, old, c)
}

// suits refuses a change of the columns of a profile.
func (c ColumnChange) suits(p cohort.Profile) error {
	for _, own := range index.ColumnsOf(p).Declared {
		if slices.Contains(c.Drop, own.Name) {
			return fmt.Errorf("column %q cannot be dropped: it is one of the profile %s, which this root has for its lifetime", own.Name, p)
		}
		for _, d := range c.Declare {
			if d.Name == own.Name && d.Kind != own.Kind {
				return fmt.Errorf("column %q cannot become %v: it is %v in the profile %s, which this root has for its lifetime", own.Name, d.Kind, own.Kind, p)
			}
		}
	}
	return nil
}

// apply is the schema and the wishes of prev after the change.
func (c ColumnChange) apply(prev generation.Manifest, unused []string) (index.Schema, index.Columns, error) {
	schema, columns := prev.Schema, prev.Columns
	if c.Max > 0 {
		columns.Max = c.Max
	}
	var err error
	for _, col := range c.Declare {
		if columns, err = columns.Declare(col); err != nil {
			return nil, columns, err
		}
	}
	for _, name := range c.Drop {
		if schema, columns, err = columns.Drop(schema, name); err != nil {
			return nil, columns, err
		}
	}
	if err := columns.Validate(); err != nil {
		return nil, columns, err
	}
	schema, columns = columns.Apply(schema, unused)
	return schema, columns, nil
}

// unusedOf are the columns in which no row has a value.
func unusedOf(d *generation.Data) (unused []string) {
	if d.Index == nil {
		return nil
	}
	for _, u := range d.Index.Uses() {
		if u.Values == 0 {
			unused = append(unused, u.Name)
		}
	}
	return unused
}

// unused are the columns that may go because the root has as many as it may have.
func (r *run) unused(prev generation.Manifest) ([]string, error) {
	if !prev.Columns.IsFull(prev.Schema) {
		return nil, nil
	}
	d, err := r.store.Data(prev)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return unusedOf(d), nil
}
