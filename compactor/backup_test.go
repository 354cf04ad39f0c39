package compactor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// backupOf is where a test backs a root up to.
func backupOf(root cohort.Root) cohort.Root {
	return cohort.Root(filepath.Join(filepath.Dir(string(root)), "backup"))
}

func backUp(t *testing.T, root cohort.Root) audit.BackedUp {
	t.Helper()
	out, err := audit.Backup(t.Context(), compactor.Config{Root: root}, string(backupOf(root)))
	if err != nil {
		t.Fatalf("Backup: %v", err)
	}
	return out
}

// holds restores a backup by another backup, folds what that brings, and compares the rows.
func holds(t *testing.T, fsys durable.FS, backup cohort.Root, want map[string]string, when string) {
	t.Helper()
	if got := damageOn(t, fsys, backup); got != "" {
		t.Fatalf("%s: check of the backup finds\n%s", when, got)
	}
	again := cohort.Root(string(backup) + ".restored")
	if _, err := audit.Backup(t.Context(), compactor.Config{Root: backup, FS: fsys}, string(again)); err != nil {
		t.Fatalf("%s: restore: %v", when, err)
	}
	if _, err := compactor.Fold(t.Context(), compactor.Config{Root: again, FS: fsys, Lock: yes{}}); err != nil {
		t.Fatalf("%s: fold of what was restored: %v", when, err)
	}
	if got := damageOn(t, fsys, again); got != "" {
		t.Fatalf("%s: check of what was restored finds\n%s", when, got)
	}
	if diff := cmp.Diff(want, valuesOn(t, fsys, again)); diff != "" {
		t.Fatalf("%s: rows (-want +got):\n%s", when, diff)
	}
}

// toBackUp is a root with something of everything: rows, a stream that is folded in part, a new one, one in reaped/ that was not
// folded to its end, and one in quarantine/.
func toBackUp(t *testing.T) cohort.Root {
	t.Helper()
	root, _ := toBackUpLive(t)
	return root
}

// toBackUpLive is toBackUp, and the writer of the stream that is folded in part.
func toBackUpLive(t *testing.T) (cohort.Root, *journal.Writer) {
	t.Helper()
	root := newDamagedRoot(t)
	appendTo(t, root, "d", `{"run_id":"q","stage":"S","v":1}`, `{"run_id":"q","stage":"S","v":6}`)
	flipEntry(t, root, 1)
	appendTo(t, root, "c", append(firstLines[:2:2], `{"run_id":"w","stage":"S","v":1}`, `{"action":"withdraw","run_id":"w"}`)...)
	w := openWriter(t, root, "c")
	t.Cleanup(func() { w.Close() })
	appendLines(t, w, `{"run_id":"b","stage":"S","v":0}`)
	foldNow(t, compactor.Config{Root: root})
	appendLines(t, w, secondLines[0], `{"action":"withdraw","run_id":"a"}`)
	reap := abandoned(t, root, "d", `{"run_id":"e","stage":"S","v":5}`)
	s, err := streamAt(filepath.Dir(reap))
	if err != nil {
		t.Fatal(err)
	}
	compactor.Reap(openRoot(t, root), []journal.Stream{s}, "the test says so", nil)
	appendTo(t, root, "c", secondLines[1])
	return root, w
}

var backedUpRows = map[string]string{"a:S": "out 1", "b:S": "2", "c:S": "2", "e:S": "5", "q:S": "6", "w:S": "out 1"}

