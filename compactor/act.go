package compactor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/runfold/runfold/cohort"
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
	by := map[cohort.ID][]cohort.Record{}
	for _, row := range rows {
		at, err := r.streams.Settings.Key.AimAt(row.Key)
		if err == nil {
			var rec cohort.Record
			rec, err = cohort.NewAction(a, at, reason)
			by[row.Cohort] = append(by[row.Cohort], rec)
		}
		if err != nil {
			return 0, fmt.Errorf("%v %q: %w", a, row.Key, err)
		}
	}
	for _, id := range sortedIDs(by) {
		n, err := r.act(ctx, id, by[id])
		if done += n; err != nil {
			return done, fmt.Errorf("append to cohort %s: %w", id, err)
		}
	}
	return done, nil
}

func sortedIDs(by map[cohort.ID][]cohort.Record) (ids []cohort.ID) {
	for id := range by {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// act appends the actions of one cohort, and counts those that are durable.
func (r *run) act(ctx context.Context, id cohort.ID, recs []cohort.Record) (done int, err error) {
	w, err := r.streams.Create(id, journal.Options{Program: r.Program})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for batch := range slices.Chunk(recs, actBatch) {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if err := w.Append(batch); err != nil {
			return done, err
		}
		done += len(batch)
	}
	return done, nil
}

// Acted is what ActAndFold did.
type Acted struct {
	Done   int // actions that are durable
	Folded bool
	Report Report // of the last fold
	// Again are rows that somebody wrote between the look at them and the withdrawal. Nobody has judged what they say now, so they
	// were brought back.
	Again []Standing
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
	if did.Again, err = writtenAgain(cfg, rows); err != nil || len(did.Again) == 0 {
		return did, err
	}
	if _, err = Act(ctx, cfg, cohort.Undo, againReason, did.Again); err != nil {
		return did, fmt.Errorf("bring back %d rows that were written again before the withdrawal: %w", len(did.Again), err)
	}
	did.Report, err = Fold(ctx, cfg)
	return did, err
}

// writtenAgain are those of the rows that are withdrawn now, and not as they were looked at. They are of the same cohort as before, as the withdrawal
// would not be about them otherwise.
func writtenAgain(cfg Config, rows []Standing) (again []Standing, err error) {
	r, err := open(cfg)
	if err != nil {
		return nil, err
	}
	newest, err := r.store.Newest()
	if err != nil {
		return nil, err
	}
	data, err := r.store.Data(newest)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	keys := make([]cohort.Key, len(rows))
	for i, row := range rows {
		keys[i] = row.Key
	}
	_, out, err := data.FindBoth(keys)
	for _, row := range rows {
		if found, ok := out[row.Key]; ok && found.Version.Compare(row.version) > 0 {
			again = append(again, row)
		}
	}
	return again, err
}
