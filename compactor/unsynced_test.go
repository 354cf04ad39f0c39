package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// stepsOf are the changes of the disk that a writer made, one after the other, to play them on a disk in memory. Which calls these are,
// journal's TestSyscalls and TestSyscallsAhead say. acked is how many records are acknowledged once a step is done. With zeros, the first group
// is followed by some, over which the others are written, and they are cut off before the last, which is the seal.
func stepsOf(t *testing.T, root cohort.Root, s journal.Stream, groups [][]byte, zeros int) (steps []func(*durabletest.CrashFS) error, acked []int) {
	t.Helper()
	dir, segment := root.Stream(s.Cohort, s.ID), root.Segment(s.Cohort, s.ID)
	add := func(n int, do func(*durabletest.CrashFS) error) { steps, acked = append(steps, do), append(acked, n) }
	add(0, func(c *durabletest.CrashFS) error { return c.Mkdir(dir, 0o755) })
	add(0, func(c *durabletest.CrashFS) error {
		_, err := c.Create(segment, 0o644)
		return err
	})
	moved := func(c *durabletest.CrashFS) string { // the writer has it open, wherever a fold has moved it
		if _, err := c.Stat(segment); errors.Is(err, fs.ErrNotExist) {
			return cohort.SegmentIn(root.Reaped(s.Cohort, s.ID))
		}
		return segment
	}
	sync := func(c *durabletest.CrashFS) error {
		f, err := c.Open(moved(c))
		if err != nil {
			return err
		}
		return f.Sync()
	}
	size := 0
	for n, group := range groups {
		if zeros > 0 && n == len(groups)-1 {
			end := size
			add(n, func(c *durabletest.CrashFS) error { return c.Cut(moved(c), end) })
			add(n, sync)
		}
		for _, part := range [][]byte{group[:len(group)/2], group[len(group)/2:]} { // a reader may see a part of a write
			at := size
			add(n, func(c *durabletest.CrashFS) error { return c.Overwrite(moved(c), at, part) })
			size += len(part)
		}
		if zeros > 0 && n == 0 {
			end := size
			add(n, func(c *durabletest.CrashFS) error { return c.Overwrite(moved(c), end, make([]byte, zeros)) })
		}
		add(n, sync)
		for _, d := range []string{dir, filepath.Dir(dir), root.Cohorts(), string(root)} {
			if n == 0 {
				add(n, func(c *durabletest.CrashFS) error { return c.SyncDir(d) })
			}
		}
		acked[len(acked)-1] = n + 1
	}
	return steps, acked
}

// TestPowerLossBesideAppend cuts the power while a fold reads a stream whose writer has not synced it: after each step of the
// writer, before each change of the fold, and after up to two more steps of the writer. No record that was acknowledged is lost, and where
// none is, nobody says that one is.
func TestPowerLossBesideAppend(t *testing.T) {
	t.Parallel()
	t.Run("appended", func(t *testing.T) { powerLossBesideAppend(t, 0) })
	t.Run("over zeros", func(t *testing.T) { powerLossBesideAppend(t, 3000) })
}

func powerLossBesideAppend(t *testing.T, zeros int) {
	rnd := rand.New(rand.NewPCG(*seed, 27))
	t.Logf("-seed %d", *seed)
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	before := loaded(t, root)
	w := openWriter(t, root, "new") // its cohort is new, too
	var groups [][]byte
	size := 0
	group := func() {
		data, err := os.ReadFile(onlyStreamIn(t, root))
		if err != nil {
			t.Fatal(err)
		}
		groups, size = append(groups, data[size:]), len(data)
	}
	long := strings.Repeat("x", 1200) // over more than two sectors
	for _, line := range []string{`{"run_id":"n0","stage":"S","v":5}`, `{"run_id":"n1","stage":"S","v":6,"x":"` + long + `"}`} {
		appendLines(t, w, line)
		group()
	}
	id, path := listed(t, root)[0], onlyStreamIn(t, root)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	group()
	if !strings.HasPrefix(path, root.Cohorts()) {
		t.Fatalf("%s is not in its cohort", path)
	}
	steps, acked := stepsOf(t, root, id, groups, zeros)
	play := func(disk *durabletest.CrashFS, from, to int) {
		for _, do := range steps[from:to] {
			if err := do(disk); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := durable.MkdirWithin(before, string(root), filepath.Dir(root.Stream(id.Cohort, id.ID)), 0o755); err != nil {
		t.Fatal(err)
	}
	crashes := 0
	for done := 1; done <= len(steps); done++ {
		step := sparse
		if testing.Short() {
			step = 9
		}
		for k, whole := rnd.IntN(step), false; !whole; k += step {
			disk := before.Crash(durabletest.Mode{Names: durabletest.All, Data: durabletest.All}, nil)
			play(disk, 0, done)
			fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
			_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, FS: fault, Lock: yes{}})
			whole = err == nil && fault.Calls() <= k
			modes, last := durabletest.Modes(), min(done+2, len(steps))
			if !whole || sparse > 1 {
				modes, last = modes[rnd.IntN(len(modes)):][:1], done
			}
			for more := done; more <= last; more++ {
				if more > done {
					play(disk, more-1, more)
				}
				for _, mode := range modes {
					crashes++
					when := fmt.Sprintf("power lost after %d steps of the writer, %d changes of a fold, and %d more steps, %v", done, k, more-done, mode)
					reboot := disk.Crash(mode, rnd)
					if acked[more-1] == len(groups) { // the seal is no record
						noAlarm(t, reboot, root, 2, when)
					} else {
						noAlarm(t, reboot, root, acked[more-1], when)
					}
				}
			}
		}
	}
	t.Logf("figure: %d crash states of a fold beside a writer, at %d steps of it", crashes, len(steps))
}