// TestBackupIsARoot: a backup holds what is folded and what is not, works as a root, and shares no file with the root. A restore is one
// more backup.
func TestBackupIsARoot(t *testing.T) {
	root := toBackUp(t)
	before := contents(t, string(root))
	out := backUp(t, root)
	if out.Generation != 1 || out.Rows != 3 || out.Streams != 3 || out.Unfolded != 4 || !out.Whole() {
		t.Errorf("Backup = %+v: want generation 1, 3 rows, 3 streams with 4 unfolded records", out)
	}
	if diff := cmp.Diff(before, contents(t, string(root))); diff != "" {
		t.Errorf("the root changed (-before +after):\n%s", diff)
	}
	backup := backupOf(root)
	err := filepath.WalkDir(string(backup), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(string(backup), path)
		if err != nil {
			return err
		}
		copied, err := os.Stat(path)
		if err != nil {
			return err
		}
		if in, err := os.Stat(filepath.Join(string(root), rel)); err == nil && os.SameFile(in, copied) {
			t.Errorf("%s is a link to the file of the root", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if q, err := openRoot(t, backup).Quarantined(); err != nil || len(q) != 1 {
		t.Errorf("quarantine/ of the backup holds streams %v, %v: want the one of the root", q, err)
	}
	holds(t, durable.OS, backup, backedUpRows, "a backup")
}

// TestBackupOfYoungRoots: a root that was never folded, and one in which everything is folded.
func TestBackupOfYoungRoots(t *testing.T) {
	for name, make := range map[string]func(*testing.T) cohort.Root{
		"never folded": func(t *testing.T) cohort.Root {
			root := newRoot(t)
			appendTo(t, root, "c", firstLines[0])
			appendTo(t, root, "c", secondLines...)
			appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`)
			return root
		},
		"all folded": func(t *testing.T) cohort.Root {
			root := prepared(t)
			foldNow(t, compactor.Config{Root: root})
			return root
		},
		"snapshots per cohort": func(t *testing.T) cohort.Root {
			root := preparedIn(t, newCohortsRoot(t))
			foldNow(t, compactor.Config{Root: root})
			return root
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := make(t)
			backUp(t, root)
			holds(t, durable.OS, backupOf(root), bothRows, name)
			appendTo(t, backupOf(root)+".restored", "c", thirdLines...)
			foldNow(t, compactor.Config{Root: backupOf(root) + ".restored"})
		})
	}
}

// meddling is a file system that calls do before its k-th look at the disk, or before each one if k is -1. What do itself does goes
// past it.
type meddling struct {
	durable.FS
	k  int
	do func()
	mu *sync.Mutex // guards n
	n  *int
}

func (m meddling) look() {
	m.mu.Lock()
	*m.n++
	now := *m.n - 1
	m.mu.Unlock()
	if m.k < 0 || now == m.k {
		m.do()
	}
}

func (m meddling) Stat(name string) (fs.FileInfo, error) {
	m.look()
	return m.FS.Stat(name)
}

func (m meddling) ReadDir(name string) ([]fs.DirEntry, error) {
	m.look()
	return m.FS.ReadDir(name)
}

func (m meddling) Open(name string) (durable.ReadFile, error) {
	m.look()
	return m.FS.Open(name)
}

// growth is what a function appends to the only stream that it changes.
func growth(t *testing.T, root cohort.Root, do func()) (of journal.Stream, bytes []byte) {
	t.Helper()
	before := map[journal.Stream]int{}
	for _, s := range listed(t, root) {
		before[s] = len(readSegment(t, root, s))
	}
	do()
	for _, s := range listed(t, root) {
		if now := readSegment(t, root, s); len(now) != before[s] {
			return s, now[before[s]:]
		}
	}
	t.Fatal("no stream has grown")
	return of, nil
}

// TestBackupWhileOthersWork lets others append, fold, take live writers for dead and sweep all that they may, before each look at the
// disk that a backup makes, and before all of them. The backup holds what was acknowledged before it began, and is whole.
func TestBackupWhileOthersWork(t *testing.T) {
	base, w := toBackUpLive(t)
	saved := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if err := os.CopyFS(string(saved), os.DirFS(string(base))); err != nil {
		t.Fatal(err)
	}
	live, late := growth(t, base, func() { appendLines(t, w, `{"run_id":"newlate","stage":"S","v":9}`) })
	total := 0
	run := func(k int) (looks int) {
		root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
		if err := os.CopyFS(string(root), os.DirFS(string(saved))); err != nil {
			t.Fatal(err)
		}
		done := 0
		others := func() {
			if done++; done > 8 { // more is more of the same
				return
			}
			if segment := root.Segment(live.Cohort, live.ID); done == 1 {
				extend(t, segment, late)
			}
			cfg := keepFew(root, durable.OS)
			for range 3 { // as many generations as make all others superfluous
				appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"new%d","stage":"S","v":9}`, done))
				foldNow(t, cfg)
				cfg.DeadAfter, cfg.ReapGrace = -1, -1
			}
		}
		m := meddling{durable.OS, k, others, new(sync.Mutex), &looks}
		when := fmt.Sprintf("others at look %d", k)
		if _, err := audit.Backup(t.Context(), compactor.Config{Root: root, FS: m}, string(backupOf(root))); err != nil {
			t.Fatalf("%s: Backup: %v", when, err)
		}
		backup := backupOf(root)
		foldNow(t, compactor.Config{Root: backup})
		if got := damage(t, backup); got != "" {
			t.Fatalf("%s: check finds\n%s", when, got)
		}
		got := values(t, backup)
		for key := range got {
			if strings.HasPrefix(key, "new") {
				delete(got, key)
			}
		}
		if diff := cmp.Diff(backedUpRows, got); diff != "" {
			t.Fatalf("%s: rows (-want +got):\n%s", when, diff)
		}
		return looks
	}
	run(-1)
	step := 1
	if testing.Short() || sparse > 1 {
		step = 9
	}
	for k, looks := 0, 1; k < looks; k += step {
		looks = run(k)
		total++
	}
	t.Logf("figure: %d backups that met whole folds of others", total)
}

