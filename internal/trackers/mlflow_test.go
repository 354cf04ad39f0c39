package trackers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMLflow takes the runs of stores that MLflow 2 and 3 made.
func TestMLflow(t *testing.T) {
	t.Parallel()
	for version, path := range map[string][]string{"3": nil, "2": {"mlflow2"}} {
		t.Run(version, func(t *testing.T) {
			dir := t.TempDir()
			runs := made(t, "mlflow_store.py", dir, path...)
			if len(living(runs)) != len(runs)-2 {
				t.Errorf("%d of %d runs are not deleted", len(living(runs)), len(runs))
			}
			newRoot(t).takeAll(living(runs), "mlruns", dir, "--steps", "100000")
			newRoot(t).takeAll(runs, "mlruns", dir, "--steps", "100000", "--deleted")
			thin(t, dir)
			goesOn(t, dir, living(runs))
		})
	}
}

// thin keeps few steps, with the first and the last.
func thin(t *testing.T, dir string) {
	t.Helper()
	r := newRoot(t)
	r.take(0, "mlruns", dir)
	out, _ := r.compactd(0, "runs", "--where", "name = 'many'", "--columns", "run_id")
	lines := strings.Fields(string(out))
	h := r.show(lines[len(lines)-1]).Snapshot["history"].(map[string]any)["steps"].(map[string]any)
	steps := h["step"].([]any)
	first, last := steps[0], steps[len(steps)-1]
	if len(steps) != 1000 || !isNumber(first, "0") || !isNumber(last, "2499") || !isNumber(h["points"], "2500") {
		t.Errorf("%d steps from %v to %v, of %v", len(steps), first, last, h["points"])
	}
}

// goesOn changes runs after they were imported: one tag, then a metric; and one is continued by an append.
func goesOn(t *testing.T, dir string, runs []run) {
	t.Helper()
	r := newRoot(t)
	r.take(0, "mlruns", dir)
	id := runs[0].ID
	found, err := filepath.Glob(filepath.Join(dir, "deep", "down", "mlruns", "*", id))
	if err != nil || len(found) != 1 {
		t.Fatalf("run %s: %v, %v", id, found, err)
	}
	if err := os.WriteFile(filepath.Join(found[0], "tags", "later"), []byte("yes"), 0o666); err != nil {
		t.Fatal(err)
	}
	if is := r.take(0, "mlruns", dir); is.Taken != 1 || is.Replaced != 1 || is.Known != len(runs)-1 {
		t.Errorf("one more tag: %+v", is)
	}
	if got := r.show(id).Fields["tags.later"]; got != "yes" {
		t.Errorf("the tag is %v", got)
	}
	if err := os.Remove(filepath.Join(found[0], "tags", "later")); err != nil { // an equal time, and back to what was there
		t.Fatal(err)
	}
	if is := r.take(0, "mlruns", dir); is.Taken != 1 || is.Replaced != 1 {
		t.Errorf("one less tag: %+v", is)
	}
	if got := r.show(id).Fields["tags.later"]; got != nil {
		t.Errorf("the tag is %v", got)
	}
}
