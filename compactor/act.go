package compactor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/journal"
)

// actBatch is how many actions share one fsync.
const actBatch = 256

// Act appends an action about each of the rows, to a fresh stream of each cohort that they are of. An action names the whole key, so that it is about no
// other row. done counts those that are durable, which a fold will see, also on error: then repeat the call, because an action that is appended
// twice changes nothing more.
//
// What is appended of a row's run between the look at the row and Act is older than the action: a withdrawal takes it out as well. ActAndFold brings
// it back.
func Act(ctx context.Context, cfg Config, a cohort.Action, reason string, rows []Standing) (done int, err error) {
	r, err := open(cfg)
	if err != nil {
		return 0, err
	}
	by := map[cohort.ID][]Standing{}
	for _, row := range rows {
		by[row.Cohort] = append(by[row.Cohort], row)
	}
	for _, id := range slices.Sorted(maps.Keys(by)) {
		n, err := r.act(ctx, id, a, reason, by[id])
		if done += n; err != nil {
			return done, fmt.Errorf("append to cohort %s: %w", id, err)
		}
	}
	return done, nil
}

// act appends the actions of one cohort, and counts those that are durable.
func (r *run) act(ctx context.Context, id cohort.ID, a cohort.Action, reason string, rows []Standing) (done int, err error) {
	w, err := r.streams.Create(id, journal.Options{Program: r.Program})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for batch := range slices.Chunk(rows, actBatch) {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		recs, err := r.actions(a, reason, batch)
		if err != nil {
			return done, err
		}
		if err := w.Append(recs); err != nil {
			return done, err
		}
		done += len(batch)
	}
	return done, nil
}

func (r *run) actions(a cohort.Action, reason string, rows []Standing) (recs []cohort.Record, err error) {
	for _, row := range rows {
		at, err := r.streams.Settings.Key.AimAt(row.Key)
		var rec cohort.Record
		if err == nil {
			rec, err = cohort.NewAction(a, at, reason)
		}
		if err != nil {
			return nil, fmt.Errorf("%v %q: %w", a, row.Key, err)
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

// Acted is what ActAndFold did.
type Acted struct {
	Done   int // actions that are durable
	Folded bool
	Report Report // of the last fold; its Damage is that of all folds
	// Again are rows that somebody wrote between the look at them and the withdrawal. Nobody has judged what they say now, so they
	// are brought back: of so many the undo is durable.
	Again []Standing
	Back  int
}

// againReason is the reason of such an undo.
const againReason = "written again before the withdrawal"

// ActAndFold is Act, and a fold after it, so that both files show what was done. If another compactor holds the lock, the error is
// ErrLocked: the actions are durable, and its next fold shows them. Then nobody looks for rows that were written again.
func ActAndFold(ctx context.Context, cfg Config, a cohort.Action, reason string, rows []Standing) (did Acted, err error) {
	if did.Done, err = Act(ctx, cfg, a, reason, rows); err != nil {
		return did, err
	}
	if did.Report, err = Fold(ctx, cfg); err != nil {
		return did, err
	}
	did.Folded = true
	if a != cohort.Withdraw {
		return did, nil
	}
	if did.Again, err = writtenAgain(ctx, cfg, rows); err != nil || len(did.Again) == 0 {
		return did, err
	}
	if did.Back, err = Act(ctx, cfg, cohort.Undo, againReason, did.Again); err != nil {
		return did, fmt.Errorf("bring back %d rows that were written again before the withdrawal: %w", len(did.Again), err)
	}
	before := did.Report.Damage // places that a fold has passed over are not met by the next one
	did.Report, err = Fold(ctx, cfg)
	did.Report.Damage += before
	return did, err
}

// writtenAgain are those of the rows that are withdrawn now, and not as they were looked at. They are of the same cohort as before, as the withdrawal
// would not be about them otherwise.
func writtenAgain(ctx context.Context, cfg Config, rows []Standing) (again []Standing, err error) {
	keys := make([]cohort.Key, len(rows))
	for i, row := range rows {
		keys[i] = row.Key
	}
	_, err = lookAt(ctx, cfg, func(data *generation.Data) (none, either Choice, err error) {
		_, out, err := data.FindBoth(keys)
		again = nil
		for _, row := range rows {
			if found, ok := out[row.Key]; ok && found.Version.Compare(row.version) > 0 {
				again = append(again, row)
			}
		}
		return nil, nil, err
	})
	return again, err
}