// TestBackupStoppedAnywhere ends a backup before each change of the disk, as a kill does, and cuts the power. Its name is not there, or
// it is a whole backup. The root is as it was.
func TestBackupStoppedAnywhere(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(*seed, 7))
	t.Logf("-seed %d", *seed)
	root := toBackUp(t)
	backup := backupOf(root)
	crashes, whole := 0, 0
	for k := 0; ; k++ {
		if k%sparse != 0 || testing.Short() && k%5 != 0 {
			continue
		}
		disk := loaded(t, root)
		before := fingerprint(t, disk, root)
		fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
		_, err := audit.Backup(t.Context(), compactor.Config{Root: root, FS: fault}, string(backup))
		if fingerprint(t, disk, root) != before {
			t.Fatalf("stopped before change %d: the root changed", k)
		}
		for _, mode := range durabletest.Modes() {
			draws := 1
			if mode.Random() {
				draws = max(12/sparse, 1)
			}
			for range draws {
				crashes++
				when := fmt.Sprintf("power lost before change %d, %v", k, mode)
				reboot := disk.Crash(mode, rnd)
				if _, serr := reboot.Stat(string(backup)); serr == nil {
					whole++
					holds(t, reboot, backup, backedUpRows, when)
				} else if err == nil {
					t.Fatalf("%s: the backup was made, and is gone: %v", when, serr)
				}
			}
		}
		if err == nil && fault.Calls() <= k {
			break
		}
	}
	t.Logf("figure: %d crash states of a backup, in %d of which it was there", crashes, whole)
}

// TestBackupFailsAnywhere lets each change of the disk fail in turn, and each look at it. A backup that fails leaves nothing; one
// that does not is whole.
func TestBackupFailsAnywhere(t *testing.T) {
	t.Parallel()
	root := toBackUp(t)
	faults := 0
	judge := func(t *testing.T, disk durable.FS, err error, when string) {
		t.Helper()
		faults++
		switch _, serr := disk.Stat(string(backupOf(root))); {
		case serr == nil:
			holds(t, disk, backupOf(root), backedUpRows, when)
		case err == nil:
			t.Fatalf("%s: Backup = nil, and there is none: %v", when, serr)
		}
	}
	for _, cause := range []error{syscall.EIO, durabletest.ShortWrite{Err: syscall.ENOSPC}, durabletest.AfterError{Err: syscall.EIO}} {
		for k := 0; ; k++ {
			if k%sparse != 0 || testing.Short() && k%5 != 0 {
				continue
			}
			disk, failed := loaded(t, root), ""
			fault := &durabletest.Fault{FS: disk, Hook: func(n int, op, name string) error {
				if n != k {
					return nil
				}
				failed = op + " " + name
				return cause
			}}
			_, err := audit.Backup(t.Context(), compactor.Config{Root: root, FS: fault}, string(backupOf(root)))
			if failed == "" {
				break
			}
			judge(t, disk, err, fmt.Sprintf("change %d, %s: %v", k, failed, cause))
			left, lerr := disk.ReadDir(filepath.Dir(string(root)))
			if lerr != nil {
				t.Fatal(lerr)
			}
			for _, e := range left {
				if durable.IsTemp(e.Name()) && err != nil && !strings.HasPrefix(failed, "remove ") && !strings.HasPrefix(failed, "mkdir ") {
					t.Errorf("change %d, %s: %v: %s is left", k, failed, cause, e.Name())
				}
			}
		}
	}
	for _, cause := range []error{syscall.EIO, syscall.ESTALE, syscall.ENOENT} {
		for k := 0; ; k++ {
			if k%sparse != 0 || testing.Short() && k%7 != 0 {
				continue
			}
			disk := loaded(t, root)
			n, failed := 0, ""
			_, err := audit.Backup(t.Context(), compactor.Config{Root: root, FS: deaf{disk, k, cause, new(sync.Mutex), &n, &failed}}, string(backupOf(root)))
			if failed == "" {
				break
			}
			if cause == syscall.ENOENT && strings.HasPrefix(failed, "readdir ") {
				continue // a listing that says so is believed, as everywhere
			}
			judge(t, disk, err, fmt.Sprintf("look %d, %s: %v", k, failed, cause))
		}
	}
	t.Logf("figure: %d faults injected into a backup", faults)
}

