package compactor_test

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestUnmovableIsToldOnce folds streams that this user may not move: sealed ones, and one of a dead writer. Each is told once, over any
// number of folds, and goes once it may.
func TestUnmovableIsToldOnce(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	appendTo(t, root, "c", secondLines[0])
	w := openWriter(t, root, "c") // never closed: taken for dead below
	appendLines(t, w, secondLines[1])
	allowed := false
	disk := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
		if op == "rename" && strings.HasPrefix(name, root.ReapedDir()) && !allowed {
			return &os.LinkError{Op: "rename", Old: name, New: name, Err: syscall.EACCES}
		}
		return nil
	}}
	var told []string
	fold := func(dead bool) compactor.Report {
		t.Helper()
		told = nil
		cfg := compactor.Config{Root: root, FS: disk, ReapGrace: -1, Notify: func(n compactor.Notice) {
			if _, ok := n.(compactor.Unmovable); ok {
				told = append(told, n.String())
			} else if strings.Contains(n.String(), "not removed") {
				t.Errorf("it says %q", n)
			}
		}}
		if dead {
			cfg.DeadAfter = -1
		}
		report, err := compactor.Fold(t.Context(), cfg)
		if err != nil || !report.Clean() {
			t.Fatalf("Fold = %+v, %v", report, err)
		}
		return report
	}
	says := func(when, want string) {
		t.Helper()
		if len(told) != 1 || !strings.HasPrefix(told[0], want+" streams, such as "+root.Cohort("c")) || !strings.Contains(told[0], fs.ErrPermission.Error()) {
			t.Errorf("%s: told %q, want one line about %s streams", when, told, want)
		}
	}
	fold(false)
	says("the first fold", "2")
	for range 2 {
		if fold(false); len(told) > 0 {
			t.Errorf("a later fold says %q", told)
		}
	}
	fold(true)
	says("the writer is taken for dead", "1")
	generation := fold(true).Generation
	for range 2 {
		if r := fold(true); len(told) > 0 || r.Generation != generation {
			t.Errorf("a later fold makes generation %v after %v, and says %q", r.Generation, generation, told)
		}
	}
	if s, err := audit.ReadStatus(t.Context(), compactor.Config{Root: root}); err != nil || s.Stuck != 3 || s.Rows != 3 {
		t.Errorf("ReadStatus = %+v, %v; want 3 stuck", s, err)
	}
	allowed = true
	if fold(true); streamsLeft(t, root) != 0 || len(told) > 0 {
		t.Errorf("%d streams are left when they may be moved; told %q", streamsLeft(t, root), told)
	}
	if s, err := audit.ReadStatus(t.Context(), compactor.Config{Root: root}); err != nil || s.Stuck != 0 {
		t.Errorf("ReadStatus = %+v, %v; want none stuck", s, err)
	}
	if err := os.RemoveAll(root.ReapedDir()); err != nil { // what is left of the writer
		t.Fatal(err)
	}
}