// noAlarm wants that nobody sees damage on a disk, before and after folds, and that the acknowledged records stand in the index.
func noAlarm(t *testing.T, disk durable.FS, root cohort.Root, acked int, when string) {
	t.Helper()
	cfg := compactor.Config{Root: root, FS: disk, Lock: yes{}}
	for _, what := range []string{"check", "status", "runs", "fold", "replay"} {
		alarm, err := looks[what](cfg)
		if strings.HasSuffix(alarm, "compactd once publishes it\n") {
			alarm = "" // the power was lost between the commit and the publication, which is told, and says what to do
		}
		if alarm != "" || err != nil {
			t.Fatalf("%s: %s: alarm %q, %v", when, what, alarm, err)
		}
	}
	got := valuesOn(t, disk, root)
	for n := range acked {
		if key := fmt.Sprintf("n%d:S", n); got[key] == "" {
			t.Fatalf("%s: %s was acknowledged, and the index has %v", when, key, got)
		}
	}
}

// TestLostUnsynced: on a share the sync of a fold may do nothing. What a power loss of the server may take of a stream that was folded
// is no damage; a fold tells of it once, and goes on from the end of the stream. What it cannot take is damage as before.
func TestLostUnsynced(t *testing.T) {
	for name, test := range map[string]struct {
		lines  []string // of the stream, each with a fold
		sealed bool
		keep   func(ends []int64) int64 // -1: the segment goes; ends are those of the header with the first record, of the second, and of all
		told   int
		damage bool
	}{
		"the last record":           {firstLines, false, func(e []int64) int64 { return e[0] }, 1, false},
		"a part of the last record": {firstLines, false, func(e []int64) int64 { return e[0] + 3 }, 1, false},
		"all that one fold found":   {firstLines[:1], false, func([]int64) int64 { return 0 }, 1, false},
		"the last action":           {[]string{firstLines[0], `{"action":"withdraw","run_id":"a"}`}, false, func(e []int64) int64 { return e[0] }, 1, false},
		"its segment":               {firstLines[:1], false, func([]int64) int64 { return -1 }, 1, false},
		"its seal":                  {firstLines, true, func(e []int64) int64 { return e[1] }, 0, false},
		"what was synced before":    {firstLines, false, func(e []int64) int64 { return e[0] - 3 }, 0, true},
		"all of two folds":          {firstLines, false, func([]int64) int64 { return 0 }, 0, true},
		"more than the seal":        {firstLines, true, func(e []int64) int64 { return e[0] }, 0, true},
	} {
		lost := func(t *testing.T, ahead []byte) {
			root := newDamagedRoot(t)
			cfg := compactor.Config{Root: root, FS: &durabletest.Late{FS: durable.OS}}
			w := openWriter(t, root, "c")
			segment := ""
			var ends []int64
			end := func() {
				info, err := os.Stat(segment)
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, info.Size())
			}
			for _, line := range test.lines {
				appendLines(t, w, line)
				segment = onlyStream(t, root)
				end()
				foldNow(t, cfg)
			}
			if test.sealed {
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				end()
				foldNow(t, cfg)
				s := newestOn(t, root).Streams[0].Stream
				segment = cohort.SegmentIn(root.Reaped(s.Cohort, s.ID))
			}
			want := values(t, root)
			all, err := os.ReadFile(segment)
			if err != nil {
				t.Fatal(err)
			}
			if size := test.keep(ends); size < 0 {
				remove(t, segment)
			} else {
				change(t, segment, func(b []byte) []byte {
					if ahead == nil {
						return b[:size]
					}
					return slices.Concat(b[:size], make([]byte, int64(len(b))-size), ahead)
				})
			}
			alarms := func(when string, damage bool) {
				for _, what := range []string{"check", "status", "replay"} {
					alarm, err := looks[what](cfg)
					if (alarm != "") != damage && (what != "status" || !test.sealed) || err != nil && !durable.IsAway(err) && !errors.Is(err, errUnseen) {
						t.Errorf("%s, %s: alarm %q, %v; want damage %v", when, what, alarm, err, damage)
					}
				}
			}
			alarms("at once", false) // a cache may be stale
			aheadFrom(t, root, newestOn(t, root).Generation)
			later := time.Now().Add(2 * time.Hour) // the storage's time is that of the lock file
			if err := os.Chtimes(root.CompactLock(), later, later); err != nil {
				t.Fatal(err)
			}
			alarms("later", test.damage)
			if test.damage {
				return
			}
			said := &notices{}
			cfg.Notify = said.add
			for range 2 {
				foldNow(t, cfg)
				alarms("after a fold", false)
			}
			if got := strings.Count(said.text(), "a power loss took"); got != test.told {
				t.Errorf("told %d times, want %d: %s", got, test.told, said.text())
			}
			if got := values(t, root); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("rows %v, want %v", got, want)
			}
			if err := os.MkdirAll(filepath.Dir(segment), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(segment, all, 0o600); err != nil { // a client writes again what it had in memory
				t.Fatal(err)
			}
			cfg.KeepAge, cfg.KeepGenerations = -1, 1
			want["z:S"] = "9"
			for range 3 { // the generations that knew of the later end go
				appendTo(t, root, "other", `{"run_id":"z","stage":"S","v":9}`)
				foldNow(t, cfg)
				alarms("after the bytes came back", false)
			}
			if got := values(t, root); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("rows %v, want %v", got, want)
			}
		}
		t.Run(name, func(t *testing.T) { lost(t, nil) })
		t.Run(name+", zeros are there", func(t *testing.T) {
			if test.sealed {
				lost(t, []byte{}) // zeros never follow a seal, but its blocks may be lost
			} else if test.keep([]int64{0, 0}) >= 0 {
				lost(t, make([]byte, 5000))
			}
		})
	}
}

