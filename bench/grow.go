package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// grow measures how the cost of 10,000 new rows grows with the rows that are there.
func grow(e env) error {
	g := growing{env: e, sizes: []int{250_000, 500_000, 1_000_000, 2_000_000, 5_000_000}, fresh: 10_000}
	if e.short {
		g.sizes, g.fresh = []int{500, 1000}, 100
	}
	// One after the other, because all of them at once do not fit on the disk.
	for _, one := range []func(dir string) error{g.runfold, g.duckDB, g.deltaRS} {
		dir, remove, err := e.fresh()
		if err != nil {
			return err
		}
		err = one(dir)
		remove()
		if err != nil {
			return err
		}
	}
	return nil
}

type growing struct {
	env
	sizes []int
	fresh int // new rows of one measurement
}

func growName(rows int) string { return fmt.Sprintf("grow rows=%d", rows) }

// runfold folds into a root, and copies its files.
func (g growing) runfold(dir string) error {
	f := &folds{env: g.env, root: filepath.Join(dir, "runs"), of: cohortOf, fresh: g.fresh}
	for _, rows := range g.sizes {
		if err := f.settled(rows); err != nil {
			return err
		}
		if err := f.measure(growName(rows), nil); err != nil {
			return err
		}
	}
	return nil
}

// filled lets a table of another program grow, and measures what the same new rows cost. add adds runs to the table in the way that loads most quickly.
func (g growing) filled(add func(runs []int) error, measure func(work string, runs []int) error) error {
	next := 0
	for _, rows := range g.sizes {
		for next < rows {
			n := min(rows-next, 1_000_000)
			if err := add(span(next, n)); err != nil {
				return err
			}
			next += n
		}
		for range g.rounds {
			if err := measure(growName(rows), span(next, g.fresh)); err != nil {
				return err
			}
			next += g.fresh
		}
	}
	return nil
}

// staged writes the lines of runs beside the file system that is measured.
func (g growing) staged(runs []int) (string, error) {
	lines := filepath.Join(g.home, "grow.ndjson")
	return lines, writeRecords(lines, runs)
}

// duckDB inserts into a table without a key, and replaces by key in another one: old rows with the keys of new ones are deleted first. Each ends with a checkpoint.
func (g growing) duckDB(dir string) error {
	for _, how := range []struct{ verb, who, note string }{
		{"insert", duck + " insert", "a table without a key, the snapshot as a column; checkpoint"},
		{"replace", duck + " delete+insert", "old rows with the keys of new ones are looked for; checkpoint"},
	} {
		table := filepath.Join(dir, how.verb+".duckdb")
		err := g.filled(func(runs []int) error {
			lines, err := g.staged(runs)
			if err != nil {
				return err
			}
			_, err = g.duckdb("insert", lines, table)
			return err
		}, func(work string, runs []int) error {
			lines, err := g.staged(runs)
			if err != nil {
				return err
			}
			if err := g.settle(table); err != nil {
				return err
			}
			values, err := g.duckdb(how.verb, lines, table)
			return g.result(work, how.who, how.note, values, err)
		})
		if err := errors.Join(err, os.Remove(table)); err != nil {
			return err
		}
	}
	return nil
}

// deltaRS adds to a Delta table: by a merge that finds no key, which is taken back, and by an append.
func (g growing) deltaRS(dir string) error {
	table, rows := filepath.Join(dir, "table"), filepath.Join(g.home, "grow.parquet")
	stage := func(runs []int) error {
		lines, err := g.staged(runs)
		if err != nil {
			return err
		}
		_, err = g.duckdb("copy", lines, rows)
		return err
	}
	err := g.filled(func(runs []int) error {
		if g.python == "" {
			return nil
		}
		if err := stage(runs); err != nil {
			return err
		}
		_, _, err := g.py("views.py", "delta_append", rows, table)
		return err
	}, func(work string, runs []int) error {
		if err := stage(runs); err != nil {
			return err
		}
		merge := g.delta(work, "merge", "on run_id and phase, which no old row has", rows, table)
		if merge == nil && g.python != "" {
			_, _, merge = g.py("views.py", "delta_undo", table)
		}
		return errors.Join(merge, g.delta(work, "append", "no key is looked for", rows, table))
	})
	return errors.Join(err, os.RemoveAll(rows))
}

// delta keeps what the process says of the call alone: the import of the libraries takes a second.
func (g growing) delta(work, verb, note, rows, table string) error {
	if err := g.settle(rows); err != nil {
		return err
	}
	out, values, err := g.py("views.py", "delta_"+verb, rows, table)
	if err == nil {
		err = json.Unmarshal(out, &values)
	}
	return g.result(work, "delta-rs "+verb, note+"; the call alone, new files synced", values, err)
}
