//go:build unix

package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
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
