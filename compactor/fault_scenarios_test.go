package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// scenario is something that is done to a root, and may fail or end anywhere.
type scenario struct {
	prepare func(t *testing.T) cohort.Root
	do      func(compactor.Config) error
	want    map[string]string // key -> v, once it was done again to its end
	repairs bool              // goes back to an earlier generation, which must still be there
	kept    int               // what stands in quarantine then
	temps   bool              // it commits nothing, whose time would tell a sweep that a temporary file is old
}

func foldOnce(cfg compactor.Config) error {
	_, err := compactor.Fold(context.Background(), cfg)
	return err
}

var scenarios = map[string]scenario{
	"first fold": {
		prepare: func(t *testing.T) cohort.Root {
			root := newRoot(t)
			appendTo(t, root, "c", firstLines...)
			appendTo(t, root, "d", secondLines...)
			return root
		},
		do: foldOnce, want: bothRows,
	},
	"many batches": {
		prepare: func(t *testing.T) cohort.Root { return prepared(t) },
		do: func(cfg compactor.Config) error {
			cfg.BatchBytes = 1
			return foldOnce(cfg)
		},
		want: bothRows,
	},
	"actions": {
		prepare: func(t *testing.T) cohort.Root { return actedIn(t, newRoot(t)) },
		do:      foldOnce, want: actedRows,
	},
	"a live stream": {
		prepare: func(t *testing.T) cohort.Root {
			root := newRoot(t)
			w := openWriter(t, root, "c")
			t.Cleanup(func() { w.Close() })
			appendLines(t, w, firstLines...)
			foldNow(t, compactor.Config{Root: root})
			appendLines(t, w, secondLines...)
			return root
		},
		do: foldOnce, want: bothRows,
	},
	"snapshots per cohort": { // one file is touched, one made, one left alone; a key moves from one to another
		prepare: func(t *testing.T) cohort.Root {
			root := newCohortsRoot(t)
			appendTo(t, root, "c", firstLines...)
			appendTo(t, root, "d", `{"run_id":"alone","stage":"S","v":1}`, `{"run_id":"w","stage":"S","v":1}`, `{"action":"withdraw","run_id":"w"}`)
			foldNow(t, compactor.Config{Root: root})
			appendTo(t, root, "e", secondLines...)
			appendTo(t, root, "c", `{"action":"withdraw","run_id":"a"}`)
			return root
		},
		do: foldOnce, want: map[string]string{"a:S": "out 1", "b:S": "2", "c:S": "2", "alone:S": "1", "w:S": "out 1"},
	},
	"damage": {
		prepare: func(t *testing.T) cohort.Root {
			root := newDamagedRoot(t)
			appendTo(t, root, "c", firstLines[0], `{"run_id":"lost","stage":"S","v":7}`, firstLines[1])
			flipEntry(t, root, 2)
			appendTo(t, root, "d", secondLines...)
			return root
		},
		do: foldOnce, want: bothRows, kept: 2,
	},
	"dead writers": {
		prepare: deadWriters,
		do: func(cfg compactor.Config) error {
			cfg.BatchBytes = 1 // many commits: what one run reaps is deleted in it
			return foldOnce(cfg)
		},
		want: map[string]string{"a:S": "1", "b:S": "2", "c:S": "2", "w:S": "out 1"}, kept: 3,
	},
	"repair of a cohort": {prepare: func(t *testing.T) cohort.Root {
		root := actedIn(t, newRootWith(t, cohort.Settings{Snapshots: cohort.PerCohort}))
		foldNow(t, compactor.Config{Root: root})
		spoil(t, root, "withdrawn snapshots", 2)
		return root
	}, do: repairOnce, want: actedRows, repairs: true},
	"change of columns": {
		prepare: func(t *testing.T) cohort.Root {
			root := newCohortsRoot(t)
			appendTo(t, root, "d", `{"run_id":"alone","stage":"S","v":1,"w":7}`, `{"run_id":"w","stage":"S","v":1,"w":7}`, `{"action":"withdraw","run_id":"w"}`)
			return preparedIn(t, root)
		},
		do: func(cfg compactor.Config) error { return changeOnce(cfg, retype) }, want: map[string]string{"a:S": "1", "b:S": "2", "c:S": "2", "alone:S": "1", "w:S": "out 1"},
	},
	"repair of an index":     {prepare: spoiled("index"), do: repairOnce, want: bothRows, repairs: true},
	"repair of snapshots":    {prepare: spoiled("snapshots"), do: repairOnce, want: bothRows, repairs: true},
	"repair of the manifest": {prepare: spoiled("manifest"), do: repairOnce, want: bothRows, repairs: true},
	"repair of data files that are gone": {prepare: func(t *testing.T) cohort.Root {
		root := preparedIn(t, newDamagedRoot(t))
		foldNow(t, compactor.Config{Root: root})
		for _, path := range dataOf(root, 2) { // the public files are whole
			remove(t, path)
		}
		return root
	}, do: repairOnce, want: bothRows, temps: true},
	"repair of a manifest that is gone": {prepare: func(t *testing.T) cohort.Root {
		root := actedIn(t, newDamagedRoot(t))
		foldNow(t, compactor.Config{Root: root})
		remove(t, root.Manifest(2))
		return root
	}, do: repairOnce, want: actedRows, repairs: true},
	"repair with a backup": { // which lies in the root here, so that it is on the same disk
		prepare: func(t *testing.T) cohort.Root {
			root := newDamagedRoot(t)
			appendTo(t, root, "c", firstLines[0])
			foldNow(t, compactor.Config{Root: root})
			appendTo(t, root, "c", firstLines[1])
			backup := copyRoot(t, root, false)
			foldNow(t, compactor.Config{Root: root})
			appendTo(t, root, "c", secondLines...)
			foldNow(t, compactor.Config{Root: root})
			spoil(t, root, "index", 3)
			spoil(t, root, "snapshots", 2)
			if err := os.CopyFS(filepath.Join(string(root), "backup"), os.DirFS(string(backup))); err != nil {
				t.Fatal(err)
			}
			return root
		},
		do: func(cfg compactor.Config) error {
			r, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{Apply: true, From: filepath.Join(string(cfg.Root), "backup")})
			if err == nil && !r.Lossless() {
				err = fmt.Errorf("lost: %+v", r)
			}
			return err
		},
		want: bothRows, repairs: true,
	},
	"repair of an older generation": {prepare: func(t *testing.T) cohort.Root {
		root := preparedIn(t, newDamagedRoot(t))
		foldNow(t, compactor.Config{Root: root})
		spoil(t, root, "snapshots", 1)
		return root
	}, do: repairOnce, want: bothRows, temps: true},
	"repair of a public file": {prepare: func(t *testing.T) cohort.Root {
		root := preparedIn(t, newDamagedRoot(t))
		foldNow(t, compactor.Config{Root: root})
		put(t, root.Index(), []byte("garbage"))
		return root
	}, do: foldOnce, want: bothRows, temps: true},
	"import": {
		prepare: func(t *testing.T) cohort.Root {
			root := newRoot(t)
			appendTo(t, root, "c", firstLines...)
			appendTo(t, root, "old", `{"run_id":"w","stage":"S","v":1}`, `{"action":"withdraw","run_id":"w"}`, `{"action":"withdraw","run_id":"y"}`)
			foldNow(t, compactor.Config{Root: root})
			return root
		},
		do: func(cfg compactor.Config) error {
			const file = `{"x:S": {"snapshot_seq": 8, "v": 3}, "y:S": {"snapshot_seq": 9, "v": 3}, "a:S": {"snapshot_seq": 7, "v": 3}, "w:S": {"snapshot_seq": 6, "v": 3}}`
			_, err := intake.Import(context.Background(), cfg, intake.Source{Snapshots: []intake.SnapshotsFile{{Data: strings.NewReader(file)}}, Cohort: "old"})
			return err
		},
		want: map[string]string{"a:S": "1", "b:S": "1", "x:S": "3", "y:S": "out 3", "w:S": "out 1"},
	},
}

