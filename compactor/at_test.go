package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"sync"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

func ExampleRunsOf() {
	root, remove := tempRoot()
	defer remove()
	for _, run := range []string{"r-1", "r-2"} {
		appendRuns(root, run)
		if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root.Dir}); err != nil {
			log.Fatal(err)
		}
	}
	for run, err := range compactor.RunsOf(context.Background(), compactor.Config{Root: root.Dir}, 1) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(run.Key, run.Seq)
	}
	// Output:
	// r-1:TRAINING 1
}

// keysOf are the rows of a generation.
func keysOf(cfg compactor.Config, g cohort.Generation) (keys []string, err error) {
	for r, err := range compactor.RunsOf(context.Background(), cfg, g) {
		if err != nil {
			return keys, err
		}
		keys = append(keys, fmt.Sprintf("%s %d", r.Key, uint64(r.Seq)))
	}
	return keys, nil
}

func TestRunsOf(t *testing.T) {
	root := newDamagedRoot(t)
	for _, lines := range [][]string{firstLines, secondLines, thirdLines} {
		appendTo(t, root, "c", lines...)
		foldNow(t, compactor.Config{Root: root})
	}
	cfg := compactor.Config{Root: root}
	for g, want := range map[cohort.Generation][]string{1: {"a:S 1", "b:S 2"}, 2: {"a:S 1", "b:S 3", "c:S 4"}} {
		if got, err := keysOf(cfg, g); err != nil || !slices.Equal(got, want) {
			t.Errorf("RunsOf(%d) = %q, %v; want %q", uint64(g), got, err, want)
		}
	}
	if _, err := keysOf(cfg, 9); !errors.As(err, new(*generation.NotKeptError)) {
		t.Errorf("RunsOf(9) = %v; want NotKeptError", err)
	}
	// A data file that is gone while its manifest stays is damage, and not a sweep.
	m, err := manifest(durable.OS, root, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.Remove(durable.OS, root.Data(m.Index.Name)); err != nil {
		t.Fatal(err)
	}
	if _, err := keysOf(cfg, 1); !generation.IsDamage(err) {
		t.Errorf("RunsOf of a generation whose index is gone = %v; want damage", err)
	}
}

// TestRunsOfWhileItIsSwept sweeps the generation before each look at the disk: the rows are all of it, or the error says that it is
// not kept.
func TestRunsOfWhileItIsSwept(t *testing.T) {
	root := preparedToExpire(t)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", thirdLines...)
	want, err := keysOf(compactor.Config{Root: root}, 1)
	if err != nil || len(want) != 1 {
		t.Fatalf("undisturbed: %q, %v", want, err)
	}
	gone := 0
	for k := 0; ; k++ {
		disk, n := loaded(t, root), 0
		swept := false
		look := watched{disk, k, new(sync.Mutex), &n, func() {
			swept = true
			foldNow(t, keepFew(root, disk))
		}}
		got, err := keysOf(compactor.Config{Root: root, FS: look}, 1)
		switch {
		case errors.As(err, new(*generation.NotKeptError)):
			gone++
		case err != nil || !slices.Equal(got, want):
			t.Fatalf("swept before look %d: %q, %v; want %q", k, got, err, want)
		}
		if !swept {
			break
		}
	}
	if gone < 3 {
		t.Errorf("it was gone %d times: the sweep comes too late", gone)
	}
}
