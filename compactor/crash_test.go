package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestPowerLossAnywhere cuts the power before each change of the disk that a fold makes, in every mode of
// what survives besides what was synced. The next run ends where an undisturbed one would: every record,
// once, and nothing damaged.
func TestPowerLossAnywhere(t *testing.T) {
	t.Parallel()
	t.Run("records", func(t *testing.T) { losePowerAnywhere(t, preparedToExpire(t), bothRows, 3, afresh) })
	t.Run("actions", func(t *testing.T) { losePowerAnywhere(t, actedToExpire(t), actedRows, 1, afresh) })
	t.Run("a share that does not sync directories", func(t *testing.T) { losePowerAnywhere(t, actedToExpire(t), actedRows, 4, onShare) })
}

// losePowerAnywhere tries every step-th change. A fold without actions does what one with actions does, and less.
func losePowerAnywhere(t *testing.T, root cohort.Root, want map[string]string, step int, on func(*durabletest.CrashFS) *durabletest.CrashFS) {
	rnd := rand.New(rand.NewPCG(*seed, 2))
	t.Logf("-seed %d", *seed)
	crashes, before := 0, loaded(t, root)
	for k := 0; ; k++ {
		if k%step != 0 || k%sparse != 0 || testing.Short() && k%5 != 0 {
			continue
		}
		disk := on(before)
		fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
		cfg := compactor.Config{Root: root, FS: fault, Lock: yes{}, KeepAge: -1, KeepGenerations: 1, Sizes: small}
		_, err := compactor.Fold(context.Background(), cfg)
		if err == nil && fault.Calls() <= k {
			t.Logf("figure: %d crash states of a fold, at %d places (%s)", crashes, k, t.Name())
			return
		}
		for _, mode := range durabletest.Modes() {
			crashes++
			when := fmt.Sprintf("power lost before change %d, %v", k, mode)
			reboot := disk.Crash(mode, rnd)
			cfg.FS = reboot
			foldNow(t, cfg)
			if diff := cmp.Diff(want, valuesOn(t, reboot, root)); diff != "" {
				t.Fatalf("%s: rows after the next run (-want +got):\n%s", when, diff)
			}
			if got := damageOn(t, reboot, root); got != "" {
				t.Fatalf("%s: check finds\n%s", when, got)
			}
		}
	}
}

func onShare(before *durabletest.CrashFS) *durabletest.CrashFS {
	disk := afresh(before)
	disk.Share = true
	return disk
}

// TestKillThenPowerLoss ends one run before each change of the disk, the next one before each of its
// own, and then cuts the power. What the first left is there for the second to see and may be on no disk
// yet (R11).
func TestKillThenPowerLoss(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(*seed, 3))
	t.Logf("-seed %d", *seed)
	root := actedToExpire(t)
	modes := durabletest.Modes()
	step := 3 // each seed takes other pairs
	if testing.Short() || sparse > 1 {
		step = 7
	}
	crashes := 0
	defer func() { t.Logf("figure: %d crash states after two runs that were stopped", crashes) }()
	const changes = 60 // a little more than a fold has, so that the last ones are whole
	for first := rnd.IntN(step); first < changes; first += step {
		for second := rnd.IntN(step); second < changes; second += step {
			disk := durabletest.New()
			if err := disk.Load(string(root)); err != nil {
				t.Fatal(err)
			}
			cfg := compactor.Config{Root: root, Lock: yes{}, KeepAge: -1, KeepGenerations: 1}
			for _, k := range []int{first, second} {
				cfg.FS = &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
				compactor.Fold(context.Background(), cfg) // stopped or not
			}
			mode := modes[rnd.IntN(len(modes))]
			when := fmt.Sprintf("ended before changes %d and %d, %v", first, second, mode)
			disk = disk.Crash(mode, rnd)
			crashes++
			cfg.FS = disk
			foldNow(t, cfg)
			if diff := cmp.Diff(actedRows, valuesOn(t, disk, root)); diff != "" {
				t.Fatalf("%s: rows (-want +got):\n%s", when, diff)
			}
			if got := damageOn(t, disk, root); got != "" {
				t.Fatalf("%s: check finds\n%s", when, got)
			}
		}
	}
}

// TestFullDiskLeavesNothing shows that a fold which cannot write its second file takes the first one away
// again, and that an unfinished one does so when it is told to stop.
func TestFullDiskLeavesNothing(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(cancel func(), op, name string) error
	}{
		{"disk full", func(_ func(), op, name string) error {
			if op == "write" && strings.Contains(name, "snapshots-") {
				return syscall.ENOSPC
			}
			return nil
		}},
		{"told to stop", func(cancel func(), op, name string) error {
			if op == "rename" && strings.Contains(name, "snapshots-") {
				cancel()
			}
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := prepared(t)
			before, err := os.ReadDir(root.DataDir())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			fsys := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error { return test.fail(cancel, op, name) }}
			if _, err := compactor.Fold(ctx, compactor.Config{Root: root, FS: fsys}); err == nil {
				t.Error("Fold = nil, want an error")
			}
			after, err := os.ReadDir(root.DataDir())
			if err != nil || len(after) != len(before) {
				t.Errorf("data/ holds %v, %v; before it held %v", after, err, before)
			}
			completesOn(t, durable.OS, root, test.name)
		})
	}
}

// TestDeletionBehindMove shows that a stream whose deletion survives a power loss does not come back where
// it was before the move that nobody synced (R17).
func TestDeletionBehindMove(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 4))
	t.Logf("-seed %d", *seed)
	root := newRoot(t)
	appendTo(t, root, "c", firstLines[0])
	unmoved := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
		if op == "rename" && strings.HasPrefix(name, root.ReapedDir()) {
			return syscall.EIO
		}
		return nil
	}}
	foldNow(t, compactor.Config{Root: root, FS: unmoved})
	moved := newestOn(t, root).Streams[0].Stream
	appendTo(t, root, "c", secondLines[0])
	for range 20 {
		for _, mode := range durabletest.Modes() {
			disk := durabletest.New()
			if err := disk.Load(string(root)); err != nil {
				t.Fatal(err)
			}
			foldNow(t, compactor.Config{Root: root, FS: disk})
			if _, err := disk.Stat(root.Reaped(moved.Cohort, moved.ID)); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("the fold did not delete the stream: %v", err)
			}
			reboot := disk.Crash(mode, rnd)
			_, dir := reboot.Stat(root.Stream(moved.Cohort, moved.ID))
			_, segment := reboot.Stat(root.Segment(moved.Cohort, moved.ID))
			if dir == nil && segment != nil {
				t.Fatalf("%v: the stream is back, without its segment", mode)
			}
		}
	}
}
