package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/history"
	"github.com/runfold/runfold/journal"
)

// TestRestoreKilled kills restores at random moments, sometimes with another one beside them. The next one that is left alone ends with the rows of its
// generation.
func TestRestoreKilled(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 41))
	root := libraryRoot(t)
	for g := range 2 {
		var lines strings.Builder
		for i := range 300 {
			fmt.Fprintf(&lines, `{"run_id":"r-%d","stage":"S","metrics":{"auc":0.%d},"snapshot":{"w":[%d]}}`+"\n", i+g*100, g+1, g)
		}
		cmd := exec.Command("journal-append", "--root", string(root), "--cohort", "c", "--summary", "none")
		cmd.Stdin = strings.NewReader(lines.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("journal-append: %v: %s", err, out)
		}
		if _, stderr, code := compactd(t, "once", "--root", string(root)); code != 0 {
			t.Fatalf("compactd once: exit code %d: %s", code, stderr)
		}
	}
	rounds, killed := 6, 0
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		to := fmt.Sprint(1 + round%2)
		args := []string{"restore", to, "--apply", "--wait", "1m", "--root", string(root)}
		for tries := 0; tries < 2 || killed <= round && tries < 50; tries++ {
			beside := exec.Command("compactd", args...)
			if rnd.IntN(3) == 0 {
				if err := beside.Start(); err != nil {
					t.Fatal(err)
				}
			}
			wasKilled, err := runOrKill(rnd, 6, args...)
			if err != nil {
				t.Fatal(err)
			}
			if wasKilled {
				killed++
			}
			if beside.Process != nil {
				beside.Process.Kill()
				beside.Wait() // killed or not
			}
		}
		if stdout, stderr, code := compactd(t, args...); code != 0 {
			t.Fatalf("compactd restore %s: exit code %d: %s%s", to, code, stdout, stderr)
		}
		stdout, stderr, code := compactd(t, "diff", to, "--root", string(root))
		if code != 0 || !strings.Contains(stdout, ": 0 added, 0 gone, 0 changed") {
			t.Fatalf("after the restore of %s, compactd diff: exit code %d: %s%s", to, code, stdout, stderr)
		}
	}
	t.Logf("figure: %d restores were killed", killed)
	if _, stderr, code := compactd(t, "check", "--root", string(root)); code != 0 {
		t.Errorf("compactd check: exit code %d: %s", code, stderr)
	}
}

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
