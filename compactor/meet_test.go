package compactor_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestMeetAnywhere suspends one compactor before each of its changes of the disk, while writers append and
// another compactor runs to its end, or is stopped for ever before one of its own changes. Then the power fails,
// with the first still asleep or after its own end. The next fold has all that was acknowledged.
//
// Without -full the second is stopped at two places of each pair, chosen by -seed, and long runs are
// suspended at every n-th place.
func TestMeetAnywhere(t *testing.T) {
	t.Logf("-seed %d", *seed)
	for name, m := range meetings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := m.stage(t)
			h := fnv.New64()
			h.Write([]byte(name))
			sum := &tally{}
			s.meetEverywhere(t, rand.New(rand.NewPCG(*seed, h.Sum64())), sum)
			t.Logf("figure: %d crash states (%d distinct) of two compactors, at %d places and %d pairs of places, in %q",
				sum.crashes, sum.distinct, sum.places, sum.pairs, name)
			least := 2
			if testing.Short() {
				least = 1
			}
			if sum.places < least || sum.pairs < 2*sum.places || sum.distinct < 3*sum.places {
				t.Errorf("too little was tried: this is no meeting")
			}
		})
	}
}

// tally counts what was tried.
type tally struct{ places, pairs, crashes, distinct int }

// meetEverywhere is the double loop: places of the first, and for each of them places of the second.
func (s *stage) meetEverywhere(t *testing.T, rnd *rand.Rand, sum *tally) {
	t.Helper()
	step, most := 1, 32/sparse
	if testing.Short() {
		most = 2
	}
	if n := s.length(t); !*full && n > most {
		step = (n + most - 1) / most
	}
	for k := rnd.IntN(step); ; k += step {
		calls := s.meet(t, rnd, k, -1, sum)
		if calls < 0 {
			return
		}
		sum.places++
		tries := 2
		if *full {
			tries = calls
		}
		for j := range tries {
			if !*full && calls > 0 {
				j = rnd.IntN(calls)
			}
			s.meet(t, rnd, k, j, sum)
			sum.pairs++
		}
	}
}

// length is how often the first compactor changes the disk when it is alone.
func (s *stage) length(t *testing.T) int {
	t.Helper()
	disk := s.base.Crash(whole, nil)
	fault := &durabletest.Fault{FS: disk}
	if err := s.a.do(s.config(disk, fault)); err != nil {
		t.Fatal(err)
	}
	return fault.Calls()
}

// encounter is one run of two compactors on one stage.
type encounter struct {
	*stage
	t    *testing.T
	rnd  *rand.Rand
	disk *durabletest.CrashFS
	was  promise
	when string

	modes int // how many of durabletest.Modes are tried
	sum   *tally
	seen  map[uint64]bool // what reboots have found
}

// meet suspends the first compactor before its k-th change, lets the second begin and ends it before its j-th
// change (never if j < 0), and wakes the first. It returns how often the second changed the disk, or -1
// if the first ended before.
func (s *stage) meet(t *testing.T, rnd *rand.Rand, k, j int, sum *tally) (calls int) {
	t.Helper()
	e := &encounter{stage: s, t: t, rnd: rnd, disk: s.base.Crash(whole, nil), was: promise{sure: s.acked}, modes: 2, sum: sum, seen: map[uint64]bool{}}
	if j < 0 || *full {
		e.modes = len(durabletest.Modes())
	}
	calls = -1
	fault := &durabletest.Fault{FS: e.disk, Hook: func(n int, op, name string) error {
		if n == k {
			e.when = fmt.Sprintf("-seed %d: the first before change %d, %s %s; the second ended before its change %d", *seed, k, op, s.root.Rel(name), j)
			calls = e.second(j)
		}
		return nil
	}}
	e.was.maybe = append(e.was.maybe, s.brings[s.a.name])
	switch err := s.a.do(s.config(e.disk, fault)); {
	case err == nil:
		e.was.sure = e.was.sure.add(s.brings[s.a.name])
	case !sweptUnder(err):
		t.Errorf("%s: the first ends with %v", e.when, err)
	}
	if calls >= 0 {
		e.crash("the first at its end")
	}
	return calls
}

// sweptUnder tells the one error that a compactor may end with because of another one: a temporary file of its
// own was swept before it gave it a name, as the other one keeps nothing for any time.
func sweptUnder(err error) bool { return errors.Is(err, fs.ErrNotExist) && !generation.IsDamage(err) }

// second runs the second compactor while the first is suspended.
func (e *encounter) second(j int) (calls int) {
	e.t.Helper()
	for _, a := range e.arrived {
		e.was.sure = e.was.sure.add(e.arrive(e.t, e.disk, a))
	}
	fault := &durabletest.Fault{FS: e.disk}
	if j >= 0 {
		fault.Hook = durabletest.StopAt(j)
	}
	e.was.maybe = append(e.was.maybe, e.brings[e.b.name])
	cfg := e.config(e.disk, fault)
	cfg.Lock = touching{e.disk, e.root.CompactLock() + ".2"} // the first has the lock, and was passed over; it comes back below
	switch err := e.b.do(cfg); {
	case err == nil:
		e.was.sure = e.was.sure.add(e.brings[e.b.name])
	case j < 0:
		e.t.Errorf("%s: the second ends with %v", e.when, err)
	}
	e.crash("the first for ever asleep")
	if e.rnd.IntN(2) == 0 { // a third one came, and was killed at once
		if err := (touching{e.disk, e.root.CompactLock()}).touch(); err != nil {
			e.t.Fatal(err)
		}
	}
	return fault.Calls()
}

// crash lets the power fail now, in several ways. What two reboots find alike is folded once.
func (e *encounter) crash(at string) {
	e.t.Helper()
	modes := durabletest.Modes()
	e.rnd.Shuffle(len(modes), func(i, j int) { modes[i], modes[j] = modes[j], modes[i] })
	for _, mode := range modes[:e.modes] {
		reboot := e.disk.Crash(mode, e.rnd)
		e.sum.crashes++
		found := fingerprint(e.t, reboot, e.root)
		if e.seen[found] {
			continue
		}
		e.seen[found] = true
		e.sum.distinct++
		if err := e.survive(e.t, reboot, e.was); err != nil {
			e.t.Errorf("%s; power lost (%v) with %s: %v", e.when, mode, at, err)
		}
	}
}
