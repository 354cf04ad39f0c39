package compactor_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

var full = flag.Bool("full", false, "interleave at every change of the disk, not only at some")

// TestRepairInterleaved lets a fold run before the k-th change of the disk that a repair makes. The fold
// runs to its end or is stopped at a change of its own; the repair goes on after it, or never does.
// Then the power fails. The next run ends with the result of an undisturbed run. See TestMeetAnywhere for the other
// work of compactors.
func TestRepairInterleaved(t *testing.T) {
	t.Logf("-seed %d", *seed)
	for name, s := range scenarios {
		if !s.repairs {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(*seed, 6))
			root := s.prepare(t)
			states := 0
			for k := 0; ; k += stride(rnd) {
				reached := false
				for _, resumes := range []bool{true, false} {
					for _, stopAt := range []int{never, rnd.IntN(40)} {
						reached = s.interleave(t, rnd, root, k, stopAt, resumes)
						states++
					}
				}
				if !reached {
					break
				}
			}
			if states < 12 {
				t.Errorf("only %d states: is this test looking in the right place?", states)
			}
			t.Logf("figure: %d crash states after a repair and a fold, interleaved, in %q", states, name)
		})
	}
}

// never is after the last change of any run.
const never = 1 << 30

func stride(rnd *rand.Rand) int {
	switch {
	case *full:
		return 1
	case testing.Short() || sparse > 1:
		return 5 + rnd.IntN(10)
	}
	return 1 + rnd.IntN(5)
}

// interleave makes one state and lets it be completed. It reports whether the first compactor made k changes.
func (s scenario) interleave(t *testing.T, rnd *rand.Rand, root cohort.Root, k, stopAt int, resumes bool) (reached bool) {
	t.Helper()
	disk := loaded(t, root)
	cfg := compactor.Config{Root: root, Lock: yes{}, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1}
	first, second := cfg, cfg
	second.KeepAge, second.KeepGenerations = 0, 0 // what a repair goes back to must not be swept before it looks
	var serr error
	second.FS = &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(stopAt)}
	stop := durabletest.StopAt(k)
	first.FS = &durabletest.Fault{FS: disk, Hook: func(n int, op, name string) error {
		if n == k {
			reached = true
			serr = foldOnce(second)
		}
		if resumes {
			return nil
		}
		return stop(n, op, name)
	}}
	mode := durabletest.Modes()[rnd.IntN(len(durabletest.Modes()))]
	when := fmt.Sprintf("before change %d, the fold stopped at %d, the repair resumes: %v, %v", k, stopAt, resumes, mode)
	if err := s.do(first); err != nil && !errors.Is(err, durabletest.ErrStopped) && !errors.Is(err, generation.ErrConflict) {
		t.Errorf("%s: the repair ends with %v", when, err)
	}
	// Where the newest generation is damaged the second one can only say so.
	if serr != nil && !errors.Is(serr, durabletest.ErrStopped) && !generation.IsDamage(serr) {
		t.Errorf("%s: the fold ends with %v", when, serr)
	}
	s.again(t, disk.Crash(mode, rnd), root, when)
	return reached
}
