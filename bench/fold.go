package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
)

// folds is a root that grows, and DuckDB's index of the same rows.
type folds struct {
	env
	root  string
	old   string               // the root of -before with the same runs; empty if it is left out at this size
	form  cohort.Settings      // of the root
	of    func(run int) string // the cohort of the next records
	duck  string               // DuckDB's index; empty if it is left out at this size
	next  int                  // the run of the next record
	fresh int                  // new records of one fold
}

// foldRows measures folds of new records into indexes of different sizes.
func foldRows(e env) error {
	sizes, fresh, replaced := []int{0, 100_000, 1_000_000, 5_000_000}, 10_000, 1_000_000
	if e.short {
		sizes, fresh, replaced = []int{0, 500}, 100, 500
	}
	dir, remove, err := e.fresh()
	if err != nil {
		return err
	}
	defer remove()
	f := &folds{env: e, root: filepath.Join(dir, "runs"), of: cohortOf, fresh: fresh}
	for _, rows := range sizes {
		if err := f.settled(rows); err != nil {
			return fmt.Errorf("grow to %d rows: %w", rows, err)
		}
		if f.old = ""; f.before != "" && rows > 0 && rows <= 1_000_000 { // there is not the disk for two larger ones
			f.old = filepath.Join(dir, fmt.Sprint("before-", rows))
			if err := f.growBefore(f.next); err != nil {
				return fmt.Errorf("grow to %d rows with the commands of -before: %w", rows, err)
			}
		}
		f.duck = ""
		if rows > 0 && rows <= 1_000_000 && f.fs == "" {
			f.duck = filepath.Join(dir, "duck.parquet")
			if err := f.duckBase(rows); err != nil {
				return err
			}
		}
		if err := f.measure(fmt.Sprintf("fold rows=%d", rows), nil); err != nil {
			return err
		}
		if rows >= replaced {
			if err := f.replacing(rows); err != nil {
				return err
			}
		}
		if f.old != "" {
			if err := os.RemoveAll(f.old); err != nil {
				return err
			}
		}
		if rows != replaced || f.fs != "" { // what only reads finds all in memory, on any file system
			continue
		}
		if err := f.reads(rows); err != nil {
			return err
		}
	}
	return nil
}

// replacing measures folds in which 100 keys are written again: the last ones, and any.
func (f *folds) replacing(rows int) error {
	f.duck = ""
	for _, where := range []string{"recent", "scattered"} {
		err := f.measure(fmt.Sprintf("fold rows=%d replaced=%s", rows, where), func() []int {
			var again []int
			for range min(100, f.fresh/10) {
				back := rows
				if where == "recent" {
					back = min(rows, 50_000)
				}
				again = append(again, f.next-1-rand.IntN(back))
			}
			return again
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settled is grow, and a few rows more: a fold copies once what the one before it has written, here up to a million rows. That is not what a fold of
// a root of this size costs.
func (f *folds) settled(rows int) error {
	if f.next >= rows {
		return nil
	}
	if err := f.grow(rows); err != nil {
		return err
	}
	return f.step(f.fresh)
}

// grow appends and folds until the index has so many rows.
func (f *folds) grow(rows int) error {
	for f.next < rows {
		if err := f.step(min(rows-f.next, 1_000_000)); err != nil {
			return err
		}
	}
	return nil
}

// step appends and folds, unmeasured.
func (f *folds) step(n int) error {
	if err := f.add(n, nil); err != nil {
		return err
	}
	r, _, err := f.foldOnce(f.root)
	if err != nil {
		return err
	}
	f.trim() // else the image keeps the place of all that was there on the way
	f.say("index of %d rows", r.Rows)
	return nil
}

func (f *folds) add(n int, again []int) error {
	runs := slices.Concat(span(f.next, n), again)
	f.next += n
	return appendRuns(f.root, f.form, runs, f.of)
}

// measure folds once a round, and lets the others do the same right after.
func (f *folds) measure(work string, again func() []int) error {
	for range f.rounds {
		var old []int
		if again != nil {
			old = again()
		}
		first := f.next
		if err := f.add(f.fresh, old); err != nil {
			return err
		}
		files := f.published()
		if err := f.settle(files...); err != nil {
			return err
		}
		r, values, err := f.foldOnce(f.root)
		if err != nil {
			return err
		}
		if want := int64(f.next); r.Rows != want {
			return fmt.Errorf("%s: %d rows, want %d", work, r.Rows, want)
		}
		f.out.add(Result{Work: work, Who: us, Values: values, Note: "both files"})
		if err := f.foldBefore(work, slices.Concat(span(first, f.fresh), old)); err != nil {
			return err
		}
		if err := f.others(work, span(first, f.fresh)); err != nil {
			return err
		}
	}
	return nil
}

// published are the files of a root, none before the first fold.
func (f *folds) published() []string { return publishedIn(f.root) }

func publishedIn(root string) (files []string) {
	for _, name := range []string{"index.parquet", "snapshot_index.json"} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			files = append(files, filepath.Join(root, name))
		}
	}
	return files
}

func (f *folds) others(work string, runs []int) error {
	files := f.published()
	if err := f.settle(files...); err != nil {
		return err
	}
	values, err := f.copyAndSync(files...)
	if err != nil {
		return err
	}
	f.out.add(Result{Work: work, Who: copyAll, Values: values, Note: "of both files as they are then"})
	if f.duck == "" {
		return nil
	}
	news := filepath.Join(f.dir, "new.ndjson")
	if err := errors.Join(writeRecords(news, runs), f.settle(f.duck, news)); err != nil {
		return err
	}
	next := strings.TrimSuffix(f.duck, ".parquet") + ".next.parquet"
	if values, err = f.duckdb("fold", f.duck, news, next); err != nil {
		return err
	}
	f.out.add(Result{Work: work, Who: duck + ", index only", Values: values, Note: "the snapshot as a column"})
	if err := errors.Join(os.Remove(next), f.settle(f.duck, news)); err != nil {
		return err
	}
	if values, err = f.duckdb("both", "fold", f.duck, news, next); err != nil {
		return err
	}
	f.out.add(Result{Work: work, Who: duck, Values: values, Note: "both files"})
	return errors.Join(os.Remove(next+".json"), os.Rename(next, f.duck))
}

// duckBase makes DuckDB's index of so many rows, from the same lines.
func (f *folds) duckBase(rows int) error {
	lines := filepath.Join(f.dir, "base.ndjson")
	defer os.Remove(lines)
	if err := writeRecords(lines, span(0, rows)); err != nil {
		return err
	}
	_, err := f.duckdb("build", lines, f.duck)
	return err
}
