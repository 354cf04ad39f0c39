package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/runfold/runfold/bench/peer"
)

// earlier is runfold as it was at the commit of -before.
const earlier = us + " before"

// kinds are the competitors of appends.
func (e env) kinds() []peer.Kind {
	if e.before == "" {
		return peer.Kinds
	}
	k := peer.Kind{Name: earlier, Processes: true, Prepare: func(o peer.Options) error {
		_, _, err := e.asBefore().compactd("init", "--root", filepath.Join(o.Dir, "runs"))
		return err
	}}
	return slices.Insert(slices.Clone(peer.Kinds), 1, k)
}

// asBefore is e with the commands of -before.
func (e env) asBefore() env {
	e.bin = e.before
	return e
}

// buildBefore makes the commands of another commit, with the libraries that it had then.
func buildBefore(dir, commit string) (string, error) {
	from, tar := filepath.Join(dir, "before"), filepath.Join(dir, "before.tar")
	if err := os.Mkdir(from, 0o755); err != nil {
		return "", err
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("git", "-C", "..", "archive", "--output", tar, commit),
		exec.Command("tar", "-C", from, "-xf", tar),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w: %s", cmd, err, out)
		}
	}
	if err := os.Remove(tar); err != nil {
		return "", err
	}
	return build(filepath.Join(from, "bench"), filepath.Join(dir, "bin-before"))
}

// addBefore appends runs with the commands of -before, which need not know what those of today write.
func (f *folds) addBefore(runs []int) error {
	byCohort := map[string][]int{}
	for _, run := range runs {
		byCohort[f.of(run)] = append(byCohort[f.of(run)], run)
	}
	lines := filepath.Join(f.home, "before.ndjson")
	defer os.Remove(lines)
	for id, runs := range byCohort {
		if err := writeRecords(lines, runs); err != nil {
			return err
		}
		if out, err := exec.Command(filepath.Join(f.before, "journal-append"), "--root", f.old, "--cohort", id, lines).CombinedOutput(); err != nil {
			return fmt.Errorf("append with the commands of -before: %w: %s", err, out)
		}
	}
	return nil
}

// growBefore makes the root of -before, with the runs of the other one.
func (f *folds) growBefore(rows int) error {
	if _, _, err := f.asBefore().compactd("init", "--root", f.old); err != nil {
		return err
	}
	for first := 0; first < rows; first += 1_000_000 {
		if err := f.addBefore(span(first, min(rows-first, 1_000_000))); err != nil {
			return err
		}
		if _, _, err := f.asBefore().foldOnce(f.old); err != nil {
			return err
		}
	}
	return nil
}

// foldBefore folds the same records as the other root has just folded.
func (f *folds) foldBefore(work string, runs []int) error {
	if f.old == "" {
		return nil
	}
	if err := f.addBefore(runs); err != nil {
		return err
	}
	if err := f.settle(publishedIn(f.old)...); err != nil {
		return err
	}
	r, values, err := f.asBefore().foldOnce(f.old)
	if err == nil && r.Rows != int64(f.next) {
		err = fmt.Errorf("%d rows, want %d", r.Rows, f.next)
	}
	return f.result(work, earlier, "both files", values, err)
}
