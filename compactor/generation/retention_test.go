package generation

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// least is what a fold keeps by default.
var least = Keep{Generations: 3, Age: time.Hour}

// TestRetention commits once in a while, sweeps at the end, and lists what stays.
func TestRetention(t *testing.T) {
	every := func(period time.Duration, n int) func(*testing.T, *timed) {
		return func(t *testing.T, r *timed) {
			for range n {
				r.commit(t, period, false)
			}
		}
	}
	for name, c := range map[string]struct {
		do    func(t *testing.T, r *timed)
		after time.Duration // after the last commit
		keep  Keep
		want  []int
	}{
		// At 00:10, 00:20, ..., 05:00: the first of each hour, and all from 04:00 on.
		"hourly": {every(10*time.Minute, 30), 0, least, []int{1, 6, 12, 18, 23, 24, 25, 26, 27, 28, 29, 30}},
		"the last hour goes by, and no commit comes": {every(10*time.Minute, 30), 2 * time.Hour, least, []int{1, 6, 12, 18, 24, 28, 29, 30}},
		// Every 6 h, from 06:00 of March 1 to 00:00 of March 6. Those of the last day are all first of their hour.
		"daily":                          {every(6*time.Hour, 20), 0, least, []int{1, 4, 8, 12, 16, 17, 18, 19, 20}},
		"a month goes by":                {every(6*time.Hour, 20), 31 * day, least, []int{18, 19, 20}},
		"two months":                     {every(6*time.Hour, 20), 62 * day, least, []int{18, 19, 20}},
		"the minimum holds beyond it":    {every(10*time.Minute, 30), 0, Keep{Generations: 10, Age: 2 * time.Hour}, []int{1, 6, 12, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30}},
		"two whole ones, whatever it is": {every(10*time.Minute, 30), 62 * day, Keep{Generations: 1, Age: time.Hour}, []int{29, 30}},
		"no age is no retention":         {every(10*time.Minute, 30), 0, Keep{Generations: 1, Age: -1}, []int{29, 30}},
		"off": {func(t *testing.T, r *timed) {
			every(10*time.Minute, 30)(t, r)
			r.set(t, Retention{})
		}, 2 * time.Hour, least, []int{29, 30, 31}},
		"as it is set": {func(t *testing.T, r *timed) {
			every(10*time.Minute, 30)(t, r)
			r.set(t, Retention{All: 20 * time.Minute, Hourly: 3 * time.Hour})
		}, 90 * time.Minute, least, []int{24, 29, 30, 31}},
		// 3, 4 and 5 are void. 3 was the first of its hour.
		"void ones do not stay": {func(t *testing.T, r *timed) {
			every(20*time.Minute, 5)(t, r) // 00:20 00:40 01:00 01:20 01:40
			r.goBack(t, 2)
			every(20*time.Minute, 5)(t, r) // 02:00 ... 03:20
		}, 5 * time.Hour, least, []int{1, 6, 7, 9, 10, 11}},
		// 2 and 3 were thinned out when a compactor woke and committed 2. It is the lowest of its hour, and takes the place of nobody.
		"one that came too late": {func(t *testing.T, r *timed) {
			every(20*time.Minute, 1)(t, r) // 00:20
			slept := r.drafted(t)
			every(15*time.Minute, 10)(t, r) // 00:35 00:50 01:05 ... 02:50
			for g := range cohort.Generation(2) {
				m, err := r.Read(g + 2)
				if err != nil {
					t.Fatal(err)
				}
				r.removeManifest(t, m.Generation)
				for _, d := range m.Files() {
					if err := durable.Remove(r.FS, r.Root.Data(d.Name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if _, err := r.finish(slept, false); err == nil {
				t.Fatal("a commit that is too late succeeds")
			}
			every(15*time.Minute, 3)(t, r) // 03:05 03:20 03:35
		}, 5 * time.Hour, least, []int{1, 4, 8, 12, 13, 14}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTimed(t)
			c.do(t, r)
			r.sweep(t, c.after, c.keep)
			if diff := cmp.Diff(c.want, r.numbers(t)); diff != "" {
				t.Errorf("generations that stay (-want +got):\n%s", diff)
			}
			r.complete(t, "")
		})
	}
}

// set commits a retention.
func (r *timed) set(t *testing.T, keeps Retention) Manifest {
	t.Helper()
	d := r.drafted(t)
	d.Retention = &keeps
	m, err := r.finish(d, true)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// complete wants that each manifest has its data files, and each data file a manifest.
func (r *timed) complete(t *testing.T, when string) {
	t.Helper()
	have, want := r.names(t), map[string]bool{}
	for _, g := range r.numbers(t) {
		m, err := r.Read(cohort.Generation(g))
		if err != nil {
			t.Fatal(when, err)
		}
		for _, d := range m.Files() {
			want[d.Name] = true
		}
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("%s: data files (-named +there):\n%s", when, diff)
	}
}

func (r *timed) names(t *testing.T) map[string]bool {
	t.Helper()
	entries, err := r.FS.ReadDir(r.Root.DataDir())
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, e := range entries {
		have[e.Name()] = true
	}
	return have
}

// obeys are the generations that the rule keeps, of commits at these times: written down here once more, and over all that ever were.
func obeys(all []Manifest, now time.Time, keeps Retention, keep Keep) (want []int) {
	at, second, newest := make([]time.Time, len(all)), 0, all[len(all)-1].Index.Name
	for i, m := range all {
		at[i] = m.At.Time()
		if m.Index.Name != newest {
			second = i // of the two whole ones that stay
		}
	}
	for i, made := range at {
		firstIn := func(period time.Duration) bool {
			return i == 0 || !at[i-1].Truncate(period).Equal(made.Truncate(period))
		}
		switch {
		case i >= second, i >= len(at)-keep.Generations, now.Sub(at[i+1]) <= keep.Age, // the minimum
			now.Sub(made) < keeps.All,
			firstIn(hour) && now.Sub(made.Truncate(hour)) < keeps.Hourly,
			firstIn(day) && now.Sub(made.Truncate(day)) < keeps.Daily:
			want = append(want, i+1)
		}
	}
	return want
}

// TestRetentionWheneverSwept: whatever the times of sweeps, what stays at the end obeys the rule, as if all had been swept once.
func TestRetentionWheneverSwept(t *testing.T) {
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 42))
	gaps := []time.Duration{time.Second, time.Minute, 10 * time.Minute, time.Hour, 7 * time.Hour, 2 * day}
	sometime := func() time.Duration {
		return time.Duration(1+rnd.Int64N(int64(gaps[rnd.IntN(len(gaps))]))).Truncate(time.Second) + time.Second
	}
	roots := 20
	if testing.Short() {
		roots = 5
	}
	for range roots {
		keeps := Retention{All: sometime(), Hourly: sometime() * 5, Daily: sometime() * 20}
		keep := Keep{Generations: 2 + rnd.IntN(3), Age: sometime() / 4}
		r := newTimed(t)
		all := []Manifest{r.commit(t, 0, false), r.set(t, keeps)}
		sweeps := 0
		for range 150 {
			all = append(all, r.commit(t, sometime(), rnd.IntN(4) == 0))
			if rnd.IntN(5) < 2 {
				r.sweep(t, 0, keep)
				sweeps++
				if diff := cmp.Diff(obeys(all, r.now, keeps, keep), r.numbers(t)); diff != "" {
					t.Fatalf("%+v, %+v: after %d commits and %d sweeps (-rule +there):\n%s", keeps, keep, len(all), sweeps, diff)
				}
				r.complete(t, "")
			}
			if rnd.IntN(10) == 0 {
				r.now = r.now.Add(sometime())
			}
		}
	}
}

// thinnedRoot is a root that a sweep thins: it removes some generations, and some stay as the first of their hour or day.
func thinnedRoot(t *testing.T) (r *timed, must []int) {
	t.Helper()
	r = newTimed(t)
	for i := range 12 {
		r.commit(t, 7*time.Hour/2, i%3 == 1)
	}
	for i := range 6 {
		r.commit(t, 20*time.Minute, i%3 == 1)
	}
	r.now = r.now.Add(3 * time.Hour)
	r.lock(t)
	var all []Manifest
	for _, g := range r.numbers(t) {
		m, err := r.Read(cohort.Generation(g))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return r, obeys(all, r.now, defaultRetention, least)
}

// TestThinningPowerLossAnywhere cuts the power before each change of the disk that a sweep makes, also after a run that was stopped
// there, and lets each fail: what the rule keeps is there with its data files, and the next sweep ends as the first would have.
func TestThinningPowerLossAnywhere(t *testing.T) {
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 43))
	crashes, places := 0, 0
	for k := 0; ; k++ {
		met := false
		for _, why := range []error{durabletest.ErrStopped, syscall.EIO, durabletest.AfterError{Err: syscall.EIO}} {
			r, must := thinnedRoot(t)
			r.on(&durabletest.Fault{FS: r.disk, Hook: func(n int, _, _ string) error {
				if n == k || n > k && why == durabletest.ErrStopped {
					met = true
					return why
				}
				return nil
			}})
			newest, err := r.Newest()
			if err != nil {
				t.Fatal(err)
			}
			r.Expire(newest, least)
			for _, mode := range durabletest.Modes() {
				states := 4
				if testing.Short() || !mode.Random() {
					states = 1
				}
				for range states {
					crashes++
					after := &timed{disk: r.disk.Crash(mode, rnd), now: r.now, free: r.free}
					after.on(after.disk)
					when := fmt.Sprintf("change %d: %v, then a power loss, %v", k, why, mode)
					after.holds(t, must, when)
					after.lock(t)
					after.sweep(t, 0, least)
					if diff := cmp.Diff(must, after.numbers(t)); diff != "" {
						t.Fatalf("%s: after the next sweep (-rule +there):\n%s", when, diff)
					}
					after.holds(t, must, when)
				}
			}
		}
		if !met {
			break
		}
		places++
	}
	if places < 10 {
		t.Errorf("a sweep changed the disk %d times", places)
	}
	t.Logf("figure: %d crash states of a sweep that thins, at %d places", crashes, places)
}

// holds wants that all that must stay is there, and that no manifest lacks a data file.
func (r *timed) holds(t *testing.T, must []int, when string) {
	t.Helper()
	there, have := r.numbers(t), r.names(t)
	for _, g := range must {
		if !slices.Contains(there, g) {
			t.Fatalf("%s: generation %d is gone: the rule keeps %v", when, g, must)
		}
	}
	for _, g := range there {
		m, err := r.Read(cohort.Generation(g))
		if err != nil {
			t.Fatal(when, err)
		}
		for _, d := range m.Files() {
			if !have[d.Name] {
				t.Fatalf("%s: generation %d lacks %s", when, g, d.Name)
			}
		}
	}
}

// TestForgetsNoRepair: the manifest of a repair says what is void. It does not go before that has gone for good, or a power loss could bring a
// void generation back as a whole one.
func TestForgetsNoRepair(t *testing.T) {
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 44))
	refused := 0
	for k := 0; ; k++ {
		stops := k%2 == 1 // all from one removal on fails, else one alone
		r := newTimed(t)
		for range 4 {
			r.commit(t, time.Minute, false)
		}
		r.goBack(t, 2)
		for range 4 { // by an older compactor: only the repair says what is void
			r.now = r.now.Add(time.Minute)
			d := r.drafted(t)
			d.Firsts = Firsts{}
			if _, err := r.finish(d, false); err != nil {
				t.Fatal(err)
			}
		}
		r.now = r.now.Add(100 * day)
		r.lock(t)
		n := 0
		r.on(&durabletest.Fault{FS: r.disk, Hook: func(_ int, op, name string) error {
			removes := op == "remove" && filepath.Dir(name) == r.Root.Manifests()
			if removes {
				n++
			}
			switch {
			case stops && n >= k/2 && k > 1:
				return durabletest.ErrStopped
			case !stops && removes && n == k/2:
				refused++
				return syscall.EACCES
			}
			return nil
		}})
		newest, err := r.Newest()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Expire(newest, least); err != nil {
			t.Fatal(err)
		}
		for _, mode := range durabletest.Modes() {
			for range 8 {
				after := &timed{disk: r.disk.Crash(mode, rnd), now: r.now}
				after.on(after.disk)
				for _, line := range after.lines(t) {
					if number, _, _ := strings.Cut(line, " "); (number == "3" || number == "4") && !strings.HasSuffix(line, " void") {
						t.Fatalf("removal %d refused, and all after it %v, %v: a void generation is whole again: %s", k/2, stops, mode, line)
					}
				}
			}
		}
		if k/2 > n {
			break
		}
	}
	if refused < 5 {
		t.Errorf("%d removals were refused", refused)
	}
}

