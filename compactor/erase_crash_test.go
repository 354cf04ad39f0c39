package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// toErase is a root with three generations of the run that is erased, a withdrawn row of it, and a stream that is not folded yet.
func toErase(t testing.TB, root cohort.Root) cohort.Root {
	t.Helper()
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", secretLines[:3]...)
	foldNow(t, cfg)
	appendTo(t, root, "c", secretLines[3:6]...)
	foldNow(t, cfg)
	appendTo(t, root, "c", secretLines[6], `{"run_id":"person","stage":"U","v":2,"note":"secret-two"}`)
	return root
}

var erasedRows = map[string]string{"a:S": "1", "b:S": "out 1"}

// isErasedOn fails unless a root is without the run, whole, and keeps two generations.
func isErasedOn(t testing.TB, fsys durable.FS, root cohort.Root, when string) {
	t.Helper()
	if found := secretsIn(t, fsys, root); len(found) > 0 {
		t.Fatalf("%s:\n%s", when, strings.Join(found, "\n"))
	}
	if diff := cmp.Diff(erasedRows, valuesOn(t, fsys, root)); diff != "" {
		t.Fatalf("%s: rows (-want +got):\n%s", when, diff)
	}
	if got := damageOn(t, fsys, root); got != "" {
		t.Fatalf("%s: check finds\n%s", when, got)
	}
}

// haveDataOn fails unless every manifest on a disk has its data files (R23).
func haveDataOn(t testing.TB, disk durable.FS, root cohort.Root, when string) {
	t.Helper()
	gens, err := generations(disk, root)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gens {
		m, err := manifest(disk, root, g)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		for _, d := range m.Files() {
			if info, err := disk.Stat(root.Data(d.Name)); err != nil || info.Size() != d.Size {
				t.Fatalf("%s: generation %d is there, and %s is not whole: %v", when, g, d.Name, err)
			}
		}
	}
}

// TestErasePowerLoss cuts the power before each change of the disk that an erasure makes, in every mode of what survives. The same call
// ends it; so does --continue, once the tombstones are there. What it says that it has done stays done.
func TestErasePowerLoss(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 7))
	t.Logf("-seed %d", *seed)
	root := toErase(t, newRoot(t))
	t.Run("a local disk", func(t *testing.T) { eraseLosesPower(t, root, rnd, 1, false) })
	t.Run("a share that does not sync directories", func(t *testing.T) { eraseLosesPower(t, root, rnd, 5, true) })
}

// eraseLosesPower tries every step-th change.
func eraseLosesPower(t *testing.T, root cohort.Root, rnd *rand.Rand, step int, share bool) {
	crashes, before := 0, loaded(t, root)
	for k := 0; ; k++ {
		if k%step != 0 || k%sparse != 0 || testing.Short() && k%5 != 0 {
			continue
		}
		disk := afresh(before)
		disk.Share = share
		fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
		cfg := compactor.Config{Root: root, FS: fault, Lock: yes{}}
		what := compactor.Erasure{RunID: "person", Apply: true}
		_, err := compactor.Erase(context.Background(), cfg, what)
		whole := err == nil && fault.Calls() <= k
		for _, mode := range durabletest.Modes() {
			crashes++
			when := fmt.Sprintf("power lost before change %d, %v", k, mode)
			reboot := disk.Crash(mode, rnd)
			cfg.FS = reboot
			if whole {
				isErasedOn(t, reboot, root, when+", after its end")
			}
			haveDataOn(t, reboot, root, when)
			what.RunID = "person"
			if m, err := newest(reboot, root); err == nil && m.Erased != nil {
				what.RunID = ""
			}
			done := eraseNow(t, cfg, what)
			if !done.IsDone() {
				t.Fatalf("%s: left: %+v", when, done.Holding)
			}
			isErasedOn(t, reboot, root, when)
			isErasedOn(t, reboot.Crash(mode, rnd), root, when+", and again after the end of the next")
		}
		if whole {
			t.Logf("figure: %d crash states of an erasure, at %d places (share: %v)", crashes, k, share)
			return
		}
	}
}

