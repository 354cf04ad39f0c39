package compactor

import (
	"context"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// Moment is a root as it was at one moment: a generation, and what a fold would change of it. Nothing of it changes later. Call Close when it is not
// needed any more.
type Moment struct {
	// Data are the files of the generation. Its Index is nil before the first fold.
	Data *generation.Data
	// Unfolded is what a fold would change. Without such rows its Newest is the generation that was looked at.
	Unfolded
	// Key is the form of the keys of the root.
	Key cohort.KeyForm
	// Runs are those of Rows, in the same order.
	Runs []Run
	// Damage is what is missing of the root: later rows may be, and those of Data are what is left. It is nil if nothing is.
	Damage error

	of *moment
}

// Look opens the newest generation, with what a fold would change of it if unfolded. It is what Runs and Previous look at, for programs that ask other
// questions: package query answers them.
//
// It takes no lock and writes nothing; others may append, fold and sweep meanwhile. Unfolded records are held in memory.
func Look(ctx context.Context, cfg Config, unfolded bool) (*Moment, error) {
	m, err := look(ctx, cfg, unfolded)
	if err != nil {
		return nil, err
	}
	return m.exported()
}

// LookAt opens a generation that is kept; one that is not is a *generation.NotKeptError.
func LookAt(cfg Config, g cohort.Generation) (*Moment, error) {
	r, err := open(cfg)
	if err != nil {
		return nil, err
	}
	m, err := r.past(g)
	if err != nil {
		return nil, r.store.Doubt(err, 0)
	}
	return m.exported()
}

func (m *moment) exported() (*Moment, error) {
	u, err := m.unfolded()
	if err != nil {
		err = m.store.Doubt(err, 0)
		m.close()
		return nil, err
	}
	return &Moment{Data: m.data, Unfolded: u, Key: m.form, Runs: m.tail, Damage: m.damage, of: m}, nil
}

// Close closes the files.
func (m *Moment) Close() { m.of.close() }

// Doubt is an error of reading Data, or what the storage shows of its cause.
func (m *Moment) Doubt(err error) error { return m.of.store.Doubt(err, 0) }