// TestRemovalsSyncedOnce: a sync of manifests/ that fails is not asked again. A second one would report success for removals that the
// kernel has dropped, and then the data files would go that the manifests name which come back.
func TestRemovalsSyncedOnce(t *testing.T) {
	r := newTimed(t)
	for range 4 {
		r.commit(t, time.Minute, false)
	}
	r.goBack(t, 2)
	for range 4 {
		r.now = r.now.Add(time.Minute)
		d := r.drafted(t)
		d.Firsts = Firsts{}
		if _, err := r.finish(d, false); err != nil {
			t.Fatal(err)
		}
	}
	before, syncs := r.names(t), 0
	r.on(&durabletest.Fault{FS: r.disk, Hook: func(_ int, op, name string) error {
		if op == "syncdir" && name == r.Root.Manifests() {
			if syncs++; syncs == 1 {
				return syscall.EIO
			}
		}
		return nil
	}})
	r.sweep(t, 100*day, least)
	if diff := cmp.Diff(before, r.names(t)); syncs != 1 || diff != "" || !strings.Contains(strings.Join(r.told, "\n"), "sync manifests") {
		t.Errorf("%d syncs, told %q, data files (-before +after):\n%s", syncs, r.told, diff)
	}
}

// TestRoom: on a disk that is nearly full the oldest go that only retention keeps, and no more than needed. Each has two files.
func TestRoom(t *testing.T) {
	const each = 2 * sizeOfIndex
	all := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for name, c := range map[string]struct {
		same    []int // generations that change no row
		free    int64
		reserve int64
		keep    Keep
		want    []int
	}{
		"room":                                  {nil, 5000, 5000, least, all},
		"room for one less":                     {nil, 4999, 5000, least, all[1:]},
		"what two have":                         {nil, 5000 - each - 1, 5000, least, all[2:]},
		"never below the minimum":               {nil, 0, 1 << 40, least, all[7:]},
		"a shared file goes with its last name": {[]int{2, 3}, 4999, 5000, least, all[3:]},
		"somebody needs more":                   {nil, 5000, 5000, Keep{3, time.Hour, false, 5000 + each}, all[1:]},
		"by default, a twentieth, at most 4 GiB, and twice the newest": {nil, 4<<30 + 2*each, 0, least, all},
		"and less than that": {nil, 4<<30 + 2*each - 1, 0, least, all[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTimed(t)
			for i := range 10 {
				r.commit(t, 2*time.Hour, slices.Contains(c.same, i+1))
			}
			newest, err := r.Newest()
			if err != nil {
				t.Fatal(err)
			}
			keeps := defaultRetention
			keeps.Reserve = c.reserve
			newest.Retention = &keeps
			r.free = c.free
			r.lock(t)
			if _, err := r.Expire(newest, c.keep); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, r.numbers(t)); diff != "" {
				t.Errorf("generations that stay (-want +got):\n%s", diff)
			}
			r.complete(t, "")
			if thinned := len(c.want) < 10; thinned != strings.Contains(strings.Join(r.told, "\n"), "older generations go before their time") {
				t.Errorf("told %q", r.told)
			}
		})
	}
}

