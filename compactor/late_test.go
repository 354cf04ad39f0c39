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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// errUnseen stands for what a result says of a storage that does not show everything: exit code 75.
var errUnseen = &durable.AwayError{Err: errors.New("not all was seen")}

func unseen(n int) error {
	if n == 0 {
		return nil
	}
	return errUnseen
}

// looks are the commands that look at a root. Each returns what it says that is an alarm: exit code 4, or a change that it made or
// would make because of what it saw. An error comes as it is, or is errUnseen.
var looks = map[string]func(cfg compactor.Config) (alarm string, err error){
	"fold": func(cfg compactor.Config) (string, error) {
		r, err := compactor.Fold(context.Background(), cfg)
		err = errors.Join(err, unseen(r.Unseen))
		if !r.Clean() {
			return fmt.Sprintf("%d damaged places, %d streams skipped", r.Damage, r.Skipped), err
		}
		return "", err
	},
	"check": func(cfg compactor.Config) (alarm string, err error) {
		done, err := audit.Check(context.Background(), cfg, func(p audit.Problem) {
			if p.Damage {
				alarm += p.String() + "\n"
			}
		})
		return alarm, errors.Join(err, unseen(done.Unseen))
	},
	"replay": func(cfg compactor.Config) (alarm string, err error) {
		done, err := audit.Replay(context.Background(), cfg, func(p audit.Problem) {
			if p.Damage {
				alarm += p.String() + "\n"
			}
		})
		return alarm, errors.Join(err, unseen(done.Unseen))
	},
	"status": func(cfg compactor.Config) (string, error) {
		s, err := audit.ReadStatus(context.Background(), cfg)
		if err == nil && !s.Seen() {
			err = errUnseen
		}
		if !s.Whole() {
			return fmt.Sprintf("%+v, %+v", s.Damaged, s.Cohorts), err
		}
		return "", err
	},
	"repair": func(cfg compactor.Config) (string, error) {
		r, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{Apply: true})
		err = errors.Join(err, unseen(len(r.Unseen)+r.Fold.Unseen))
		if len(r.Misfits) > 0 || len(r.Damaged) > 0 || err == nil && r.Newest != r.Good || !r.Fold.Clean() {
			return fmt.Sprintf("misfits %v, damaged %v, from %d to %d, fold %+v", r.Misfits, r.Damaged, r.Newest, r.Good, r.Fold), err
		}
		return "", err
	},
	"runs": func(cfg compactor.Config) (string, error) {
		for _, err := range compactor.Runs(context.Background(), cfg, true) {
			if err != nil {
				return "", err
			}
		}
		return "", nil
	},
}

// again tells whether an error is one after which the same command may be given again: exit code 75 or 3.
func again(err error) bool {
	return err == nil || durable.IsAway(err) && !generation.IsDamage(err) ||
		errors.Is(err, compactor.ErrLocked) || errors.Is(err, generation.ErrConflict)
}

