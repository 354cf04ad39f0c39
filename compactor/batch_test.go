package compactor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestReadAgain takes a stream away between the two readings of it. Moved to reaped/, it is read there; deleted,
// the fold starts again and finds what is left.
func TestReadAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		take func(t *testing.T, root cohort.Root, dir string)
		want map[string]string
	}{
		{"moved", func(t *testing.T, root cohort.Root, dir string) {
			to := filepath.Join(root.ReapedDir(), "c")
			if err := os.MkdirAll(to, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(dir, filepath.Join(to, filepath.Base(dir))); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{"b:S": "2", "c:S": "2"}},
		{"deleted", func(t *testing.T, _ cohort.Root, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := newRoot(t)
			appendTo(t, root, "c", secondLines...)
			streams, err := filepath.Glob(filepath.Join(root.Cohorts(), "c", "*"))
			if err != nil || len(streams) != 1 {
				t.Fatalf("streams %v, %v", streams, err)
			}
			taken := false
			fsys := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
				if op == "create" && strings.Contains(name, ".snapshots-") && !taken {
					taken = true
					test.take(t, root, streams[0])
				}
				return nil
			}}
			// So small a budget holds no record.
			report := foldNow(t, compactor.Config{Root: root, FS: fsys, BatchBytes: 1000})
			if !taken || (report.Conflicts > 0) != (test.name == "deleted") {
				t.Errorf("taken %v, %d conflicts", taken, report.Conflicts)
			}
			if diff := cmp.Diff(test.want, values(t, root)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}
