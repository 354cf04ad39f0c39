package compactor

import (
	"context"
	"io"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// Query asks for the run before a given one.
type Query struct {
	Cohort cohort.ID
	RunID  string
	Stage  string
	// Unfolded also reads what the streams hold and no fold has read yet, see Runs.
	Unfolded bool
}

// Previous answers with the row of q's cohort and stage that has the highest snapshot_seq below that
// of q's run and belongs to another run. A run that the index does not hold yet is taken as newer than
// all. ok is false if there is none.
//
// It reads the newest generation without a lock and is safe while others fold.
func Previous(ctx context.Context, cfg Config, q Query) (run Run, ok bool, err error) {
	v, err := openView(ctx, cfg, q.Unfolded)
	if err != nil {
		return Run{}, false, err
	}
	defer v.close()
	var last, before *Run // of other runs, unfolded: all above the index
	own := false
	for i, r := range v.tail {
		switch {
		case r.Cohort != q.Cohort || r.Stage != q.Stage:
		case r.RunID == q.RunID:
			own, before = true, last
		default:
			last = &v.tail[i]
		}
	}
	if before != nil {
		return *before, true, nil
	}
	if v.data.index == nil {
		return orNone(last, !own)
	}
	h, ok, folded, err := v.data.index.Before(q.Cohort, q.Stage, q.RunID, v.replaced)
	switch {
	case err != nil:
		return Run{}, false, marked(err)
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

// PreviousInFile is Previous for any snapshot_index.json, ours or older. Snapshots without
// snapshot_seq are placed by their timestamp, and told as one SeqFallback. A snapshot that names no
// cohort belongs to q's.
func PreviousInFile(r io.Reader, q Query, notify func(Notice)) (run Run, ok bool, err error) {
	var own *Run
	var others []Run
	fallback := 0
	for s, err := range index.ForeignSnapshots(r) {
		if err != nil {
			return Run{}, false, err
		}
		run, ok := oldRun(s, q)
		if !ok {
			continue
		}
		if run.Seq == 0 {
			fallback++
		}
		if run.RunID != q.RunID {
			others = append(others, run)
		} else if own == nil || before(*own, run) {
			own = &run
		}
	}
	if fallback > 0 && notify != nil {
		notify(SeqFallback{fallback})
	}
	var best *Run
	for i, run := range others {
		if (own == nil || before(run, *own)) && (best == nil || before(*best, run)) {
			best = &others[i]
		}
	}
	if best == nil {
		return Run{}, false, nil
	}
	return *best, true, nil
}

// before orders two snapshots by seq where both have one, else by timestamp.
func before(a, b Run) bool {
	if a.Seq != 0 && b.Seq != 0 {
		return a.Seq < b.Seq
	}
	return a.Timestamp.Before(b.Timestamp)
}

// oldRun reads one snapshot; ok is false if it is of another cohort or stage.
func oldRun(s index.ForeignSnapshot, q Query) (Run, bool) {
	item, err := snapshotItem(s)
	if err != nil {
		return Run{}, false
	}
	stage, id := item.stage, cohort.ID(item.cohort)
	if id == "" {
		id = q.Cohort
	}
	if stage != q.Stage || id != q.Cohort {
		return Run{}, false
	}
	t, _ := parseOldTime(item.timestamp)
	return Run{Key: cohort.Key(s.Key), Cohort: id, RunID: item.runID, Stage: stage, Seq: item.seq, Timestamp: t}, true
}
