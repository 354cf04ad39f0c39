//go:build unix

package mlruns

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/compactor/intake/tracker/trackertest"
)

// TestHostile meets pipes, links and files that may not be read: it neither waits nor leaves the directory.
func TestHostile(t *testing.T) {
	outside := trackertest.Dir(t, map[string]string{"2/meta.yaml": strings.ReplaceAll(experimentMeta, "1", "2"), "2/s/meta.yaml": strings.ReplaceAll(runMeta, "run_id: r", "run_id: s"), "secret": "top"})
	dir := trackertest.Dir(t, map[string]string{"1/meta.yaml": experimentMeta, "1/r/meta.yaml": runMeta, "1/r/params/ok": "1", "1/r/metrics/x": "", "1/closed/meta.yaml": runMeta})
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(outside, "2"), "2")
	link(filepath.Join(outside, "secret"), "1/r/params/secret")
	link("../../../../../../etc", "1/r/params/up")
	link("ok", "1/r/params/inside")
	link("1", "again") // which is met without it
	link(".", "1/loop")
	link("gone", "dangling")
	if err := syscall.Mkfifo(filepath.Join(dir, "1/r/params/pipe"), 0o666); err != nil {
		t.Skip(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "1/r/metrics/pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"1/r/metrics/pipe: is not a file",
		"1/r/params/pipe: is not a file",
		"1/r/params/secret: path escapes from parent",
		"2: is a link that leads out of the folder, and was not followed: import what it leads to",
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(filepath.Join(dir, "1/closed"), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(filepath.Join(dir, "1/closed"), 0o777) })
		want = append(want, "1/closed: may not be read: permission denied")
	}
	runs, left := all(dir, tracker.Options{})
	for _, w := range want {
		found := false
		for _, l := range left {
			found = found || l == w
		}
		if !found {
			t.Errorf("%q is not told: %q", w, left)
		}
	}
	if len(runs) == 0 || runs[len(runs)-1].ID != "r" {
		t.Fatalf("%d runs", len(runs))
	}
	text := trackertest.JSON(runs[len(runs)-1])
	if strings.Contains(text, "top") || !strings.Contains(text, `"params":{"inside":1,"ok":1}`) {
		t.Errorf("record %s", text)
	}
}
