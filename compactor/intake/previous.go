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
//
// Where the keys of the file have parts after the stage, the run before is one with the same parts, as in a root with such a
// key: a target, view and symbol, but not an attempt.
func PreviousInFile(r io.Reader, q compactor.Query, notify func(compactor.Notice)) (run compactor.Run, ok bool, err error) {
	if err := q.Validate(); err != nil {
		return compactor.Run{}, false, err
	}
	tell := func(n compactor.Notice) {
		if notify != nil {
			notify(n)
		}
	}
	var own, others []oldRun
	fallback := 0
	for s, err := range index.ForeignSnapshots(r) {
		if err != nil {
			return compactor.Run{}, false, err
		}
		run, ok := oldRunOf(s, q)
		if !ok {
			continue
		}
		if run.Seq == 0 {
			fallback++
		}
		if run.RunID == q.RunID {
			own = append(own, run)
		} else {
			others = append(others, run)
		}
	}
	if fallback > 0 {
		tell(SeqFallback{fallback})
	}
	if err := oneOf(own, q); err != nil {
		return compactor.Run{}, false, err
	}
	best := lastBefore(own, others)
	if len(own) == 0 {
		tell(compactor.NoSuchRun{Query: q, Others: best != nil})
	}
	if best == nil {
		return compactor.Run{}, false, nil
	}
	return best.Run, true, nil
}

// oneOf refuses a run that has snapshots of several results.
func oneOf(own []oldRun, q compactor.Query) error {
	var first *oldRun
	keys, differ := []cohort.Key{}, [len(placeNames)]bool{}
	for _, run := range own {
		if !run.long {
			continue
		}
		keys = append(keys, run.Key)
		if first == nil {
			first = &run
		}
		for i := range differ {
			differ[i] = differ[i] || run.places[i] != first.places[i]
		}
	}
	var fields []string
	for i, is := range differ {
		if is {
			fields = append(fields, placeNames[i])
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return &compactor.AmbiguousError{Query: q, Keys: keys[:min(len(keys), 10)], Fields: fields}
}

// lastBefore is the last of others that is before the last snapshot of the run itself, and may have the same key, without
// the run.
func lastBefore(own, others []oldRun) (best *oldRun) {
	var last *oldRun
	for i, run := range own {
		if last == nil || before(last.Run, run.Run) {
			last = &own[i]
		}
	}
	for i, run := range others {
		if last != nil && (last.long && !run.mayBe(last.places) || !before(run.Run, last.Run)) {
			continue
		}
		if best == nil || before(best.Run, run.Run) {
			best = &others[i]
		}
	}
	return best
}

// before orders two snapshots by seq where both have one, else by timestamp.
func before(a, b compactor.Run) bool {
	if a.Seq != 0 && b.Seq != 0 {
		return a.Seq < b.Seq
	}
	return a.Timestamp.Before(b.Timestamp)
}

// oldRun is one snapshot.
type oldRun struct {
	compactor.Run
	places [len(placeNames)]string // of the key, or of the fields of the value where the key is short
	long   bool                    // the key says them
}

// mayBe tells whether a snapshot may have these parts in its key. A short key, as older programs wrote it, says nothing.
func (r oldRun) mayBe(places [len(placeNames)]string) bool {
	for i, text := range r.places {
		if text != places[i] && (r.long || text != "") {
			return false
		}
	}
	return true
}

// placeNames are the fields of the long form of keys after the stage.
var placeNames = [...]string{"target", "view", "symbol"}

// oldRunOf reads one snapshot; ok is false if it is of another cohort or stage, or not what q asks for.
func oldRunOf(s index.ForeignSnapshot, q compactor.Query) (oldRun, bool) {
	item, err := naming{}.snapshotItem(s, cohort.KeyForm{})
	if err != nil {
		return oldRun{}, false
	}
	stage, id := item.stage, cohort.ID(item.cohort)
	if id == "" {
		id = q.Cohort
	}
	if stage != q.Stage || id != q.Cohort {
		return oldRun{}, false
	}
	for name, want := range q.Where {
		if item.field(name) != want {
			return oldRun{}, false
		}
	}
	text, _, err := readTime(item.timestamp, time.UTC)
	if err != nil {
		return oldRun{}, false
	}
	t, _ := cohort.ParseTime(text)
	run := compactor.Run{Key: cohort.Key(s.Key), Cohort: id, RunID: item.runID, Stage: stage, Seq: item.seq, Timestamp: t}
	if !item.long {
		for i, name := range placeNames {
			item.places[i] = item.field(name)
		}
	}
	return oldRun{run, item.places, item.long}, true
}