// quarantined lists what stands below quarantine/.
func quarantined(t *testing.T, fsys durable.FS, root cohort.Root) (found []string) {
	t.Helper()
	entries, err := fsys.ReadDir(root.QuarantineDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		in, rerr := fsys.ReadDir(filepath.Join(root.QuarantineDir(), e.Name()))
		err = errors.Join(err, rerr)
		for _, f := range in {
			found = append(found, e.Name()+"/"+f.Name())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestLateStorage: machines whose names, listings, sizes, times and contents are late append, fold, check and repair one root, in
// any order. No record is lost or stands twice, nobody says that something is damaged, and repair moves nothing.
func TestLateStorage(t *testing.T) {
	t.Parallel()
	rounds := 400
	if testing.Short() || sparse > 1 {
		rounds = 120
	}
	rnd := rand.New(rand.NewPCG(*seed, 39))
	root := newRoot(t)
	names := []string{"check", "fold", "fold", "fold", "fold", "repair", "replay", "runs", "status"}
	var mu sync.Mutex // guards rnd within Old
	age := make([]int, 3)
	machines := make([]*durabletest.Late, len(age))
	for i := range machines {
		machines[i] = &durabletest.Late{FS: durable.OS, Old: func(string) bool {
			mu.Lock()
			defer mu.Unlock()
			return rnd.IntN(100) < age[i]
		}}
	}
	want, n := map[cohort.Key]bool{}, 0
	var open []*journal.Writer
	add := func(w *journal.Writer) {
		for range 1 + rnd.IntN(4) {
			n++
			appendLines(t, w, fmt.Sprintf(`{"run_id":"r%d","stage":"S"}`, n))
			want[cohort.Key(fmt.Sprintf("r%d:S", n))] = true
		}
	}
	waited := 0
	for round := range rounds {
		switch op := rnd.IntN(10); {
		case op < 2:
			w := openWriter(t, root, cohort.ID(fmt.Sprintf("c%d", rnd.IntN(3))))
			add(w)
			open = append(open, w)
		case op < 4 && len(open) > 0:
			add(open[rnd.IntN(len(open))])
		case op < 5 && len(open) > 0:
			i := rnd.IntN(len(open))
			if err := open[i].Close(); err != nil {
				t.Fatal(err)
			}
			open = slices.Delete(open, i, i+1)
		default:
			i := rnd.IntN(len(machines))
			age[i] = []int{0, 50, 90, 100}[rnd.IntN(4)]
			if rnd.IntN(4) == 0 {
				machines[i].Forget()
			}
			what := names[rnd.IntN(len(names))]
			said := &notices{}
			alarm, err := looks[what](compactor.Config{Root: root, FS: machines[i], KeepAge: -1, KeepGenerations: 2, Notify: said.add})
			for _, n := range said.list {
				switch n.(type) {
				case generation.NotOurs, compactor.DamagedBytes, compactor.SkippedStream:
					alarm += n.String()
				}
			}
			if alarm != "" || !again(err) {
				t.Fatalf("round %d, %s on machine %d, %d%% old: %v, alarm %s, notices %s", round, what, i, age[i], err, alarm, said.text())
			}
			if err != nil {
				waited++
			}
		}
	}
	t.Logf("figure: %d commands on storage that shows old states, %d of them to be given again", rounds, waited)
	for _, w := range open {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	foldNow(t, compactor.Config{Root: root})
	got := map[cohort.Key]bool{}
	for key := range rows(t, root) {
		got[cohort.Key(key)] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if q := quarantined(t, durable.OS, root); len(q) > 0 {
		t.Errorf("in quarantine: %v", q)
	}
}

// TestRunsOfASweptGeneration: a machine still sees an old generation as the newest, and all of it but one file, which another machine has swept: that is
// an old state, and no damage.
func TestRunsOfASweptGeneration(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"index-", "snapshots-"} {
		root, fresh := newRoot(t), ""
		machine := &durabletest.Late{FS: durable.OS, Old: func(name string) bool { return fresh == "" || !strings.HasPrefix(filepath.Base(name), fresh) }}
		here, there := compactor.Config{Root: root, FS: machine}, compactor.Config{Root: root, KeepAge: -1, KeepGenerations: 2}
		w := openWriter(t, root, "c")
		for n := range 4 {
			appendLines(t, w, fmt.Sprintf(`{"run_id":"r%d","stage":"S"}`, n))
			foldNow(t, there)
			if n > 0 {
				continue
			}
			if _, err := looks["runs"](here); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if swept, err := filepath.Glob(root.Data(file + "*001-*")); err != nil || len(swept) > 0 {
			t.Fatalf("%v, %v: the first generation was not swept", swept, err)
		}
		fresh = file
		if _, err := looks["runs"](here); !durable.IsAway(err) || generation.IsDamage(err) {
			t.Errorf("%s: %v, want a storage that shows an old state", file, err)
		}
	}
}

// TestAwayAnywhere: the storage goes away at each call of each command, for this call or for all after it: it is not connected, answers
// EIO after a time-out, has stale handles, or is not mounted any more. Nobody says that something is damaged, and nothing is moved.
func TestAwayAnywhere(t *testing.T) {
	t.Parallel()
	root := prepared(t)
	whole, injected := loaded(t, root), 0
	for what, look := range looks {
		for _, cause := range []error{syscall.ENOTCONN, syscall.EIO, syscall.ESTALE, syscall.ENOENT} {
			for _, once := range []bool{false, true} {
				if once && cause == syscall.ENOENT {
					continue // what the whole root says otherwise: TestReadFailsAnywhere
				}
				for k := 0; ; k++ {
					if k%sparse != 0 || testing.Short() && k%7 != 0 {
						continue
					}
					disk := afresh(whole)
					before := quarantined(t, disk, root)
					failed := ""
					var mu sync.Mutex
					late := &durabletest.Late{FS: disk, Hook: func(n int, name string) error {
						mu.Lock()
						defer mu.Unlock()
						if n < k || once && n > k {
							return nil
						}
						if failed == "" {
							failed = name
						}
						return cause
					}}
					alarm, err := look(compactor.Config{Root: root, FS: late, Lock: yes{}, KeepAge: -1, KeepGenerations: 1})
					if failed == "" {
						break
					}
					injected++
					when := fmt.Sprintf("%s, call %d on, once %v, %s: %v", what, k, once, failed, cause)
					unmounted := cause == syscall.ENOENT && errors.Is(err, journal.ErrNoRoot)
					if alarm != "" || !again(err) && !unmounted {
						t.Errorf("%s: %v, alarm %s", when, err, alarm)
					}
					if err == nil && !once && what != "repair" && what != "runs" {
						t.Errorf("%s: nobody was told", when)
					}
					if diff := cmp.Diff(before, quarantined(t, disk, root)); diff != "" {
						t.Errorf("%s: quarantine (-before +after):\n%s", when, diff)
					}
					if what == "fold" || what == "repair" {
						completesOn(t, disk, root, when)
					}
				}
			}
		}
	}
	t.Logf("figure: storage went away at %d calls", injected)
}

// TestShorterIsDamageLater: what is shorter than it was read before is waited for, for as long as a cache may be stale. After that it is
// damage on a share, too; and on a local disk it is damage at once.
func TestShorterIsDamageLater(t *testing.T) {
	for _, test := range []struct {
		name   string
		fsys   durable.FS
		later  bool
		damage bool
	}{
		{"a share", &durabletest.Late{FS: durable.OS}, false, false},
		{"a share, later", &durabletest.Late{FS: durable.OS}, true, true},
		{"a local disk", durable.OS, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := newDamagedRoot(t)
			w := openWriter(t, root, "c")
			appendLines(t, w, firstLines...)
			foldNow(t, compactor.Config{Root: root})
			if err := os.Truncate(onlyStream(t, root), 40); err != nil {
				t.Fatal(err)
			}
			if test.later {
				ahead(t, root)
			}
			for what, look := range looks {
				if what == "repair" {
					continue // it moves the stream, below
				}
				alarm, err := look(compactor.Config{Root: root, FS: test.fsys})
				if (alarm != "") != test.damage && what != "runs" || err != nil && !durable.IsAway(err) {
					t.Errorf("%s: alarm %q, %v; want damage %v", what, alarm, err, test.damage)
				}
			}
			r, err := audit.Repair(t.Context(), compactor.Config{Root: root, FS: test.fsys}, audit.RepairOptions{Apply: true})
			if moved := len(quarantined(t, durable.OS, root)) > 0; err != nil || moved != test.damage || len(r.Unseen) > 0 == test.damage {
				t.Errorf("repair moved it: %v, unseen %v, %v; want %v", moved, r.Unseen, err, test.damage)
			}
		})
	}
}

// TestCheckOfBackupWithoutSegment: a backup leaves out a stream that has no segment yet. Nothing of it was folded, so nothing of it is to be
// seen: on a share, too.
func TestCheckOfBackupWithoutSegment(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	segment := onlyStream(t, root)
	empty := filepath.Join(filepath.Dir(filepath.Dir(segment)), "01JE0000000000000000000000")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	foldNow(t, compactor.Config{Root: root})
	to := filepath.Join(t.TempDir(), "backup")
	if b, err := audit.Backup(t.Context(), compactor.Config{Root: root}, to); err != nil || !b.Whole() {
		t.Fatalf("Backup: %+v, %v", b, err)
	}
	for name, fsys := range map[string]durable.FS{"a share": &durabletest.Late{FS: durable.OS}, "a local disk": durable.OS} {
		if alarm, err := looks["check"](compactor.Config{Root: cohort.Root(to), FS: fsys}); alarm != "" || err != nil {
			t.Errorf("%s: alarm %q, %v", name, alarm, err)
		}
	}
}

// TestRepairOfUnpublished: a public file that is not the newest generation is waited for on a share, and needs a repair on a local disk.
func TestRepairOfUnpublished(t *testing.T) {
	for name, test := range map[string]struct {
		fsys   durable.FS
		damage bool
	}{
		"a share":      {&durabletest.Late{FS: durable.OS}, false},
		"a local disk": {durable.OS, true},
	} {
		t.Run(name, func(t *testing.T) {
			root := newRoot(t)
			cfg := compactor.Config{Root: root, FS: test.fsys}
			appendTo(t, root, "c", firstLines...)
			foldNow(t, cfg)
			if err := os.Remove(root.Index()); err != nil {
				t.Fatal(err)
			}
			r, err := audit.Repair(t.Context(), cfg, audit.RepairOptions{})
			if err != nil || r.Whole() == test.damage || r.Published || r.NotYet == test.damage || len(r.Unseen) > 0 == test.damage {
				t.Errorf("%+v, %v; want damage %v", r, err, test.damage)
			}
			if r, err = audit.Repair(t.Context(), cfg, audit.RepairOptions{Apply: true}); err != nil || !r.Published || r.NotYet {
				t.Errorf("applied: %+v, %v", r, err)
			}
		})
	}
}

// ahead sets the time of the newest manifest to what it is in an hour, as a storage would that has gone on for so long.
func ahead(t *testing.T, root cohort.Root) {
	t.Helper()
	aheadFrom(t, root, 1)
}

// aheadFrom is ahead where the newest manifest is another one.
func aheadFrom(t *testing.T, root cohort.Root, newest cohort.Generation) {
	t.Helper()
	path := root.Manifest(newest)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	later := info.ModTime().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
}
