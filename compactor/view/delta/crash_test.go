package delta_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runfold/runfold/compactor/view/delta"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of what is random")

// published is a root whose table is n versions old and one generation behind, and whose next version writes a checkpoint if n is 10.
func published(t *testing.T, n int) *durabletest.CrashFS {
	t.Helper()
	disk := newDisk(t)
	for i := range n {
		grow(t, disk, run(i))
		publish(t, disk)
	}
	grow(t, disk, run(n))
	return disk
}

// again is a copy of a disk.
func again(disk *durabletest.CrashFS) *durabletest.CrashFS {
	return disk.Crash(durabletest.Mode{Names: durabletest.All, Data: durabletest.All}, nil)
}

// linkless makes every link fail, as where there are no hard links.
func linkless(hook func(n int, op, name string) error) func(n int, op, name string) error {
	return func(n int, op, name string) error {
		if err := hook(n, op, name); err != nil {
			return err
		}
		if op == "link" {
			return syscall.EPERM
		}
		return nil
	}
}

// TestPowerLossAnywhere stops a publisher before each change of the disk, with and without hard links, at the first version, at one in the
// middle and at one with a checkpoint, and cuts the power in every mode. What a reader finds is a whole version at all times, and the next
// publisher brings the table up to date.
func TestPowerLossAnywhere(t *testing.T) {
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 1))
	crashes := 0
	for _, n := range []int{0, 1, 10} {
		base := published(t, n)
		for _, links := range []bool{true, false} {
			for k := 0; ; k++ {
				disk := again(base)
				fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
				if !links {
					fault.Hook = linkless(fault.Hook)
				}
				_, err := delta.Publish(store(t, fault))
				when := fmt.Sprintf("%d versions, links: %v, stopped before change %d", n, links, k)
				if err == nil && fault.Calls() <= k {
					mustShow(t, disk, when)
					break
				}
				recovers(t, disk, links, when)
				for _, mode := range durabletest.Modes() {
					crashes++
					recovers(t, disk.Crash(mode, rnd), links, fmt.Sprintf("%s, %v", when, mode))
				}
			}
		}
	}
	t.Logf("figure: %d crash states of a publisher of a Delta table", crashes)
}

// recovers fails unless readers find a whole version now, and the newest generation after the next call of Publish. Where links are missing, a
// version that is not complete may be in the way of readers until then.
func recovers(t *testing.T, disk *durabletest.CrashFS, links bool, when string) {
	t.Helper()
	if _, err := isWhole(t, disk, -1); err != nil && links {
		t.Fatalf("%s: a reader finds: %v", when, err)
	}
	fault := &durabletest.Fault{FS: disk}
	if !links {
		fault.Hook = linkless(func(int, string, string) error { return nil })
	}
	_, err := delta.Publish(store(t, fault))
	if err != nil && !links && strings.Contains(err.Error(), "not complete") {
		later(t, disk)
		_, err = delta.Publish(store(t, fault))
	}
	if err != nil {
		t.Fatalf("%s: the next publisher: %v", when, err)
	}
	s := mustShow(t, disk, when)
	for v := range s.version {
		if _, err := isWhole(t, disk, v); err != nil {
			t.Fatalf("%s: version %d: %v", when, v, err)
		}
	}
	if got := wrong(t, disk); got != "" {
		t.Fatalf("%s: Check: %s", when, got)
	}
}