// TestSyncOfStreamFails: a fold that cannot make durable what it has read goes on, and its watermark says so. An error of the disk is told.
func TestSyncOfStreamFails(t *testing.T) {
	for _, test := range []struct {
		errno error
		op    string
		told  int
	}{{syscall.EIO, "syncread", 1}, {syscall.ENOSPC, "syncread", 1}, {syscall.EIO, "syncdir", 1}, {syscall.EINVAL, "syncread", 0}, {fs.ErrPermission, "syncread", 0}} {
		t.Run(fmt.Sprintf("%s %v", test.op, test.errno), func(t *testing.T) {
			root := newRoot(t)
			w := openWriter(t, root, "c")
			appendLines(t, w, firstLines...)
			s := listed(t, root)[0]
			failed := false
			said := &notices{}
			fault := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
				if op == test.op && !failed && strings.HasPrefix(name, root.Stream(s.Cohort, s.ID)) {
					failed = true
					return &fs.PathError{Op: "sync", Path: name, Err: test.errno}
				}
				return nil
			}}
			foldNow(t, compactor.Config{Root: root, FS: fault, Notify: said.add})
			if got := strings.Count(said.text(), "could not be made durable"); got != test.told || !failed {
				t.Errorf("told %d times, want %d: %s", got, test.told, said.text())
			}
			if m := newestOn(t, root).Streams[0]; m.Synced != 0 || m.Offset == 0 {
				t.Errorf("the watermark is %+v, want one that is not synced", m)
			}
			appendLines(t, w, secondLines...)
			foldNow(t, compactor.Config{Root: root})
			if m := newestOn(t, root).Streams[0]; m.Synced != m.Offset {
				t.Errorf("after the next fold the watermark is %+v, want one that is synced", m)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// unsyncing is a file system on which files that are open to read, and directories, are never synced.
type unsyncing struct{ durable.FS }

func (u unsyncing) Open(name string) (durable.ReadFile, error) {
	f, err := u.FS.Open(name)
	return unsyncingFile{f}, err
}

type unsyncingFile struct{ durable.ReadFile }

func (unsyncingFile) Sync() error { return nil }

// BenchmarkFoldOpenStreams is what it costs to make durable what is read of 400 streams whose writers go on.
func BenchmarkFoldOpenStreams(b *testing.B) {
	for name, fsys := range map[string]durable.FS{"synced": durable.OS, "not": unsyncing{durable.OS}} {
		b.Run(name, func(b *testing.B) {
			root := newDamagedRoot(b)
			writers := make([]*journal.Writer, 400)
			for i := range writers {
				writers[i] = openWriter(b, root, "c")
			}
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				for i, w := range writers {
					appendLines(b, w, fmt.Sprintf(`{"run_id":"r%d-%d","stage":"S","v":1}`, n, i))
				}
				b.StartTimer()
				foldNow(b, compactor.Config{Root: root, FS: fsys})
			}
		})
	}
}