// TestBackupKeepsWhatIsDamaged: a hole in a live stream, what is valid behind it, and a stream of another root are copied as they
// are and told. Bytes at the end that are not an entry yet are not copied.
func TestBackupKeepsWhatIsDamaged(t *testing.T) {
	root := newDamagedRoot(t)
	holed := abandoned(t, root, "c", firstLines[0], `{"run_id":"lost","stage":"S","v":7}`, firstLines[1])
	flipEntryOf(t, holed, 2)
	extend(t, holed, []byte{3, 1, 4})
	other := newRoot(t)
	appendTo(t, other, "c", secondLines...)
	misfit := listed(t, other)[0]
	if err := os.CopyFS(root.Stream("c", misfit.ID), os.DirFS(other.Stream("c", misfit.ID))); err != nil {
		t.Fatal(err)
	}
	out := backUp(t, root)
	if out.Whole() || len(out.Problems) != 2 || out.Streams != 2 || out.Unfolded != 2 {
		t.Errorf("Backup = %+v: want two streams, two records and two problems", out)
	}
	backup := backupOf(root)
	for _, path := range []string{holed, root.Segment("c", misfit.ID)} {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		copied, err := os.ReadFile(filepath.Join(string(backup), root.Rel(path)))
		if err != nil || !bytes.Equal(bytes.TrimSuffix(source, []byte{3, 1, 4}), copied) {
			t.Errorf("%s: %d bytes were copied of %d, %v", root.Rel(path), len(copied), len(source), err)
		}
	}
}

// TestBackupRefuses: places and roots of which no backup can be made. Nothing is made or changed.
func TestBackupRefuses(t *testing.T) {
	root := prepared(t)
	foldNow(t, compactor.Config{Root: root})
	beside := filepath.Dir(string(root))
	link := filepath.Join(beside, "link")
	full := filepath.Join(beside, "full")
	for _, err := range []error{os.Symlink(string(root), link), os.Mkdir(full, 0o755), os.WriteFile(filepath.Join(full, "file"), nil, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, dir := range map[string]string{
		"the root":                    string(root),
		"below the root":              filepath.Join(string(root), "b"),
		"in data/":                    filepath.Join(root.DataDir(), "b"),
		"below the root, by a link":   filepath.Join(link, "b"),
		"below the root, by dots":     filepath.Join(string(root), "data") + "/../../runs/b",
		"a link to the root":          link,
		"a directory with files":      full,
		"a file":                      filepath.Join(full, "file"),
		"where no directory is above": filepath.Join(beside, "none", "b"),
	} {
		t.Run(name, func(t *testing.T) {
			before := contents(t, beside)
			if out, err := audit.Backup(t.Context(), compactor.Config{Root: root}, dir); err == nil {
				t.Errorf("Backup = %+v, want an error", out)
			}
			if diff := cmp.Diff(before, contents(t, beside)); diff != "" {
				t.Errorf("it changed (-before +after):\n%s", diff)
			}
		})
	}
	t.Run("damaged data", func(t *testing.T) {
		for _, what := range []string{"index", "snapshots"} {
			root := preparedIn(t, newDamagedRoot(t))
			foldNow(t, compactor.Config{Root: root})
			spoil(t, root, what, 2)
			_, err := audit.Backup(t.Context(), compactor.Config{Root: root}, string(backupOf(root)))
			if _, serr := os.Stat(string(backupOf(root))); !generation.IsDamage(err) || !errors.Is(serr, fs.ErrNotExist) {
				t.Errorf("%s: Backup = %v, and the backup: %v; want damage and none", what, err, serr)
			}
		}
	})
	t.Run("told to stop", func(t *testing.T) {
		before := contents(t, beside)
		ctx, cancel := context.WithCancel(t.Context())
		fsys := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, _ string) error {
			if op == "write" {
				cancel()
			}
			return nil
		}}
		if _, err := audit.Backup(ctx, compactor.Config{Root: root, FS: fsys}, string(backupOf(root))); !errors.Is(err, context.Canceled) {
			t.Errorf("Backup = %v, want that it was cancelled", err)
		}
		if diff := cmp.Diff(before, contents(t, beside)); diff != "" {
			t.Errorf("it changed (-before +after):\n%s", diff)
		}
	})
}

