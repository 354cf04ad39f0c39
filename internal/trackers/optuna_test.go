package trackers

import (
	"path/filepath"
	"testing"
)

// TestOptuna takes the trials of a journal.
func TestOptuna(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := made(t, "optuna_journal.py", dir)
	file := filepath.Join(dir, "journal.log")
	r := newRoot(t)
	r.takeAll(runs, "optuna", file, "--assume-zone", "UTC")
	if is := r.take(0, "optuna", file); is.Deleted != 2 {
		t.Errorf("%d trials of deleted studies, want 2", is.Deleted)
	}
}
