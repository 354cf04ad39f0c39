package compactor_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestImportSleepsAnywhere stops an import before each change of the disk in turn, lets a compactor fold
// and sweep meanwhile, and wakes it. The import decides again against what it finds: an append that was
// folded under it stays, and every imported row is there once.
func TestImportSleepsAnywhere(t *testing.T) {
	t.Parallel()
	const file = `{"a:S": {"snapshot_seq": 7, "v": 3}, "d:S": {"snapshot_seq": 8, "v": 3}, "x:S": {"v": 3}}`
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"d","stage":"S","v":4}`)
	for k := 0; ; k += sparse {
		disk := loaded(t, root)
		asleep, wake := make(chan struct{}), make(chan struct{})
		at := ""
		fault := &durabletest.Fault{FS: disk, Hook: func(n int, op, name string) error {
			if n == k {
				at = op + " " + root.Rel(name)
				close(asleep)
				<-wake
			}
			return nil
		}}
		done := make(chan error, 1)
		go func() {
			src := intake.Source{Snapshots: []intake.SnapshotsFile{{Data: strings.NewReader(file)}}, Cohort: "old"}
			_, err := intake.Import(context.Background(), compactor.Config{Root: root, FS: fault, Lock: yes{}}, src)
			done <- err
		}()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			t.Logf("figure: %d interleavings of an import with a fold", k)
			return
		case <-asleep:
		}
		cfg := compactor.Config{Root: root, FS: durable.FS(disk), Lock: yes{}, KeepAge: -1, KeepGenerations: 1}
		foldNow(t, cfg)
		close(wake)
		if err := <-done; err != nil {
			t.Errorf("asleep before change %d, %s: the import ends with %v", k, at, err)
			continue
		}
		foldNow(t, cfg)
		want := map[string]string{"a:S": "1", "b:S": "1", "d:S": "4", "x:S": "3"}
		if diff := cmp.Diff(want, valuesOn(t, disk, root)); diff != "" {
			t.Errorf("asleep before change %d, %s: rows (-want +got):\n%s", k, at, diff)
		}
		if got := damageOn(t, disk, root); got != "" {
			t.Errorf("asleep before change %d, %s: check finds\n%s", k, at, got)
		}
	}
}
