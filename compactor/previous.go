package compactor

import (
	"context"

	"github.com/runfold/runfold/cohort"
)

// Query asks for the run before a given one.
type Query struct {
	Cohort cohort.ID
	RunID  string
	Stage  string
	// Unfolded also counts what was appended and no fold has read yet, see Runs. If false, only what is in the index.
	Unfolded bool
}

// Previous finds the run before that of q: the row of the same cohort and stage that has the highest snapshot_seq below that
// of q's run and belongs to another run. A run that the index does not hold yet counts as newer than
// all. ok is false if there is no such row.
//
// It reads the newest generation without a lock. Any number of calls may run at once, while others append and fold.
func Previous(ctx context.Context, cfg Config, q Query) (run Run, ok bool, err error) {
	m, err := look(ctx, cfg, q.Unfolded)
	if err != nil {
		return Run{}, false, err
	}
	defer m.close()
	var last, before *Run // of other runs, unfolded: all above the index
	own := false
	for i, r := range m.tail {
		switch {
		case r.Cohort != q.Cohort || r.Stage != q.Stage:
		case r.RunID == q.RunID:
			own, before = true, last
		default:
			last = &m.tail[i]
		}
	}
	if before != nil {
		return *before, true, nil
	}
	if m.data.Index == nil {
		return orNone(last, !own)
	}
	h, ok, folded, err := m.data.Index.Before(q.Cohort, q.Stage, q.RunID, m.replaced)
	switch {
	case err != nil:
		return Run{}, false, err
	case !own && !folded && last != nil:
		return *last, true, nil
	case !ok:
		return Run{}, false, nil
	}
	return runOf(h), true, nil
}

func orNone(r *Run, wanted bool) (Run, bool, error) {
	if r == nil || !wanted {
		return Run{}, false, nil
	}
	return *r, true, nil
}
