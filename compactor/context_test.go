package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestFoldEndsWithItsContext ends the context before each change of the disk in turn: the run ends before
// its commit and says why, or it is past it and completes what it began.
func TestFoldEndsWithItsContext(t *testing.T) {
	root := prepared(t)
	stopped, whole := 0, 0
	for k := 0; ; k++ {
		disk := loaded(t, root)
		ctx, cancel := context.WithCancel(context.Background())
		fault := &durabletest.Fault{FS: disk, Hook: func(n int, _, _ string) error {
			if n == k {
				cancel()
			}
			return nil
		}}
		report, err := compactor.Fold(ctx, compactor.Config{Root: root, FS: fault, Lock: yes{}, KeepAge: -1, KeepGenerations: 1})
		isOver := ctx.Err() == nil
		cancel()
		switch {
		case errors.Is(err, context.Canceled) && report.Commits == 0:
			stopped++
		case err == nil && report.Commits == 1:
			whole++
		default:
			t.Errorf("context ended before change %d: %d commits, %v", k, report.Commits, err)
		}
		completesOn(t, disk, root, fmt.Sprintf("context ended before change %d", k))
		if isOver {
			break
		}
	}
	if stopped == 0 || whole < 2 {
		t.Errorf("%d runs stopped, %d completed: want some of both", stopped, whole)
	}
}
