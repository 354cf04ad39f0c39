package trackers

import (
	"strings"
	"testing"
)

// TestSacred takes runs that ended in several ways.
func TestSacred(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := made(t, "sacred_runs.py", dir)
	r := newRoot(t)
	r.takeAll(runs, "sacred", dir)
	snapshot := r.show(runs[0].ID).Snapshot
	if out, _ := snapshot["cout"].(string); !strings.Contains(out, "prints ☃") {
		t.Errorf("what was printed: %q", out)
	}
	if trace := r.show("fails-1").Snapshot["run"].(map[string]any)["fail_trace"]; trace == nil {
		t.Error("no trace of what failed")
	}
	if info := snapshot["info"]; info == nil {
		t.Error("no info")
	}
}