// TestEraseFails lets each change of the disk fail once with EIO: the call fails, or names what it could not do, or goes on without it.
// The next one ends it.
func TestEraseFails(t *testing.T) {
	root := toErase(t, newRoot(t))
	before := loaded(t, root)
	for k := 0; ; k++ {
		if k%sparse != 0 || testing.Short() && k%5 != 0 {
			continue
		}
		disk := afresh(before)
		at := ""
		fault := &durabletest.Fault{FS: disk, Hook: func(n int, op, name string) error {
			if n == k {
				at = op + " " + root.Rel(name)
				return syscall.EIO
			}
			return nil
		}}
		cfg := compactor.Config{Root: root, FS: fault, Lock: yes{}}
		what := compactor.Erasure{RunID: "person", Apply: true}
		done, err := compactor.Erase(context.Background(), cfg, what)
		when := fmt.Sprintf("change %d (%s) fails", k, at)
		if err == nil && done.IsDone() {
			if found := secretsIn(t, disk, root); len(found) > 0 {
				t.Fatalf("%s: it says that it is done:\n%s", when, strings.Join(found, "\n"))
			}
		}
		cfg.FS = disk
		if done := eraseNow(t, cfg, what); !done.IsDone() {
			t.Fatalf("%s: the next one left: %+v", when, done.Holding)
		}
		isErasedOn(t, disk, root, when)
		if at == "" {
			return
		}
	}
}

// TestEraseMeets stops an erasure before each change of the disk, lets a fold or another erasure run to its end, and wakes it.
func TestEraseMeets(t *testing.T) {
	root := toErase(t, newRoot(t))
	what := compactor.Erasure{RunID: "person", Apply: true}
	for name, other := range map[string]func(compactor.Config) error{
		"fold": func(cfg compactor.Config) error { _, err := compactor.Fold(context.Background(), cfg); return err },
		"erasure": func(cfg compactor.Config) error {
			_, err := compactor.Erase(context.Background(), cfg, what)
			return err
		},
	} {
		t.Run("erasure and "+name, func(t *testing.T) {
			meets(t, root, other, func(cfg compactor.Config) error {
				done, err := compactor.Erase(context.Background(), cfg, what)
				if err == nil {
					certified(t, cfg, done, "the first")
				}
				return err
			})
		})
	}
	t.Run("fold and erasure", func(t *testing.T) {
		meets(t, root, func(cfg compactor.Config) error {
			_, err := compactor.Erase(context.Background(), cfg, what)
			return err
		},
			func(cfg compactor.Config) error { _, err := compactor.Fold(context.Background(), cfg); return err })
	})
}

func meets(t *testing.T, root cohort.Root, other, first func(compactor.Config) error) {
	before := loaded(t, root)
	for k := 0; ; k++ {
		if k%sparse != 0 || testing.Short() && k%5 != 0 {
			continue
		}
		disk := afresh(before)
		cfg := compactor.Config{Root: root, FS: disk, Lock: yes{}}
		at := ""
		slow := cfg
		slow.FS = &durabletest.Fault{FS: disk, Hook: func(n int, op, name string) error {
			if n == k {
				at = op + " " + root.Rel(name)
				if err := other(cfg); err != nil {
					t.Errorf("before change %d (%s): the other one ends with %v", k, at, err)
				}
			}
			return nil
		}}
		if err := first(slow); err != nil && !errors.Is(err, durabletest.ErrStopped) {
			t.Errorf("the other one ran before change %d (%s): the first ends with %v", k, at, err)
		}
		when := fmt.Sprintf("the other one ran before change %d (%s)", k, at)
		if done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"}); !done.IsDone() {
			t.Fatalf("%s: left: %+v", when, done.Holding)
		}
		isErasedOn(t, disk, root, when)
		if at == "" {
			return
		}
	}
}

// TestEraseRace lets erasures and folds run at once, with a lock that stops nobody, while writers append. No record of others is lost, and
// nothing of the run stays.
func TestEraseRace(t *testing.T) {
	root := newRoot(t)
	cfg := compactor.Config{Root: root, Lock: yes{}, BatchBytes: 4000}
	for _, line := range secretLines {
		appendTo(t, root, "c", line)
	}
	want := map[string]string{"a:S": "1", "b:S": "out 1"}
	var appending, working sync.WaitGroup
	done := make(chan struct{})
	work := func(do func() error) {
		working.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := do(); err != nil && !errors.Is(err, generation.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		work(func() error { _, err := compactor.Fold(t.Context(), cfg); return err })
		work(func() error {
			_, err := compactor.Erase(t.Context(), cfg, compactor.Erasure{RunID: "person", Apply: true})
			return err
		})
	}
	for w := range 3 {
		for n := range 10 {
			want[fmt.Sprintf("w%d-%d:S", w, n)] = "1"
		}
		appending.Go(func() {
			for n := range 10 {
				appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"w%d-%d","stage":"S","v":1}`, w, n))
			}
		})
	}
	appending.Wait()
	close(done)
	working.Wait()
	if last := eraseNow(t, cfg, compactor.Erasure{RunID: "person"}); !last.IsDone() {
		t.Errorf("left: %+v", last.Holding)
	}
	if found := secretsIn(t, durable.OS, root); len(found) > 0 {
		t.Errorf("after the race:\n%s", strings.Join(found, "\n"))
	}
	if diff := cmp.Diff(want, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
