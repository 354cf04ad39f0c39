//go:build unix

package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestMain makes this binary a compactor that kills itself before its k-th change of the disk.
func TestMain(m *testing.M) {
	root, k := os.Getenv("RUNFOLD_KILL_ROOT"), os.Getenv("RUNFOLD_KILL_AT")
	if root == "" {
		// Thousands of folds over small heaps: at the defaults a third of the time goes to collections and to what each of them
		// notes of the heap's profile. The limit bounds what a late collection lets grow. For -memprofile give -memprofilerate, too.
		debug.SetGCPercent(800)
		debug.SetMemoryLimit(512 << 20)
		runtime.MemProfileRate = 0
		os.Exit(m.Run())
	}
	at, err := strconv.Atoi(k)
	if err != nil {
		panic(err)
	}
	fsys := &durabletest.Fault{FS: durable.OS, Hook: func(n int, _, _ string) error {
		if n == at {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal arrives
		}
		return nil
	}}
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: cohort.Root(root), FS: fsys, KeepAge: -1, KeepGenerations: 1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestKillAnywhere kills a compactor with SIGKILL before its k-th change of the disk, for every k. The
// next run completes what it left: no record is lost and none is folded twice.
func TestKillAnywhere(t *testing.T) {
	t.Parallel()
	for k := 0; ; k++ {
		if k%sparse != 0 || testing.Short() && k%7 != 0 {
			continue
		}
		root := preparedToExpire(t)
		cmd := exec.Command(os.Args[0], "-test.run", "^$")
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "RUNFOLD_KILL_ROOT="+string(root), fmt.Sprint("RUNFOLD_KILL_AT=", k))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if err != nil && !killed {
			t.Fatalf("killed before change %d: %v: %s", k, err, out)
		}
		completes(t, root, fmt.Sprintf("killed before change %d", k))
		if !killed {
			t.Logf("figure: %d kills of a compactor", k)
			return
		}
	}
}

// completes folds once more and compares: rows, a generation for each commit, and nothing left over.
func completes(t *testing.T, root cohort.Root, when string) {
	t.Helper()
	report := foldNow(t, compactor.Config{Root: root, KeepAge: -1, KeepGenerations: 1})
	if diff := cmp.Diff(bothRows, values(t, root)); diff != "" {
		t.Errorf("%s: rows after the next run (-want +got):\n%s", when, diff)
	}
	if report.Generation != 3 || report.Rows != 3 {
		t.Errorf("%s: generation %d with %d rows, want 3 with 3: nothing is folded twice", when, report.Generation, report.Rows)
	}
	if n := streamsLeft(t, root); n != 0 {
		t.Errorf("%s: %d streams are left", when, n)
	}
	if got := damage(t, root); got != "" {
		t.Errorf("%s: check finds\n%s", when, got)
	}
	if left, err := os.ReadDir(root.DataDir()); err != nil || len(left) != 4 {
		t.Errorf("%s: data/ holds %v, %v; want those of two generations", when, left, err)
	}
}

// TestFailAnywhere lets every change of the disk fail in turn, once before and once after it happened.
// The run may fail or go on, but the next one ends where an undisturbed one would.
func TestFailAnywhere(t *testing.T) {
	t.Parallel()
	faults := 0
	defer func() { t.Logf("figure: %d faults injected into a fold", faults) }()
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC, durabletest.AfterError{Err: syscall.EIO}, durabletest.AfterError{Err: syscall.ETIMEDOUT}} {
		for k := 0; ; k++ {
			if k%sparse != 0 || testing.Short() && k%7 != 0 {
				continue
			}
			root := preparedToExpire(t)
			failed := ""
			fsys := &durabletest.Fault{FS: durable.OS, Hook: func(n int, op, name string) error {
				if n != k {
					return nil
				}
				failed = op + " " + root.Rel(name)
				return cause
			}}
			said := &notices{}
			_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, FS: fsys, KeepAge: -1, KeepGenerations: 1, Notify: said.add})
			if failed == "" {
				break
			}
			faults++
			late := errors.As(cause, new(durabletest.AfterError))
			if err == nil && said.text() == "" && !mayFail(failed, late) {
				t.Errorf("change %d, %s: failed with %v and nobody was told", k, failed, cause)
			}
			// A temporary file may stay if its removal failed: the sweep of the next run takes it.
			completes(t, root, fmt.Sprintf("change %d, %s: %v", k, failed, cause))
		}
	}
}

// mayFail tells changes that nothing depends on, and those that are found to have been done if they failed late.
func mayFail(change string, late bool) bool {
	return strings.HasPrefix(change, "remove ") && strings.HasSuffix(change, ".tmp") ||
		late && strings.HasPrefix(change, "link ") // a doubtful link that is found to have happened: a commit, or that of a public file
}
