package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
)

// coldBuild measures the first fold of a backlog: from journals to both files. DuckDB reads the same records
// as lines of JSON, keeps the last of each key, numbers them, and writes its index.
func coldBuild(e env) error {
	rows := 1_000_000
	if e.short {
		rows = 1000
	}
	dir, remove, err := e.fresh()
	if err != nil {
		return err
	}
	defer remove()
	work := fmt.Sprintf("cold build rows=%d", rows)
	journals, lines := filepath.Join(dir, "journals"), filepath.Join(dir, "records.ndjson")
	if err := appendRuns(journals, cohort.Settings{}, span(0, rows), cohortOf); err != nil {
		return err
	}
	if err := writeRecords(lines, span(0, rows)); err != nil {
		return err
	}
	for range e.rounds {
		root := filepath.Join(dir, "runs")
		if err := exec.Command("cp", "-r", journals, root).Run(); err != nil {
			return err
		}
		if err := e.settle(lines); err != nil {
			return err
		}
		r, values, err := e.foldOnce(root)
		if err == nil && r.Rows != int64(rows) {
			err = fmt.Errorf("%d rows, want %d", r.Rows, rows)
		}
		if err != nil {
			return err
		}
		e.out.add(Result{Work: work, Who: us, Values: values, Note: fmt.Sprintf("both files, %d commits", r.Commits)})
		if err := os.RemoveAll(root); err != nil {
			return err
		}
		if err := e.duckBuilds(work, lines, dir); err != nil {
			return err
		}
	}
	return nil
}

func (e env) duckBuilds(work, lines, dir string) error {
	for _, how := range []struct {
		name, note string
		verb       []string
	}{
		{duck, "both files", []string{"both", "build"}},
		{duck + ", index only", "the snapshot as a column", []string{"build"}},
		{duck + ", no deduplication", "for comparison: not the same work", []string{"copy"}},
	} {
		if err := e.settle(lines); err != nil {
			return err
		}
		to := filepath.Join(dir, "duck.parquet")
		values, err := e.duckdb(append(how.verb, lines, to)...)
		if err != nil {
			return err
		}
		e.out.add(Result{Work: work, Who: how.name, Values: values, Note: how.note})
		if err := errors.Join(os.Remove(to), os.RemoveAll(to+".json")); err != nil {
			return err
		}
	}
	return nil
}
