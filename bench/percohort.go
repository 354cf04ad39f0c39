package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
)

// foldPerCohort measures folds into a root with a snapshots file for each cohort: what a fold writes then is the index and the
// files of the cohorts that have new records, few of many.
func foldPerCohort(e env) error {
	sizes, fresh, all, busy := []int{1_000_000, 5_000_000}, 10_000, 100, 2
	if e.short {
		sizes, fresh, all, busy = []int{500}, 100, 5, 1
	}
	dir, remove, err := e.fresh()
	if err != nil {
		return err
	}
	defer remove()
	root := filepath.Join(dir, "runs")
	f := &folds{env: e, root: root, form: cohort.Settings{Snapshots: cohort.PerCohort}}
	files := []string{cohort.Root(root).Index()}
	for n := range busy {
		files = append(files, cohort.Root(root).SnapshotsOf(cohort.ID(cohortName(n))))
	}
	for _, rows := range sizes {
		f.of = func(run int) string { return cohortName(run % all) }
		if err := f.grow(rows); err != nil {
			return fmt.Errorf("grow to %d rows: %w", rows, err)
		}
		f.of = func(run int) string { return cohortName(run % busy) }
		work := fmt.Sprintf("fold per-cohort rows=%d", rows)
		for range e.rounds {
			if err := errors.Join(f.add(fresh, nil), e.settle(files...)); err != nil {
				return err
			}
			r, values, err := e.foldOnce(root)
			if err != nil {
				return err
			}
			if r.Rows != int64(f.next) {
				return fmt.Errorf("%s: %d rows, want %d", work, r.Rows, f.next)
			}
			e.out.add(Result{Work: work, Who: us, Values: values, Note: fmt.Sprintf("new records of %d in %d cohorts", busy, all)})
		}
	}
	return nil
}
