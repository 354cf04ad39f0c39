package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// scanStreams measures many small streams: one run folds them and moves them to reaped/, the next one, which has
// one more record to fold, deletes them.
func scanStreams(e env) error {
	streams := 10_000
	if e.short {
		streams = 50
	}
	dir, remove, err := e.fresh()
	if err != nil {
		return err
	}
	defer remove()
	made := filepath.Join(dir, "made")
	if err := makeStreams(made, streams); err != nil {
		return err
	}
	for range e.rounds {
		root := filepath.Join(dir, "runs")
		if err := exec.Command("cp", "-r", made, root).Run(); err != nil {
			return err
		}
		if err := e.settle(); err != nil {
			return err
		}
		_, first, err := e.foldOnce(root)
		if err == nil {
			err = appendOne(root, streams)
		}
		if err != nil {
			return err
		}
		_, second, err := e.foldOnce(root)
		if err != nil {
			return err
		}
		left, err := filepath.Glob(filepath.Join(root, "reaped", "*", "*"))
		if err != nil || len(left) > 1 {
			return fmt.Errorf("%d streams are left in reaped/, %w", len(left), err)
		}
		first["ms/stream"] = 1000 * (first["wall s"] + second["wall s"]) / float64(streams)
		note := fmt.Sprintf("wall: %s s folds and moves, %s s more deletes", number(first["wall s"]), number(second["wall s"]))
		first["wall s"] += second["wall s"]
		first["cpu s"] += second["cpu s"]
		first["user s"] += second["user s"]
		e.out.add(Result{Work: fmt.Sprintf("scan streams=%d", streams), Who: us, Values: first, Note: note})
		if err := os.RemoveAll(root); err != nil {
			return err
		}
	}
	return nil
}

func makeStreams(root string, n int) error {
	if _, _, err := journal.InitRoot(cohort.Root(root), cohort.Settings{}, journal.RootOptions{}); err != nil {
		return err
	}
	var all errgroup.Group
	all.SetLimit(4 * runtime.GOMAXPROCS(0))
	for i := range n {
		all.Go(func() error { return appendOne(root, i) })
	}
	return all.Wait()
}

// appendOne appends the record of one run in a stream of its own.
func appendOne(root string, run int) error {
	w, err := journal.Create(cohort.Root(root), cohort.ID("bench"), journal.Options{})
	if err != nil {
		return err
	}
	r, err := cohort.ParseRecord(line(run), 0)
	if err == nil {
		err = w.Append([]cohort.Record{r})
	}
	return errors.Join(err, w.Close())
}
