package compactor

import (
	"context"
	"fmt"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// Unfolded is what a fold would change of the newest generation now.
type Unfolded struct {
	Newest generation.Manifest
	// Gone are the keys of rows of its index that would give way to one of Rows, or would be withdrawn.
	Gone []cohort.Key
	// Rows are new ones, in the order of their seqs, in the columns that the generation has. The snapshot of one that comes of a record is the JSON of that
	// record; a row that comes back from among the withdrawn ones has its own, with the seq of before.
	Rows []generation.Row
}

// ReadUnfolded is what Runs adds to the rows of the newest generation, for programs that have a copy of these rows. Nothing of it changes later. It
// takes no lock, writes nothing, and is of one moment.
func ReadUnfolded(ctx context.Context, cfg Config) (Unfolded, error) {
	m, err := look(ctx, cfg, true)
	if err != nil {
		return Unfolded{}, err
	}
	defer m.close()
	if m.damage != nil {
		return Unfolded{}, m.damage
	}
	u, err := m.unfolded()
	return u, m.store.Doubt(err, 0)
}

// unfolded is what a fold would change of the generation.
func (m *moment) unfolded() (Unfolded, error) {
	u := Unfolded{Newest: m.newest}
	for key := range m.replaced {
		u.Gone = append(u.Gone, key)
	}
	typer := index.NewTyper(m.newest.Schema)
	for i, rec := range m.records {
		run := m.tail[i]
		u.Rows = append(u.Rows, generation.Row{Typed: typer.Row(index.Put{Key: run.Key, Seq: run.Seq}, rec), Snapshot: rec.JSON})
	}
	err := m.returned(&u, m.tail[len(m.records):])
	return u, err
}

// returned adds the rows of runs that come back.
func (m *moment) returned(u *Unfolded, runs []Run) error {
	if len(runs) == 0 {
		return nil
	}
	seqs := make(map[cohort.Key]cohort.Seq, len(runs))
	for _, r := range runs {
		seqs[r.Key] = r.Seq
	}
	if !m.data.Withdrawn.Index.Schema().Equal(m.newest.Schema) { // each commit that changes columns writes both pairs
		return fmt.Errorf("generation %d: %w: its withdrawn rows have other columns than its index", m.newest.Generation, generation.ErrCorrupt)
	}
	for row, err := range m.data.Withdrawn.RowsFrom(1) {
		if err != nil {
			return err
		}
		seq, ok := seqs[row.Key]
		if !ok {
			continue
		}
		row.Seq = seq
		u.Rows = append(u.Rows, row.Clone())
	}
	return nil
}
