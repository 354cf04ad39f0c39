package main

import (
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
	root, settings := filepath.Join(dir, "runs"), cohort.Settings{Snapshots: cohort.PerCohort}
	next := 0
	add := func(n, cohorts int) (report, map[string]float64, error) {
		err := appendRuns(root, settings, span(next, n), func(run int) string { return fmt.Sprint("cohort-", run%cohorts) })
		if err != nil {
			return report{}, nil, err
		}
		next += n
		files := []string{filepath.Join(root, "index.parquet")}
		for i := range busy {
			files = append(files, filepath.Join(root, "cohorts", fmt.Sprint("cohort-", i), "snapshot_index.json"))
		}
		if next == n { // the first fold
			files = nil
		}
		if err := e.settle(files...); err != nil {
			return report{}, nil, err
		}
		return e.foldOnce(root)
	}
	for _, rows := range sizes {
		for next < rows {
			if _, _, err := add(min(rows-next, 1_000_000), all); err != nil {
				return err
			}
		}
		work := fmt.Sprintf("fold per-cohort rows=%d", rows)
		for range e.rounds {
			r, values, err := add(fresh, busy)
			if err != nil {
				return err
			}
			if r.Rows != int64(next) {
				return fmt.Errorf("%s: %d rows, want %d", work, r.Rows, next)
			}
			e.out.add(Result{Work: work, Who: us, Values: values, Note: fmt.Sprintf("new records of %d in %d cohorts", busy, all)})
		}
	}
	return nil
}
