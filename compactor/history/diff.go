// Package history looks at the generations that a root keeps: what differs between two of them, and how the root comes back to an earlier
// one.
//
// A generation is not kept for ever. One that is gone is a *generation.NotKeptError, which names the nearest ones that are there.
package history

import (
	"cmp"
	"context"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// Diff is what differs between two generations, row by row. Two rows of one key are equal if all columns and the snapshot say the same; what
// each write has anew does not count: snapshot_seq, _stamp, _record_id, _digest and _stream.
type Diff struct {
	From cohort.Generation `json:"from"`
	To   cohort.Generation `json:"to"`

	Added   int64 `json:"added"`
	Gone    int64 `json:"gone"`
	Changed int64 `json:"changed"`
	// Again are rows that were written again and say the same.
	Again int64 `json:"written_again"`

	// Rows are some of those that were added, are gone or have changed; LeftOut counts the others.
	Rows    []Row `json:"rows"`
	LeftOut int64 `json:"left_out"`
}

// What a Row tells.
const (
	Added   = "added"
	Gone    = "gone"
	Changed = "changed"
)

// Row is one row that differs.
type Row struct {
	Change string     `json:"change"` // Added, Gone or Changed
	Key    cohort.Key `json:"key"`
	Cohort cohort.ID  `json:"cohort_id"` // in To; of a row that is gone, in From
	Was    cohort.Seq `json:"was_seq,omitempty"`
	Now    cohort.Seq `json:"now_seq,omitempty"`
	// Withdrawn tells of a row that is gone that To has it among its withdrawn ones.
	Withdrawn bool `json:"withdrawn,omitempty"`

	// Fields are those that have changed, at most maxFields; LeftOut counts the others. It may be empty, if only the order or the spelling
	// of the fields differs.
	Fields  []Field `json:"fields,omitempty"`
	LeftOut int     `json:"fields_left_out,omitempty"`
}

// DiffOptions say what Compare returns.
type DiffOptions struct {
	// Limit is how many rows of each kind of change are listed.
	Limit int

	most int // keys that are held at once; if zero, maxPairs
}

// Compare finds what differs between two generations of a root. to may be 0: the newest.
//
// It takes no lock and writes nothing; others may append and fold meanwhile. Of rows that are one write in both generations only the
// fixed columns are read. Memory is bounded, however many rows differ; many are compared in several passes. If a
// generation is swept meanwhile, the error is a *generation.NotKeptError.
func Compare(ctx context.Context, store *generation.Store, from, to cohort.Generation, o DiffOptions) (d Diff, err error) {
	defer func() { err = store.Doubt(err, 0) }()
	was, err := open(store, from)
	if err != nil {
		return Diff{}, err
	}
	defer was.close()
	now, err := open(store, to)
	if err != nil {
		return Diff{}, err
	}
	defer now.close()
	d = Diff{From: was.manifest.Generation, To: now.manifest.Generation, Rows: []Row{}}
	list := lists{limit: o.Limit, by: map[string][]found{}}
	c := comparison{was: was, now: now, most: cmp.Or(o.most, maxPairs)}
	for pairs, err := range c.parts(ctx) {
		if err != nil {
			return Diff{}, store.WhyGone(err, d.From, d.To)
		}
		for key, p := range pairs {
			switch {
			case p.same:
				d.Again++
			case p.was == nil:
				d.Added++
				list.add(Added, key, p)
			case p.now == nil:
				d.Gone++
				list.add(Gone, key, p)
			default:
				d.Changed++
				list.add(Changed, key, p)
			}
		}
	}
	if d.Rows, err = c.rows(ctx, &list); err != nil {
		return Diff{}, store.WhyGone(err, d.From, d.To)
	}
	d.LeftOut = d.Added + d.Gone + d.Changed - int64(len(d.Rows))
	return d, nil
}
