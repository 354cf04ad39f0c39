package delta_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/view/delta"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

func write(t testing.TB, fsys durable.FS, name, data string) {
	t.Helper()
	if err := durable.Replace(fsys, filepath.Join(root.Delta(), filepath.FromSlash(name)), []byte(data), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestForeignCommits lets another program write versions: rows of its own, a removal of ours, a deletion vector, another schema. Nothing is
// published until the table is taken back, and then it holds our file alone.
func TestForeignCommits(t *testing.T) {
	for name, lines := range map[string]string{
		"append": `{"add":{"path":"part-0.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}`,
		"delete": `{"remove":{"path":"OURS","dataChange":true}}`,
		"vector": `{"remove":{"path":"OURS","dataChange":true}}` + "\n" +
			`{"add":{"path":"OURS","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"u","pathOrInlineDv":"x","sizeInBytes":1,"cardinality":1}}}`,
		"schema": `{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":[],"configuration":{}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			disk := published(t, 3)
			ours := glob(t, disk, ".", ".parquet")[2]
			write(t, disk, "_delta_log/00000000000000000003.json", `{"commitInfo":{"engineInfo":"other"}}`+"\n"+strings.ReplaceAll(lines, "OURS", ours)+"\n")
			if _, err := delta.Publish(store(t, disk)); !errors.Is(err, delta.ErrForeign) || !delta.IsWrong(err) {
				t.Fatalf("Publish: %v", err)
			}
			if got := wrong(t, disk); !strings.Contains(got, "another program") {
				t.Errorf("Check: %s", got)
			}
			if n, err := delta.Sweep(store(t, disk), 0); n != 0 || !errors.Is(err, delta.ErrForeign) {
				t.Errorf("Sweep: %d, %v", n, err)
			}
			done, err := delta.Reassert(store(t, disk))
			if err != nil || done.Version != 4 {
				t.Fatalf("Reassert: %+v, %v", done, err)
			}
			s := mustShow(t, disk, "taken back")
			if s.protocol != [2]int32{1, 2} || !strings.Contains(s.schema, "run_id") {
				t.Errorf("%+v", s)
			}
			if name == "vector" {
				data, err := durable.Read(disk, filepath.Join(root.Delta(), "_delta_log/00000000000000000004.json"), 1<<20)
				if err != nil || !strings.Contains(string(data), `"deletionVector":{"storageType":"u"`) {
					t.Errorf("the file is not removed with its deletion vector: %s, %v", data, err)
				}
			}
			if got := wrong(t, disk); got != "" {
				t.Errorf("Check: %s", got)
			}
			grow(t, disk, run(9))
			publish(t, disk)
			mustShow(t, disk, "one more")
		})
	}
}

// TestVacuumed takes the file of the newest version away.
func TestVacuumed(t *testing.T) {
	disk := published(t, 3)
	publish(t, disk)
	names := glob(t, disk, ".", ".parquet")
	if err := durable.Remove(disk, filepath.Join(root.Delta(), names[3])); err != nil {
		t.Fatal(err)
	}
	if _, err := delta.Publish(store(t, disk)); !errors.Is(err, delta.ErrGone) {
		t.Fatalf("Publish: %v", err)
	}
	if got := wrong(t, disk); !strings.Contains(got, "gone") {
		t.Errorf("Check: %s", got)
	}
	grow(t, disk) // a generation of the same rows cannot be shown, either
	if _, err := delta.Publish(store(t, disk)); !errors.Is(err, delta.ErrGone) {
		t.Fatalf("Publish: %v", err)
	}
	if _, err := delta.Reassert(store(t, disk)); err != nil {
		t.Fatal(err)
	}
	mustShow(t, disk, "linked again")
	// The file of an older version is no reason to stop.
	if err := durable.Remove(disk, filepath.Join(root.Delta(), names[0])); err != nil {
		t.Fatal(err)
	}
	grow(t, disk, run(5))
	publish(t, disk)
	if got := wrong(t, disk); got != "" {
		t.Errorf("Check: %s", got)
	}
}

// TestVacuumedBeforeCommit: a link is as old as what it shows, so a VACUUM may take it before a version names it.
func TestVacuumedBeforeCommit(t *testing.T) {
	disk := published(t, 1)
	fault := &durabletest.Fault{FS: disk, Hook: func(_ int, op, name string) error {
		if op == "link" && strings.HasSuffix(name, "1.json") {
			return disk.Remove(filepath.Join(root.Delta(), glob(t, disk, ".", ".parquet")[1]))
		}
		return nil
	}}
	publish(t, fault)
	mustShow(t, disk, "vacuumed before the commit")
}

// TestAhead: a root that was restored from a backup is older than its table.
func TestAhead(t *testing.T) {
	disk := published(t, 2)
	old := again(disk)
	publish(t, disk)
	if err := durable.RemoveAll(disk, root.Manifest(3)); err != nil {
		t.Fatal(err)
	}
	for _, try := range []func(*generation.Store) (delta.Done, error){delta.Publish, delta.Reassert} {
		if _, err := try(store(t, disk)); !errors.Is(err, delta.ErrAhead) {
			t.Errorf("%v", err)
		}
	}
	grow(t, disk, run(7)) // another generation 3
	if _, err := delta.Publish(store(t, disk)); !errors.Is(err, delta.ErrAhead) {
		t.Errorf("%v", err)
	}
	if err := delta.Drop(store(t, disk)); err != nil {
		t.Fatal(err)
	}
	publish(t, disk)
	mustShow(t, disk, "made anew")
	publish(t, old)
	mustShow(t, old, "not restored")
}

// share is a disk that other machines may change.
type share struct{ *durabletest.CrashFS }

func (share) Remote(string) bool { return true }

// TestShare: what a share does not show yet is not damage, until ten minutes have gone by.
func TestShare(t *testing.T) {
	base := published(t, 3)
	publish(t, base)
	for name, spoil := range map[string]func(*durabletest.CrashFS) error{
		"file": func(disk *durabletest.CrashFS) error {
			return disk.Remove(filepath.Join(root.Delta(), glob(t, disk, ".", ".parquet")[3]))
		},
		"manifest": func(disk *durabletest.CrashFS) error { return disk.Remove(root.Manifest(4)) },
	} {
		disk := again(base)
		if err := spoil(disk); err != nil {
			t.Fatal(err)
		}
		if _, err := delta.Publish(store(t, share{disk})); err == nil || delta.IsWrong(err) || !durable.IsAway(err) {
			t.Errorf("%s: Publish: %v", name, err)
		}
		if got := wrong(t, share{disk}); got != "" {
			t.Errorf("%s: Check: %s", name, got)
		}
		disk.Clock = func() time.Time { return time.Now().Add(11 * time.Minute) }
		if err := durable.Replace(disk, root.CompactLock(), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := delta.Publish(store(t, share{disk})); !delta.IsWrong(err) {
			t.Errorf("%s: Publish after ten minutes: %v", name, err)
		}
	}
}

// TestDropAnywhere stops Drop before each change. A reader finds the whole table or none, and the next call ends it.
func TestDropAnywhere(t *testing.T) {
	base := published(t, 11)
	for k := 0; ; k++ {
		disk := again(base)
		fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
		err := delta.Drop(store(t, fault))
		if _, werr := isWhole(t, disk, -1); werr != nil {
			t.Fatalf("change %d: %v", k, werr)
		}
		if k%2 == 0 {
			publish(t, disk)
			mustShow(t, disk, fmt.Sprintf("published after change %d of a drop", k))
		}
		if derr := delta.Drop(store(t, disk)); derr != nil {
			t.Fatal(derr)
		}
		if _, serr := disk.Stat(root.Delta()); !errors.Is(serr, fs.ErrNotExist) {
			t.Fatalf("change %d: it is still there", k)
		}
		if err == nil {
			break
		}
	}
}

// TestNames: column mapping comes with the first name that needs it, and stays; names that differ only by case are left out, and told.
func TestNames(t *testing.T) {
	disk := newDisk(t)
	grow(t, disk, `{"run_id":"a","stage":"TRAINING","metrics":{"x.y":1}}`)
	publish(t, disk)
	if s := mustShow(t, disk, "dots"); s.protocol != [2]int32{1, 2} {
		t.Errorf("protocol %v", s.protocol)
	}
	grow(t, disk, `{"run_id":"b","stage":"TRAINING","metrics":{"x.Y":1,"a b":2}}`)
	done := publish(t, disk)
	if !done.Mapped || !slices.Equal(done.LeftOut, []string{"metrics.x.Y"}) {
		t.Errorf("%+v", done)
	}
	s := mustShow(t, disk, "spaces")
	if s.protocol != [2]int32{2, 5} || s.config["delta.columnMapping.mode"] != "name" || s.config["delta.columnMapping.maxColumnId"] != "102" ||
		!strings.Contains(s.schema, `"delta.columnMapping.physicalName":"metrics.a b"`) || strings.Contains(s.schema, "x.Y") {
		t.Errorf("%+v", s)
	}
	cfg := compactor.Config{Root: root, FS: disk, Lock: noLock{}}
	if _, err := compactor.ChangeColumns(context.Background(), cfg, compactor.ColumnChange{Drop: []string{"metrics.a b"}}); err != nil {
		t.Fatal(err)
	}
	defer func() { // names that only Java takes for one: the micro sign and the letter mu, and two that have one capital
		grow(t, disk, `{"run_id":"c","stage":"TRAINING","metrics":{"t_\u00b5s":1,"t_\u03bcs":2,"\u0131":1,"i":2}}`)
		if done := publish(t, disk); !slices.Equal(done.LeftOut, []string{"metrics.x.Y", "metrics.t_\u03bcs", "metrics.i"}) {
			t.Errorf("%q are left out", done.LeftOut)
		}
	}()
	for n := range 10 {
		grow(t, disk, run(n))
		publish(t, disk)
	}
	if s := mustShow(t, disk, "by a checkpoint"); s.protocol != [2]int32{2, 5} || s.config["delta.columnMapping.mode"] != "name" {
		t.Errorf("%+v", s)
	}
}

// noLock is a lock that is always free.
type noLock struct{}

func (noLock) Lock(context.Context) (lock.Held, error) { return lock.Without{}, nil }

// TestTimeRises: the clock of the storage goes back, and the times of versions do not.
func TestTimeRises(t *testing.T) {
	disk := newDisk(t)
	now := time.Now()
	disk.Clock = func() time.Time { return now }
	for n := range 5 {
		now = now.Add(-time.Hour)
		grow(t, disk, run(n))
		publish(t, disk)
	}
	s := mustShow(t, disk, "clock went back")
	if !slices.IsSorted(s.times) || len(slices.Compact(s.times)) != 5 {
		t.Errorf("times: %v", s.times)
	}
}

// TestHint: a hint that is lost, or names a checkpoint that is not there, is written anew.
func TestHint(t *testing.T) {
	disk := published(t, 12)
	publish(t, disk)
	hint := filepath.Join(root.Delta(), "_delta_log", "_last_checkpoint")
	for _, spoil := range []func(){
		func() { durable.Remove(disk, hint) },
		func() { write(t, disk, "_delta_log/_last_checkpoint", `{"version":3,"size":1}`) },
		func() { write(t, disk, "_delta_log/_last_checkpoint", `{`) },
		func() {
			durable.Remove(disk, filepath.Join(root.Delta(), "_delta_log", "00000000000000000010.checkpoint.parquet"))
		},
	} {
		spoil()
		publish(t, disk)
		if got := wrong(t, disk); got != "" {
			t.Errorf("Check: %s", got)
		}
		var at struct{ Version int64 }
		data, err := durable.Read(disk, hint, 1000)
		if err == nil {
			err = json.Unmarshal(data, &at)
		}
		if _, serr := disk.Stat(filepath.Join(root.Delta(), "_delta_log", fmt.Sprintf("%020d.checkpoint.parquet", at.Version))); err != nil || serr != nil {
			t.Errorf("hint %s: %v, %v", data, err, serr)
		}
	}
}

// TestCutLog: the beginning of the log is gone, and no checkpoint has it. That is told, and the next publisher writes one.
func TestCutLog(t *testing.T) {
	disk := published(t, 4)
	publish(t, disk)
	for v := range 3 {
		if err := durable.Remove(disk, filepath.Join(root.Delta(), "_delta_log", fmt.Sprintf("%020d.json", v))); err != nil {
			t.Fatal(err)
		}
	}
	if got := wrong(t, disk); !strings.Contains(got, "the log begins with version 3") {
		t.Errorf("Check: %q", got)
	}
	publish(t, disk)
	if got := wrong(t, disk); got != "" {
		t.Errorf("Check: %s", got)
	}
	if cps := glob(t, disk, "_delta_log", ".checkpoint.parquet"); len(cps) != 1 {
		t.Errorf("checkpoints: %v", cps)
	}
	mustShow(t, disk, "mended")
}

// TestHole: a version in the middle is gone, and no checkpoint is above it. That is told, and the next publisher writes one, whether it has anything
// new or not. So with a checkpoint that is damaged: it is told, and written anew when it is gone.
func TestHole(t *testing.T) {
	for _, gone := range []int{0, 1, 2} {
		disk := published(t, 4)
		publish(t, disk)
		if err := durable.Remove(disk, filepath.Join(root.Delta(), "_delta_log", fmt.Sprintf("%020d.json", gone))); err != nil {
			t.Fatal(err)
		}
		if got := wrong(t, disk); !strings.Contains(got, "there is no checkpoint") {
			t.Errorf("Check: %q", got)
		}
		publish(t, disk)
		if got := wrong(t, disk); got != "" {
			t.Errorf("Check: %s", got)
		}
		mustShow(t, disk, "mended")
		cps := glob(t, disk, "_delta_log", ".checkpoint.parquet")
		if len(cps) != 1 {
			t.Fatalf("checkpoints: %v", cps)
		}
		name := filepath.Join(root.Delta(), "_delta_log", filepath.Base(cps[0]))
		data, err := durable.Read(disk, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := durable.Replace(disk, name, data[:len(data)/2], 0o644); err != nil {
			t.Fatal(err)
		}
		if got := wrong(t, disk); !strings.Contains(got, "it is damaged, and readers begin with it") {
			t.Errorf("Check: %q", got)
		}
		if err := durable.Remove(disk, name); err != nil {
			t.Fatal(err)
		}
		publish(t, disk)
		if got := wrong(t, disk); got != "" {
			t.Errorf("Check: %s", got)
		}
	}
}

// TestSweep keeps what generations and readers need.
func TestSweep(t *testing.T) {
	disk := newDisk(t)
	now := time.Now()
	disk.Clock = func() time.Time { return now }
	for n := range 35 {
		now = now.Add(time.Minute)
		grow(t, disk, run(n))
		publish(t, disk)
	}
	if n, err := delta.Sweep(store(t, disk), time.Hour); n != 0 || err != nil {
		t.Errorf("all generations are kept: %d, %v", n, err)
	}
	now = now.Add(2 * time.Hour) // checkpoints are old, and versions below them are needed
	if n, err := delta.Sweep(store(t, disk), 10*time.Minute); n != 0 || err != nil {
		t.Errorf("all generations are kept: %d, %v", n, err)
	}
	now = now.Add(-2 * time.Hour)
	for g := range 30 {
		if err := durable.Remove(disk, root.Manifest(generationNumber(g+1))); err != nil {
			t.Fatal(err)
		}
	}
	// The version of generation 31 came 4 minutes ago.
	if n, err := delta.Sweep(store(t, disk), 10*time.Minute); err != nil || n != 24+20+1 {
		t.Errorf("24 files, 20 versions and a checkpoint: %d, %v", n, err)
	}
	if files := glob(t, disk, ".", ".parquet"); len(files) != 11 {
		t.Errorf("%d files: %v", len(files), files)
	}
	for v := int64(24); v < 35; v++ {
		if _, err := isWhole(t, disk, v); err != nil {
			t.Errorf("version %d: %v", v, err)
		}
	}
	now = now.Add(time.Hour)
	grow(t, disk, run(99))
	publish(t, disk)
	if _, err := delta.Sweep(store(t, disk), 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	if files := glob(t, disk, ".", ".parquet"); len(files) != 6 {
		t.Errorf("%d files: %v", len(files), files)
	}
	// The checkpoint at 30 is the newest below the oldest version with a file.
	if logs := glob(t, disk, "_delta_log", ".json"); len(logs) != 6 || logs[0] != "00000000000000000030.json" {
		t.Errorf("log: %v", logs)
	}
	if cps := glob(t, disk, "_delta_log", ".checkpoint.parquet"); len(cps) != 1 {
		t.Errorf("checkpoints: %v", cps)
	}
	mustShow(t, disk, "swept")
	if got := wrong(t, disk); got != "" {
		t.Errorf("Check: %s", got)
	}
}

// TestSweepOfSharedFile: generations that change no row show the file of an earlier one, which stays as long as one of them is kept, and for the time of
// grace after the version that replaced it.
func TestSweepOfSharedFile(t *testing.T) {
	disk := newDisk(t)
	now := time.Now()
	disk.Clock = func() time.Time { return now }
	grow(t, disk, run(1))
	publish(t, disk)
	for range 4 {
		now = now.Add(time.Hour)
		grow(t, disk) // no row
		publish(t, disk)
	}
	now = now.Add(time.Hour)
	grow(t, disk, run(2))
	publish(t, disk)
	forget := func(from, to int) {
		for g := from; g <= to; g++ {
			if err := durable.Remove(disk, root.Manifest(generationNumber(g))); err != nil {
				t.Fatal(err)
			}
		}
	}
	sweeps := func(when string, want int) {
		t.Helper()
		if _, err := delta.Sweep(store(t, disk), time.Minute); err != nil {
			t.Fatal(err)
		}
		if files := glob(t, disk, ".", ".parquet"); len(files) != want {
			t.Errorf("%s: %v, want %d files", when, files, want)
		}
	}
	forget(1, 3)
	sweeps("generations 4 and 5 are kept", 2)
	for _, v := range []int64{3, 4} {
		if _, err := isWhole(t, disk, v); err != nil {
			t.Errorf("version %d: %v", v, err)
		}
	}
	forget(4, 5)
	sweeps("it was shown a moment ago", 2)
	now = now.Add(time.Hour)
	grow(t, disk, run(3))
	publish(t, disk)
	sweeps("nobody needs it", 2) // those of generations 6 and 7
	mustShow(t, disk, "swept")
}

// TestSweepAnywhere stops a sweep, and a purge, before each change. The newest version is whole at all times.
func TestSweepAnywhere(t *testing.T) {
	base := published(t, 23)
	publish(t, base)
	for g := range 20 {
		if err := durable.Remove(base, root.Manifest(generationNumber(g+1))); err != nil {
			t.Fatal(err)
		}
	}
	for name, do := range map[string]func(*generation.Store) error{
		"sweep": func(s *generation.Store) error { _, err := delta.Sweep(s, 0); return err },
		"purge": func(s *generation.Store) error { _, _, err := purge(s, 24); return err },
	} {
		for k := 0; ; k++ {
			disk := again(base)
			fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
			err := do(store(t, fault))
			mustShow(t, disk, fmt.Sprintf("%s stopped before change %d", name, k))
			if err := do(store(t, disk)); err != nil {
				t.Fatal(err)
			}
			mustShow(t, disk, "done again")
			want := 4 // generations 21 to 24
			if name == "purge" {
				want = 1
			}
			if files := glob(t, disk, ".", ".parquet"); len(files) != want {
				t.Fatalf("%s stopped before change %d: %v", name, k, files)
			}
			if fault.Calls() <= k {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
}

// TestPurge leaves the newest version alone, and none at all of a table that is behind.
// purge is Purge for somebody who has just looked.
func purge(s *generation.Store, since cohort.Generation) ([]string, []generation.Remains, error) {
	newest, err := s.Newest()
	if err != nil {
		return nil, nil, err
	}
	return delta.Purge(s, newest, since)
}

func TestPurge(t *testing.T) {
	disk := published(t, 4)
	if _, left, err := purge(store(t, disk), 5); err != nil || len(left) != 1 {
		t.Errorf("a table that is behind: %v, %v", left, err)
	}
	publish(t, disk)
	removed, left, err := purge(store(t, disk), 5)
	if err != nil || len(left) != 0 || len(removed) != 8 {
		t.Errorf("%v, %v, %v", removed, left, err)
	}
	mustShow(t, disk, "purged")
	grow(t, disk, run(9))
	publish(t, disk)
	mustShow(t, disk, "goes on")
	if got := wrong(t, disk); got != "" {
		t.Errorf("Check: %s", got)
	}
}

// TestNoLinks publishes copies where links are missing, and nothing that is torn stays.
func TestNoLinks(t *testing.T) {
	disk := newDisk(t)
	for n := range 12 {
		grow(t, disk, run(n))
		publish(t, &durabletest.Fault{FS: disk, Hook: func(_ int, op, _ string) error {
			if op == "link" {
				return syscall.EPERM
			}
			return nil
		}})
		mustShow(t, disk, "without links")
	}
	// A copy whose bytes change is found.
	name := glob(t, disk, ".", ".parquet")[11]
	data, err := durable.Read(disk, filepath.Join(root.Delta(), name), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	data[100] ^= 1
	write(t, disk, name, string(data))
	if got := wrong(t, disk); !strings.Contains(got, "its bytes are not those of generation") {
		t.Errorf("Check: %s", got)
	}
}

// TestOtherRoot: the table of another root, which was copied here, is not ours.
func TestOtherRoot(t *testing.T) {
	disk := published(t, 2)
	log := filepath.Join(root.Delta(), "_delta_log", "00000000000000000001.json")
	data, err := durable.Read(disk, log, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	id := store(t, disk).Settings.RootID
	write(t, disk, "_delta_log/00000000000000000001.json", strings.ReplaceAll(string(data), id, "01ARZ3NDEKTSV4RRFFQ69G5FAV"))
	if _, err := delta.Publish(store(t, disk)); !errors.Is(err, delta.ErrForeign) {
		t.Errorf("%v", err)
	}
	if err := durable.Remove(disk, filepath.Join(root.Delta(), "_delta_log", "00000000000000000000.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := delta.Reassert(store(t, disk)); !errors.Is(err, delta.ErrNotOurs) || !delta.IsWrong(err) {
		t.Errorf("without a version of ours: %v", err)
	}
}