func repairOnce(cfg compactor.Config) error {
	_, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{Apply: true})
	return err
}

// deadWriters is a root with three streams that have no seal and will not get one: one in order, one that
// ends within an entry, one with an entry in its middle that is no longer valid; and with enough to fold. Two of them end with the zeros that
// their writers had put ahead.
func deadWriters(t *testing.T) cohort.Root {
	root := newDamagedRoot(t)
	extend(t, abandoned(t, root, "c", firstLines[0], `{"run_id":"w","stage":"S","v":1}`, `{"action":"withdraw","run_id":"w"}`), make([]byte, 64<<10))
	torn := abandoned(t, root, "c", firstLines[1], `{"run_id":"lost","stage":"S","v":7}`)
	change(t, torn, func(b []byte) []byte { return append(b[:len(b)-9], make([]byte, 300)...) })
	holed := abandoned(t, root, "d", secondLines[0], `{"run_id":"lost","stage":"S","v":7}`, secondLines[1])
	flipEntryOf(t, holed, 2)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "d", secondLines...)
	return root
}

// abandoned makes a stream without a seal and returns its segment.
func abandoned(t *testing.T, root cohort.Root, id cohort.ID, lines ...string) string {
	t.Helper()
	before := map[journal.Stream]bool{}
	for _, s := range listed(t, root) {
		before[s] = true
	}
	w := openWriter(t, root, id)
	t.Cleanup(func() { w.Close() })
	appendLines(t, w, lines...)
	for _, s := range listed(t, root) {
		if !before[s] {
			return root.Segment(s.Cohort, s.ID)
		}
	}
	t.Fatal("the writer made no stream")
	return ""
}

// flipEntry damages the n-th entry of the only stream; the header is 0.
func flipEntry(t *testing.T, root cohort.Root, n uint64) {
	t.Helper()
	flipEntryOf(t, onlyStream(t, root), n)
}

