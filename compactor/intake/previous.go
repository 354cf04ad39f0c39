package intake

import (
	"io"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
)

// PreviousInFile is Previous for any snapshot_index.json, ours or older. Snapshots without
// snapshot_seq are placed by their timestamp, and told as one SeqFallback. A snapshot that names no
// cohort belongs to q's.
func PreviousInFile(r io.Reader, q compactor.Query, notify func(compactor.Notice)) (run compactor.Run, ok bool, err error) {
	var own *compactor.Run
	var others []compactor.Run
	fallback := 0
	for s, err := range index.ForeignSnapshots(r) {
		if err != nil {
			return compactor.Run{}, false, err
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
	var best *compactor.Run
	for i, run := range others {
		if (own == nil || before(run, *own)) && (best == nil || before(*best, run)) {
			best = &others[i]
		}
	}
	if best == nil {
		return compactor.Run{}, false, nil
	}
	return *best, true, nil
}

// before orders two snapshots by seq where both have one, else by timestamp.
func before(a, b compactor.Run) bool {
	if a.Seq != 0 && b.Seq != 0 {
		return a.Seq < b.Seq
	}
	return a.Timestamp.Before(b.Timestamp)
}

// oldRun reads one snapshot; ok is false if it is of another cohort or stage.
func oldRun(s index.ForeignSnapshot, q compactor.Query) (compactor.Run, bool) {
	item, err := naming{}.snapshotItem(s)
	if err != nil {
		return compactor.Run{}, false
	}
	stage, id := item.stage, cohort.ID(item.cohort)
	if id == "" {
		id = q.Cohort
	}
	if stage != q.Stage || id != q.Cohort {
		return compactor.Run{}, false
	}
	text, _, err := readTime(item.timestamp, time.UTC)
	if err != nil {
		return compactor.Run{}, false
	}
	t, _ := cohort.ParseTime(text)
	return compactor.Run{Key: cohort.Key(s.Key), Cohort: id, RunID: item.runID, Stage: stage, Seq: item.seq, Timestamp: t}, true
}