// TestRoomIsNotKnown: where the file system does not say what is free, nothing goes before its time, unless a write has found the disk full.
func TestRoomIsNotKnown(t *testing.T) {
	r := newTimed(t)
	for range 10 {
		r.commit(t, 2*time.Hour, false)
	}
	r.Free = func(string) (int64, error) { return 0, durable.ErrUnknown }
	r.sweep(t, 0, least)
	if got := r.numbers(t); len(got) != 10 {
		t.Errorf("generations %v stay: want all", got)
	}
	r.sweep(t, 0, Keep{Generations: 3, Age: time.Hour, Room: RoomFor(syscall.ENOSPC)})
	if got := r.numbers(t); !slices.Equal(got, []int{8, 9, 10}) {
		t.Errorf("generations %v stay after a write found no room: want the minimum", got)
	}
}

// unread is a file system on which one file cannot be read.
type unread struct {
	durable.FS
	name string
	err  error
}

func (u unread) Open(name string) (durable.ReadFile, error) {
	if name == u.name {
		return nil, u.err
	}
	return u.FS.Open(name)
}

// TestSweepKeepsWhatItCannotRead: an error of the disk says nothing about what a manifest says. Those before it are not void because of it.
func TestSweepKeepsWhatItCannotRead(t *testing.T) {
	r := newTimed(t)
	for range 10 {
		r.commit(t, 2*time.Hour, false)
	}
	r.on(unread{r.disk, r.Root.Manifest(4), syscall.EIO})
	r.sweep(t, 0, least)
	if got := r.numbers(t); len(got) != 10 {
		t.Errorf("generations %v stay: want all", got)
	}
	if !strings.Contains(strings.Join(r.told, "\n"), "not removed") {
		t.Errorf("told %q", r.told)
	}
	r.on(r.disk)
	if err := durable.Replace(r.FS, r.Root.Manifest(4), []byte("{}"), 0o444); err != nil {
		t.Fatal(err)
	}
	r.sweep(t, 0, least)
	if got := r.numbers(t); !slices.Equal(got, []int{1, 2, 3, 5, 6, 7, 8, 9, 10}) {
		t.Errorf("generations %v stay: want all but the damaged one", got)
	}
}
