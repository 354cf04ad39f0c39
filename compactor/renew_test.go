package compactor_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
)

// aged is a root with something of everything, that nobody has used for ten days: two generations, a stream that is open, one in reaped/,
// and one in quarantine/.
func aged(t *testing.T) cohort.Root {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("files are made young on Linux only")
	}
	root := newDamagedRoot(t)
	appendTo(t, root, "q", firstLines[0], `{"run_id":"lost","stage":"S","v":7}`, firstLines[1])
	flipEntry(t, root, 2)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", secondLines...)
	appendLines(t, openWriter(t, root, "d"), `{"run_id":"d","stage":"S","v":4}`)
	foldNow(t, compactor.Config{Root: root})
	grow(t, root, 10*24*time.Hour)
	return root
}

// grow makes all files of a root older.
func grow(t *testing.T, root cohort.Root, by time.Duration) {
	t.Helper()
	walk(t, root, func(path string, _ fs.FileInfo) {
		then := time.Now().Add(-by)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	})
}

func walk(t *testing.T, root cohort.Root, do func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(string(root), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			do(path, info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// olderThan are the files of a root that nobody has used for so long.
func olderThan(t *testing.T, root cohort.Root, age time.Duration) (old []string) {
	t.Helper()
	walk(t, root, func(path string, info fs.FileInfo) {
		if time.Since(info.ModTime()) > age {
			old = append(old, root.Rel(path))
		}
	})
	return old
}

// TestFoldRenews folds a root of which a purge would take everything. Afterwards it would take nothing, although there was nothing to
// fold.
func TestFoldRenews(t *testing.T) {
	root := aged(t)
	before, err := os.ReadFile(root.Settings())
	if err != nil {
		t.Fatal(err)
	}
	report := foldNow(t, compactor.Config{Root: root, DeadAfter: time.Hour})
	if report.Commits != 0 {
		t.Fatalf("%+v: there was something to fold", report)
	}
	if old := olderThan(t, root, time.Hour); len(old) > 0 {
		t.Errorf("a purge would take %q", old)
	}
	after, err := os.ReadFile(root.Settings())
	if diff := cmp.Diff(before, after); diff != "" || err != nil {
		t.Errorf("runfold.json (-before +after), %v:\n%s", err, diff)
	}
}

// TestRenewOnceADay: while runfold.json is young, a fold looks at nothing else.
func TestRenewOnceADay(t *testing.T) {
	root := aged(t)
	yesterday := time.Now().Add(-23 * time.Hour)
	if err := os.Chtimes(root.Settings(), yesterday, yesterday); err != nil {
		t.Fatal(err)
	}
	foldNow(t, compactor.Config{Root: root})
	if old := olderThan(t, root, 9*24*time.Hour); len(old) < 8 {
		t.Errorf("only %q are as old as before", old)
	}
}

// TestRenewDoesNotKeep: a manifest whose time says how long the one before stays keeps its time, until the one before is gone.
func TestRenewDoesNotKeep(t *testing.T) {
	root := aged(t)
	noHistory(t, root) // the retention of a root goes by what manifests say, and not by the times of their files
	grow(t, root, 3*24*time.Hour)
	cfg := compactor.Config{Root: root, KeepGenerations: 1, KeepAge: 4 * 24 * time.Hour}
	foldNow(t, cfg)
	old := strings.Join(olderThan(t, root, time.Hour), " ")
	if !strings.Contains(old, "manifests/00000000000000000002.json") || strings.Contains(old, "runfold.json") {
		t.Errorf("files that are old: %q: want the manifests, and not runfold.json", old)
	}
	grow(t, root, 5*24*time.Hour)
	appendTo(t, root, "c", thirdLines...)
	foldNow(t, cfg)
	if gens, err := generations(durable.OS, root); err != nil || len(gens) != 2 || gens[0] != 3 {
		t.Errorf("generations %v, %v; want 3 and 4: the others were succeeded 5 days ago", gens, err)
	}
}

// unrenewable is a file system on which no file can be made young, as those of other users.
type unrenewable struct {
	durable.FS
	tried int
}

func (u *unrenewable) Touch(string) error {
	u.tried++
	return errors.New("operation not permitted")
}

// TestRenewFails: files that cannot be made young are no failure, and nothing is told.
func TestRenewFails(t *testing.T) {
	root := aged(t)
	fsys := &unrenewable{FS: durable.OS}
	var told []string
	report := foldNow(t, compactor.Config{Root: root, FS: fsys, Notify: func(n compactor.Notice) { told = append(told, n.String()) }})
	if !report.Clean() || len(told) > 0 || fsys.tried < 8 {
		t.Errorf("%+v; told %q; %d files were tried", report, told, fsys.tried)
	}
}

// TestRenewDamaged: a root whose newest manifest is damaged waits for a person, and is not purged meanwhile.
func TestRenewDamaged(t *testing.T) {
	root := aged(t)
	spoil(t, root, "manifest", 2)
	grow(t, root, 10*24*time.Hour)
	if err := foldOnce(compactor.Config{Root: root}); err == nil {
		t.Error("a fold on a damaged manifest succeeds")
	}
	if old := olderThan(t, root, time.Hour); len(old) > 0 {
		t.Errorf("a purge would take %q", old)
	}
}
