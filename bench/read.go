package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
)

// reads measures reading a root whose last records are not folded yet: the run before a recent one and before any
// one, and a list of all runs, each from the index alone and merged with the tail of the streams. DuckDB answers the
// same from the same index, and for the merged list from the tail as lines of JSON.
func (f *folds) reads(rows int) error {
	first := f.next
	if err := f.add(f.fresh, nil); err != nil {
		return err
	}
	index, tail := filepath.Join(f.root, "index.parquet"), filepath.Join(f.dir, "tail.ndjson")
	if err := errors.Join(writeRecords(tail, span(first, f.fresh)), f.settle(index, tail)); err != nil {
		return err
	}
	compactd := filepath.Join(f.bin, "compactd")
	for range f.rounds {
		for _, at := range []struct {
			work string
			run  int
		}{{"a recent run", first - 3}, {"a run in the middle", rows / 2}} {
			id, stage := idOf(at.run), stageOf(at.run)
			of := []string{"previous", "--root", f.root, "--cohort", cohortOf(at.run), "--stage", stage, "--run-id", id}
			work := fmt.Sprintf("previous rows=%d of %s", rows, at.work)
			err := errors.Join(
				f.read(work, us, "one process, start included", compactd, of...),
				f.read(work, us+", unfolded too", strconv.Itoa(f.fresh)+" records in the tail", compactd, append(of, "--unfolded")...),
				f.readDuck(work, duck, "one process, start included", "previous", index, cohortOf(at.run), stage, id))
			if err != nil {
				return err
			}
		}
		work := fmt.Sprintf("list rows=%d", rows)
		err := errors.Join(
			f.read(work, us, "", compactd, "runs", "--root", f.root),
			f.read(work, us+", unfolded too", strconv.Itoa(f.fresh)+" records in the tail", compactd, "runs", "--root", f.root, "--unfolded"),
			f.readDuck(work, duck, "", "list", index),
			f.readDuck(work, duck+", unfolded too", "the tail as lines", "merged", index, tail))
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *folds) read(work, who, note, name string, args ...string) error {
	out, values, err := f.measured(name, args...)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s of %s has no answer", work, who)
	}
	if err != nil {
		return err
	}
	f.out.add(Result{Work: work, Who: who, Values: values, Note: note})
	return nil
}

func (f *folds) readDuck(work, who, note string, args ...string) error {
	values, err := f.duckdb(args...)
	if err != nil {
		return err
	}
	f.out.add(Result{Work: work, Who: who, Values: values, Note: note})
	return nil
}
