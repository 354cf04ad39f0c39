package compactor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view/delta"
)

// ChangeDelta commits whether folds publish the root as a Delta table (package view/delta), and publishes it if so. It returns the newest
// generation, which is the one before where the change changes nothing. No row is written. When it is turned off, the table stays as it is:
// delta.Drop removes it.
//
// It takes the lock of a fold, and like a fold it may be raced by anybody and cut off anywhere. On error nothing has changed, or the change is
// committed. A table that could not be brought up to date is a notice and no error, as in a fold.
func ChangeDelta(ctx context.Context, cfg Config, on bool) (newest generation.Manifest, err error) {
	return changing(ctx, cfg, func(r *run) (generation.Manifest, error) {
		return r.changeSetting(generation.DidDelta, func(m *generation.Manifest) (changed bool, err error) {
			changed, m.Delta = m.Delta != on, on
			return changed, nil
		})
	})
}

// NotShown tells that the Delta table could not be brought up to date. Everything else was done, and the next fold tries again.
type NotShown struct {
	Err error
}

func (n NotShown) String() string {
	text := fmt.Sprintf("delta: the table was not brought up to date: %v", n.Err)
	switch {
	case errors.Is(n.Err, delta.ErrAhead):
		return text + ": compactd delta drop removes it, and the next fold makes it anew"
	case delta.IsWrong(n.Err):
		return text + ": compactd delta sync --reassert takes it back"
	}
	return text + ": the next fold tries again"
}

// DeltaColumns tells what the Delta table does not have, or not every reader can read, since its columns changed.
type DeltaColumns struct {
	LeftOut []string // names that differ from others only by case
	Mapped  bool     // names need column mapping
}

func (n DeltaColumns) String() string {
	var parts []string
	if len(n.LeftOut) > 0 {
		parts = append(parts, fmt.Sprintf("columns are left out because other names differ only by case: %q", n.LeftOut))
	}
	if n.Mapped {
		parts = append(parts, "names with spaces or one of ,;{}()= need column mapping, which not every reader has (Polars has not)")
	}
	return "delta: " + strings.Join(parts, "; ")
}

// show brings the Delta table up to date. That is no part of a commit: whatever goes wrong is told and counted, and nothing else.
func (r *run) show(newest generation.Manifest) {
	if !newest.Delta || newest.Generation == 0 {
		return
	}
	done, err := delta.Publish(r.store)
	if err != nil {
		r.report.DeltaFailed++
		if delta.IsWrong(err) {
			r.report.Damage = max(r.report.Damage, 1)
		}
		r.say.once(NotShown{err})
		return
	}
	if done.NewColumns && (len(done.LeftOut) > 0 || done.Mapped) {
		r.say.tell(DeltaColumns{done.LeftOut, done.Mapped})
	}
}

// sweepDelta removes what the Delta table has of generations that are gone. An error is told as what stays, and the next fold tries again.
func (r *run) sweepDelta(newest generation.Manifest) {
	if !newest.Delta {
		return
	}
	_, err := delta.Sweep(r.store, max(r.KeepAge, 0))
	if err != nil && !delta.IsWrong(err) && !errors.Is(err, fs.ErrNotExist) {
		r.say.tell(generation.NotSwept{Path: r.Root.Rel(r.Root.Delta()), Err: err})
	}
}
