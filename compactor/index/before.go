package index

import (
	"errors"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// Before finds the run before a run, in one cohort and stage: the last row of another run that stands before the last row of
// the run. own tells whether the run has a row there. If it has none, the result is the last row of any other
// run. Rows whose key is in without are left out. ok is false if there is no such row.
//
// Rows stand in seq order, so Before begins with the last row group, and usually reads only that one. It skips groups that
// cannot hold what it still looks for, by their bounds and by the bloom filter of run_id.
func (f *File) Before(id cohort.ID, stage, runID string, without map[cohort.Key]bool) (h Identity, ok, own bool, err error) {
	q := beforeQuery{f: f, cohort: string(id), stage: stage, runID: runID, without: without}
	group, row := -1, int64(-1)
	for g := len(f.file.RowGroups()) - 1; g >= 0; g-- {
		may, err := q.mayMatter(g, !own && row >= 0)
		if err != nil {
			return Identity{}, false, false, err
		}
		if !may {
			continue
		}
		in, err := q.scan(g)
		if err != nil {
			return Identity{}, false, false, err
		}
		switch {
		case !own && in.own:
			own, group, row = true, g, in.before
		case row < 0 && in.last >= 0:
			group, row = g, in.last
		}
		if own && row >= 0 {
			break
		}
	}
	if row < 0 {
		return Identity{}, false, own, nil
	}
	h, err = f.identityAt(group, row)
	return h, err == nil, own, err
}

type beforeQuery struct {
	f                    *File
	cohort, stage, runID string
	without              map[cohort.Key]bool
}

// mayMatter tells whether a group may hold a row of the cohort and stage; if only the run itself is still looked
// for, one of that run.
func (q *beforeQuery) mayMatter(group int, onlyOwn bool) (bool, error) {
	for column, want := range map[string]string{columnCohort: q.cohort, columnPhase: q.stage, columnRunID: q.runID} {
		if column == columnRunID && !onlyOwn {
			continue
		}
		if may, err := mayHold(q.f, group, column, []string{want}); err != nil || !may {
			return false, err
		}
	}
	return true, nil
}

// inGroup is what one row group has: the last row of another run, and if the run itself has a row, the last one of
// another run before that. -1 means that there is no such row.
type inGroup struct {
	last, before int64
	own          bool
}

func (q *beforeQuery) scan(group int) (inGroup, error) {
	columns := []string{columnCohort, columnPhase, columnRunID}
	if len(q.without) > 0 {
		columns = append(columns, columnKey)
	}
	places, _ := q.f.places(columns)
	in, row := inGroup{last: -1, before: -1}, int64(-1)
	err := each(q.f.file.RowGroups()[group], places, func(r parquet.Row) error {
		row++
		switch {
		case string(r[1].ByteArray()) != q.stage, string(r[0].ByteArray()) != q.cohort:
		case len(r) > 3 && q.without[cohort.Key(r[3].ByteArray())]:
		case string(r[2].ByteArray()) == q.runID:
			in.own, in.before = true, in.last
		default:
			in.last = row
		}
		return nil
	})
	return in, err
}

// identityAt reads the fixed columns of one row.
func (f *File) identityAt(group int, row int64) (h Identity, err error) {
	places, _ := f.places(identityColumns)
	found := errors.New("found")
	err = each(f.file.RowGroups()[group], places, func(r parquet.Row) error {
		if row == 0 {
			h = identityOf(r)
			return found
		}
		row--
		return nil
	})
	if err == found {
		return h, nil
	}
	return Identity{}, err
}
