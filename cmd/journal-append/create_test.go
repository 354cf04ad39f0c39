package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// TestCreateAtOnce starts processes that all may make the root: one does, and the records of all are in it.
func TestCreateAtOnce(t *testing.T) {
	root := cohort.Root(filepath.Join(t.TempDir(), "above", "runs"))
	const processes = 24
	var all sync.WaitGroup
	var mu sync.Mutex // guards made
	made := 0
	for n := range processes {
		all.Go(func() {
			out, err := exec.Command("journal-append", "--root", string(root), "--create", "--cohort", "a",
				"--run-id", fmt.Sprintf("r-%02d", n), "--stage", "S").CombinedOutput()
			if err != nil {
				t.Errorf("journal-append --create: %v: %s", err, out)
			}
			mu.Lock()
			defer mu.Unlock()
			made += strings.Count(string(out), "is a new root")
		})
	}
	all.Wait()
	if made != 1 {
		t.Errorf("%d processes say that they have made the root, want 1", made)
	}
	if got := len(streams(t, root)); got != processes {
		t.Errorf("%d streams, want %d", got, processes)
	}
}
