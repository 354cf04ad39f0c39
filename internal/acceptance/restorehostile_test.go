package acceptance

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/history"
	"github.com/runfold/runfold/journal"
)

// TestRestoreHostile restores roots of hostile records to and fro, with narrow and with wide keys.
func TestRestoreHostile(t *testing.T) {
	wide, err := cohort.ParseKeyForm([]string{"run_id", "phase", "cohort_id", "target", "symbol"})
	if err != nil {
		t.Fatal(err)
	}
	spelled, err := wide.SpellAbsent(cohort.AbsentNone)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []cohort.KeyForm{{}, wide, spelled} {
		seed := rand.Uint64()
		t.Logf("key %v, seed %d", form, seed)
		from := newRandomRecords(rand.New(rand.NewPCG(seed, 43)))
		root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
		if _, _, err := journal.InitRoot(root, cohort.Settings{Key: form}, journal.RootOptions{}); err != nil {
			t.Fatal(err)
		}
		var want []map[cohort.Key]string
		for range 3 {
			var recs []cohort.Record
			for range 60 {
				r, err := cohort.ParseRecord([]byte(from.next()), 0)
				if err == nil && r.Validate() == nil && form.Validate(r) == nil {
					recs = append(recs, r)
				}
			}
			want = append(want, appended(t, root, time.Now, recs).sums())
		}
		for _, g := range []int{1, 3, 2, 1} {
			done, err := history.Restore(t.Context(), compactor.Config{Root: root}, cohort.Generation(g), history.RestoreOptions{Apply: true, Limit: 1000})
			if err != nil || done.Later+done.Unmade+done.Protected != 0 || done.Damage {
				t.Fatalf("Restore %d = %+v, %v", g, done, err)
			}
			if diff := cmp.Diff(want[g-1], wholesOf(t, root).sums()); diff != "" {
				t.Fatalf("after the restore of %d (-want +got):\n%s", g, diff)
			}
		}
	}
}