// later lets two minutes go by on a disk: a lock that is written shows the time.
func later(t *testing.T, disk *durabletest.CrashFS) {
	t.Helper()
	disk.Clock = func() time.Time { return time.Now().Add(2 * time.Minute) }
	if err := durable.Replace(disk, root.CompactLock(), nil, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestInterleaved stops a publisher before each of its changes, lets others publish two later generations, and lets it go on. The table never
// goes back, and nothing of the sleeper stays in it.
func TestInterleaved(t *testing.T) {
	for _, n := range []int{0, 1, 10} {
		base := published(t, n)
		for k := 0; ; k++ {
			disk := again(base)
			slept := false
			fault := &durabletest.Fault{FS: disk}
			fault.Hook = func(i int, _, _ string) error {
				if i == k {
					slept = true
					for range 2 {
						publish(t, disk)
						grow(t, disk, run(100+i))
						publish(t, disk)
					}
				}
				return nil
			}
			_, err := delta.Publish(store(t, fault))
			if err != nil {
				t.Fatalf("%d versions, slept before change %d: %v", n, k, err)
			}
			s := mustShow(t, disk, fmt.Sprintf("%d versions, slept before change %d", n, k))
			if !slices.IsSorted(s.times) {
				t.Errorf("times: %v", s.times)
			}
			if got := wrong(t, disk); got != "" {
				t.Errorf("slept before change %d: Check: %s", k, got)
			}
			if files := glob(t, disk, ".", ".parquet"); len(files) != int(s.version)+1 {
				t.Errorf("slept before change %d: %d files of %d versions", k, len(files), s.version+1)
			}
			if !slept {
				break
			}
		}
	}
}

// TestSleepsThroughSweeps lets a publisher sleep before its commit, until the versions around it are gone. Its version is void.
func TestSleepsThroughSweeps(t *testing.T) {
	for _, at := range []string{"create", "link"} { // before its temporary file is there, and after
		disk := published(t, 1)
		sleeper := &durabletest.Fault{FS: disk}
		asleep := true
		sleeper.Hook = func(_ int, op, name string) error {
			if asleep && op == at && strings.Contains(name, "00000001.json") {
				asleep = false
				for n := range 24 {
					grow(t, disk, run(50+n))
					publish(t, disk)
				}
				if _, _, err := purge(store(t, disk), 1); err != nil {
					t.Error(err)
				}
			}
			return nil
		}
		if _, err := delta.Publish(store(t, sleeper)); err != nil || asleep {
			t.Fatal(err, asleep)
		}
		if s := mustShow(t, disk, "after the sleep"); s.version != 24 {
			t.Errorf("version %d", s.version)
		}
		if names := glob(t, disk, "_delta_log", ".json"); len(names) != 1 {
			t.Errorf("versions: %v", names)
		}
		if names := glob(t, disk, ".", ".parquet"); len(names) != 1 {
			t.Errorf("files: %v", names)
		}
	}
}

// glob lists the files of the table with this end.
func glob(t testing.TB, fsys durable.FS, dir, end string) (names []string) {
	t.Helper()
	entries, err := fsys.ReadDir(filepath.Join(root.Delta(), dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), end) {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestDoubt lets each change happen and reports an error all the same. The version is made once, or the error is told and nothing is lost.
func TestDoubt(t *testing.T) {
	base := published(t, 10)
	for k := 0; ; k++ {
		disk := again(base)
		fault := &durabletest.Fault{FS: disk, Hook: func(n int, _, _ string) error {
			if n == k {
				return durabletest.AfterError{Err: syscall.EIO}
			}
			return nil
		}}
		_, err := delta.Publish(store(t, fault))
		if err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatalf("change %d: %v", k, err)
		}
		recovers(t, disk, true, fmt.Sprintf("change %d was done and failed", k))
		if s := mustShow(t, disk, "settled"); s.version != 10 {
			t.Errorf("change %d: version %d", k, s.version)
		}
		if fault.Calls() <= k {
			break
		}
	}
}

// TestLostAnswer: a link that was made and reports EEXIST, as a request that was sent twice, is a commit.
func TestLostAnswer(t *testing.T) {
	disk := published(t, 1)
	fault := &durabletest.Fault{FS: disk, Hook: func(_ int, op, name string) error {
		if op == "link" && strings.HasSuffix(name, "1.json") {
			return durabletest.AfterError{Err: syscall.EIO}
		}
		return nil
	}}
	if done, err := delta.Publish(store(t, fault)); err != nil || done.Version != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	mustShow(t, disk, "answer lost")
}

// TestSlowWriter stops a publisher for two minutes in the middle of its version, where hard links are missing. Another one takes the place of
// the version, and the first finds that it has lost.
func TestSlowWriter(t *testing.T) {
	disk := published(t, 10)
	stopped := false
	fault := &durabletest.Fault{FS: disk}
	fault.Hook = linkless(func(_ int, op, name string) error {
		if !stopped && op == "write" && strings.HasSuffix(name, "00000010.json") {
			stopped = true
			second := &durabletest.Fault{FS: disk, Hook: linkless(func(int, string, string) error { return nil })}
			if _, err := delta.Publish(store(t, second)); err == nil || !strings.Contains(err.Error(), "not complete") {
				t.Errorf("a version that is being written: %v", err)
			}
			later(t, disk)
			publish(t, second)
			mustShow(t, disk, "in the place of a version that was not complete")
		}
		return nil
	})
	publish(t, fault)
	if !stopped {
		t.Fatal("it was not stopped")
	}
	mustShow(t, disk, "the slow one has ended")
	if got := wrong(t, disk); got != "" {
		t.Errorf("Check: %s", got)
	}
	if files := glob(t, disk, ".", ".parquet"); len(files) != 11 {
		t.Errorf("%d files", len(files))
	}
}

// TestDirectoriesAreDurable: the names that lead to the log are on the disk before a version counts.
func TestDirectoriesAreDurable(t *testing.T) {
	disk := newDisk(t)
	grow(t, disk, run(1))
	publish(t, disk)
	reboot := disk.Crash(durabletest.Mode{}, nil)
	mustShow(t, reboot, "after a power loss")
}
