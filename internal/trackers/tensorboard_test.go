package trackers

import (
	"path/filepath"
	"testing"
)

// TestTensorBoard takes event files of two writers.
func TestTensorBoard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := made(t, "tensorboard_logs.py", dir)
	r := newRoot(t)
	logs := filepath.Join(dir, "My logs")
	first := r.take(0, "tensorboard", logs, "--steps", "100000")
	if first.Taken != len(runs) || first.Left != 0 {
		t.Errorf("%+v, want %d runs", first, len(runs))
	}
	cohorts := r.cohortsOf(first)
	for _, want := range runs {
		want.StartText, _ = r.show(want.ID).Fields["start_time"].(string)
		r.compare(want, cohorts[want.Experiment])
	}
	if again := r.take(0, "tensorboard", logs, "--steps", "100000"); again.Taken != 0 || again.Known != len(runs) {
		t.Errorf("the same again: %+v", again)
	}
	r.compactd(0, "check")
}
