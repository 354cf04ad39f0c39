package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/bench/peer"
)

// TestBefore lets the commands of the commit that is checked out append and fold beside those of the tree.
func TestBefore(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds all commands once more")
	}
	if out, err := exec.Command("git", "rev-parse", "HEAD").CombinedOutput(); err != nil {
		t.Skipf("no other commit is to be had: git rev-parse: %v: %s", err, out)
	}
	out := t.TempDir()
	cmd, dir := command(t, "-before", "HEAD", "-only", "append,one-shot,fold", "-who", us+","+earlier, "-out", out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, text)
	}
	nothingLeft(t, dir)
	r, err := loadResults(filepath.Join(out, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ work, value string }{
		{"append goroutines=1", "records/s"}, {oneShotName(6, 3), "records/s"}, {"fold rows=500", "wall s"}, {"fold rows=500 replaced=scattered", "wall s"},
	} {
		for _, who := range []string{us, earlier} {
			if v := r.value(c.work, who, c.value); v <= 0 {
				t.Errorf("%s of %s: %v %s", c.work, who, v, c.value)
			}
		}
	}
	cmd, dir = command(t, "-before", "no-commit")
	if text, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(text), "no-commit") {
		t.Errorf("-before no-commit: %v: %s", err, text)
	}
	nothingLeft(t, dir)
}

// kept remembers the runs of what is appended.
type kept struct{ runs map[string]int }

func (k kept) Writer() (peer.Append, error) {
	return func(record []byte) error {
		k.runs[string(record[:len(`{"run_id":"run-000000000","`)])]++
		return nil
	}, nil
}

func (kept) Close() error { return nil }

// TestRunsOfTheirOwn: with Runs every record is of another run, and else it is as it was given.
func TestRunsOfTheirOwn(t *testing.T) {
	for _, c := range []struct{ first int }{{0}, {1_000_000}} {
		k := kept{map[string]int{}}
		if _, err := peer.Run(k, peer.Work{Writers: 1, For: 1e6, Records: [][]byte{line(7)}, Runs: c.first}); err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, n := range k.runs {
			total += n
		}
		if c.first == 0 && len(k.runs) != 1 || c.first > 0 && len(k.runs) != total {
			t.Errorf("Runs: %d: %d records of %d runs", c.first, total, len(k.runs))
		}
		if want := fmt.Sprintf(`{"run_id":"run-%09d","`, max(c.first, 7)); k.runs[want] == 0 {
			t.Errorf("Runs: %d: no record begins with %s", c.first, want)
		}
	}
}