func flipEntryOf(t *testing.T, path string, n uint64) {
	t.Helper()
	s, err := streamAt(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range journal.Entries(path, s) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq == n+1 {
			change(t, path, flip(int(e.Offset)+30))
			return
		}
	}
	t.Fatalf("%s has no entry %d", path, n)
}

// TestScenariosFailAnywhere lets each change of the disk fail in turn, before or after it happened, and
// cuts the power there in two of all ways. Done again it ends as if nothing had been.
func TestScenariosFailAnywhere(t *testing.T) {
	t.Logf("-seed %d", *seed)
	modes := durabletest.Modes()
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(*seed, 4))
			root := s.prepare(t)
			whole := loaded(t, root)
			faults, crashes := 0, 0
			for k := 0; ; k++ {
				if k%sparse != 0 || testing.Short() && k%13 != 0 {
					continue
				}
				ended := s.failAt(t, whole, root, k)
				disk := afresh(whole)
				fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
				err := s.do(compactor.Config{Root: root, FS: fault, Lock: yes{}, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1})
				if ended && err == nil && fault.Calls() <= k {
					t.Logf("figure: %d faults injected and %d crash states in %q", faults, crashes, name)
					return
				}
				faults += len(faultKinds)
				for range 2 {
					crashes++
					mode := modes[rnd.IntN(len(modes))]
					when, reboot := fmt.Sprintf("power lost before change %d, %v", k, mode), disk.Crash(mode, rnd)
					s.again(t, reboot, root, when)
					if !s.temps {
						noTemp(t, reboot, root, when)
					}
				}
			}
		})
	}
}

var faultKinds = []error{
	syscall.EIO, syscall.EINTR, durabletest.ShortWrite{Err: syscall.ENOSPC}, durabletest.AfterError{Err: syscall.EIO},
	durabletest.AfterError{Err: syscall.ESTALE}, // the server had done it
	durabletest.AfterError{Err: fs.ErrExist},    // a request that was sent twice
}

// failAt lets the k-th change fail in several ways. It reports whether there was no k-th change.
func (s scenario) failAt(t *testing.T, whole *durabletest.CrashFS, root cohort.Root, k int) (ended bool) {
	t.Helper()
	for _, cause := range faultKinds {
		disk := afresh(whole)
		fault := &durabletest.Fault{FS: disk, Hook: func(n int, op, _ string) error {
			if late := (durabletest.AfterError{}); n != k || errors.As(cause, &late) && late.Err == fs.ErrExist && op != "link" {
				return nil
			}
			return cause
		}}
		s.do(compactor.Config{Root: root, FS: fault, Lock: yes{}, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1}) // it may fail or not
		when := fmt.Sprintf("change %d: %v", k, cause)
		s.again(t, disk, root, when)
		if !s.temps {
			noTemp(t, disk, root, when)
		}
		ended = fault.Calls() <= k
	}
	return ended
}

// again does it once more, to its end, and compares.
func (s scenario) again(t *testing.T, disk durable.FS, root cohort.Root, when string) {
	t.Helper()
	cfg := compactor.Config{Root: root, FS: disk, Lock: yes{}, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1}
	if err := s.do(cfg); err != nil {
		t.Fatalf("%s: done again: %v", when, err)
	}
	if err := foldOnce(cfg); err != nil {
		t.Fatalf("%s: a fold after it: %v", when, err)
	}
	if diff := cmp.Diff(s.want, valuesOn(t, disk, root)); diff != "" {
		t.Fatalf("%s: rows (-want +got):\n%s", when, diff)
	}
	if got := damageOn(t, disk, root); got != "" {
		t.Fatalf("%s: check finds\n%s", when, got)
	}
	now, err := newest(disk, root)
	if err != nil {
		t.Fatal(err)
	}
	type state struct {
		read    bool
		damaged int
	}
	done := map[journal.Stream]state{}
	for _, m := range now.Streams {
		done[m.Stream] = state{read: m.Sealed || m.Reaped != 0}
		if m.Damaged {
			done[m.Stream] = state{true, 1}
		}
	}
	damaged := 0 // in reaped/, on their way to quarantine/
	for _, r := range listedOn(t, disk, root, true) {
		damaged += done[r].damaged
		if !done[r].read {
			t.Errorf("%s: %v is in reaped/, and the newest generation has not read it to its end", when, r)
		}
	}
	if status, err := audit.ReadStatus(context.Background(), cfg); err != nil || status.Quarantine+damaged != s.kept {
		t.Errorf("%s: %d places and streams in quarantine and %d on their way, %v; want %d", when, status.Quarantine, damaged, err, s.kept)
	}
}

// noTemp wants that no temporary file is left.
func noTemp(t *testing.T, disk durable.FS, root cohort.Root, when string) {
	t.Helper()
	for _, dir := range []string{root.DataDir(), root.Manifests(), string(root), root.Quarantine("c"), root.Quarantine("d"), root.DamagedGenerations()} {
		entries, err := disk.ReadDir(dir)
		for _, e := range entries {
			if durable.IsTemp(e.Name()) {
				t.Errorf("%s: %s is left, %v", when, e.Name(), err)
			}
		}
	}
}
