package compactor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// Run is one row of the index as Previous answers it.
type Run struct {
	Key       cohort.Key `json:"key"`
	Cohort    cohort.ID  `json:"cohort_id"`
	RunID     string     `json:"run_id"`
	Stage     string     `json:"stage"`
	Seq       cohort.Seq `json:"snapshot_seq"` // 0: an old snapshot without one
	Timestamp time.Time  `json:"timestamp"`
}

// Query asks for the run before a given one.
type Query struct {
	Cohort cohort.ID
	RunID  string
	Stage  string
}

// Previous answers with the row of q's cohort and stage that has the highest snapshot_seq below that
// of q's run and belongs to another run. A run that the index does not hold yet is taken as newer than
// all. ok is false if there is none.
//
// It reads the newest generation without a lock and is safe while others fold.
func Previous(ctx context.Context, cfg Config, q Query) (run Run, ok bool, err error) {
	f, err := newFolder(cfg)
	if err != nil {
		return Run{}, false, err
	}
	for {
		newest, err := latest(f.FS, f.Root)
		if err != nil {
			return Run{}, false, err
		}
		old, err := f.openData(newest)
		if errors.Is(err, ErrConflict) && ctx.Err() == nil {
			continue // swept under a slow reader: there is a newer one
		}
		if err != nil {
			return Run{}, false, err
		}
		defer old.Close()
		if old.index == nil {
			return Run{}, false, nil
		}
		return previousRow(old.index, q)
	}
}

// previousRow relies on the rows standing in seq order: the answer is the last other run that stands
// before the last row of q's run.
func previousRow(file *index.File, q Query) (Run, bool, error) {
	var last, answer Run
	own := false
	for h, err := range file.Heads() {
		switch {
		case err != nil:
			return Run{}, false, marked(err)
		case h.Cohort != q.Cohort || h.Stage != q.Stage:
		case h.RunID == q.RunID:
			own, answer = true, last
		default:
			last = Run{h.Key, h.Cohort, h.RunID, h.Stage, h.Seq, h.Time}
		}
	}
	if !own {
		answer = last
	}
	return answer, answer.Key != "", nil
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
	return Run{cohort.Key(s.Key), id, item.runID, stage, item.seq, t}, true
}

// String is the answer on one line.
func (r Run) String() string {
	return fmt.Sprintf("%s seq %d at %s", r.Key, r.Seq, r.Timestamp.UTC().Format(time.RFC3339))
}