// TestBackupToEmptyDirectory: the directory keeps its mode, and is there as before if the backup fails.
func TestBackupToEmptyDirectory(t *testing.T) {
	root := prepared(t)
	dir := string(backupOf(root))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	before := contents(t, filepath.Dir(dir))
	full := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, _ string) error {
		if op == "write" {
			return syscall.ENOSPC
		}
		return nil
	}}
	if _, err := audit.Backup(t.Context(), compactor.Config{Root: root, FS: full}, dir); !durable.IsFull(err) {
		t.Errorf("Backup = %v, want a full disk", err)
	}
	if diff := cmp.Diff(before, contents(t, filepath.Dir(dir))); diff != "" {
		t.Errorf("it changed (-before +after):\n%s", diff)
	}
	backUp(t, root)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, %v: want that it had", info.Mode(), err)
	}
}

// TestBackupToOtherFileSystem needs a second file system.
func TestBackupToOtherFileSystem(t *testing.T) {
	root := prepared(t)
	dir, err := os.MkdirTemp("/dev/shm", "backup")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if _, err := audit.Backup(t.Context(), compactor.Config{Root: root}, filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	holds(t, durable.OS, cohort.Root(filepath.Join(dir, "b")), bothRows, "a backup elsewhere")
}

// TestCopyByHand copies a root with plain tools while others append, fold and sweep before each of the directories, in the order that
// docs/operations.md gives. A repair makes a root of the copy that holds what was acknowledged before the copy began.
func TestCopyByHand(t *testing.T) {
	base, w := toBackUpLive(t)
	saved := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if err := os.CopyFS(string(saved), os.DirFS(string(base))); err != nil {
		t.Fatal(err)
	}
	live, late := growth(t, base, func() { appendLines(t, w, `{"run_id":"newlate","stage":"S","v":9}`) })
	order := []string{"cohorts", "reaped", "manifests", "data", "quarantine"}
	for k := -1; k < len(order); k++ {
		root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
		if err := os.CopyFS(string(root), os.DirFS(string(saved))); err != nil {
			t.Fatal(err)
		}
		backup := backupOf(root)
		settings, err := os.ReadFile(root.Settings())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(string(backup), 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, backup.Settings(), settings)
		for i, dir := range order {
			if k < 0 || i == k {
				if segment := root.Segment(live.Cohort, live.ID); i == max(k, 0) {
					extend(t, segment, late)
				}
				for n := range 3 {
					appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"new%d-%d","stage":"S","v":9}`, i, n))
					foldNow(t, compactor.Config{Root: root, DeadAfter: -1, ReapGrace: -1})
				}
			}
			if _, err := os.Stat(filepath.Join(string(root), dir)); err != nil {
				continue
			}
			if err := os.CopyFS(filepath.Join(string(backup), dir), os.DirFS(filepath.Join(string(root), dir))); err != nil {
				t.Fatal(err)
			}
		}
		when := fmt.Sprintf("others before step %d", k)
		if err := repairOnce(compactor.Config{Root: backup}); err != nil {
			t.Fatalf("%s: Repair: %v", when, err)
		}
		got := values(t, backup)
		for key := range got {
			if strings.HasPrefix(key, "new") {
				delete(got, key)
			}
		}
		if diff := cmp.Diff(backedUpRows, got); diff != "" {
			t.Fatalf("%s: rows (-want +got):\n%s", when, diff)
		}
		if got := damage(t, backup); got != "" {
			t.Fatalf("%s: check finds\n%s", when, got)
		}
	}
}
