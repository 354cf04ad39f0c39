package trackers

import "testing"

// TestWandb takes the runs of a program that was offline. What wandb adds by itself, such as the host and times, nobody has noted.
func TestWandb(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := made(t, "wandb_offline.py", dir)
	r := newRoot(t)
	first := r.take(0, "wandb", dir, "--steps", "100000")
	if first.Taken != len(runs)+1 || first.Left != 0 {
		t.Errorf("%+v, want %d runs", first, len(runs)+1)
	}
	cohorts := r.cohortsOf(first)
	for _, want := range runs {
		got := r.show(want.ID)
		if start, _ := got.Fields["start_time"].(string); start == "" || got.Time < start {
			t.Errorf("run %s: start_time %q, timestamp %q", want.ID, start, got.Time)
		} else {
			want.StartText = start
		}
		if want.Tags["host"], _ = got.Fields["tags.host"].(string); want.Tags["host"] == "" {
			t.Errorf("run %s has no host", want.ID)
		}
		r.compare(want, cohorts[want.Experiment])
	}
	if again := r.take(0, "wandb", dir, "--steps", "100000"); again.Taken != 0 || again.Known != len(runs)+1 {
		t.Errorf("the same again: %+v", again)
	}
	killed := r.show("killed01")
	if loss := killed.Fields["metrics.loss"]; loss == nil || !isNumber(loss, "0.005") {
		t.Errorf("the run that was killed is %v, with the loss %v", killed.Fields["status"], loss)
	}
	r.compactd(0, "check")
}
