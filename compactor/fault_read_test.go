package compactor_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// deaf is a file system whose k-th look at the disk fails, or shows an empty directory if cause is nil.
type deaf struct {
	durable.FS
	k     int
	cause error
	mu    *sync.Mutex // guards what follows: streams are read side by side
	n     *int
	said  *string // the call that failed
}

func (d deaf) ask(op, name string) (fail bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*d.n++
	if *d.n-1 == d.k {
		*d.said = op + " " + name
		return true
	}
	return false
}

func (d deaf) Stat(name string) (fs.FileInfo, error) {
	if d.cause != nil && d.ask("stat", name) {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: d.cause}
	}
	return d.FS.Stat(name)
}

func (d deaf) ReadDir(name string) ([]fs.DirEntry, error) {
	switch fail := d.ask("readdir", name); {
	case fail && d.cause == nil:
		return nil, nil
	case fail:
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: d.cause}
	}
	return d.FS.ReadDir(name)
}

func (d deaf) Open(name string) (durable.ReadFile, error) {
	if d.cause == nil {
		return d.FS.Open(name)
	}
	if d.ask("open", name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: d.cause}
	}
	f, err := d.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return deafFile{f, d, name}, nil
}

func (d deaf) OpenDir(name string) (durable.Dir, error) {
	if d.cause != nil && d.ask("open", name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: d.cause}
	}
	return d.FS.OpenDir(name)
}

type deafFile struct {
	durable.ReadFile
	d    deaf
	name string
}

func (f deafFile) Read(p []byte) (int, error) {
	if f.d.ask("read", f.name) {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: f.d.cause}
	}
	return f.ReadFile.Read(p)
}

func (f deafFile) ReadAt(p []byte, off int64) (int, error) {
	if f.d.ask("pread", f.name) {
		return 0, &fs.PathError{Op: "pread", Path: f.name, Err: f.d.cause}
	}
	return f.ReadFile.ReadAt(p, off)
}

// TestReadFailsAnywhere lets every look at the disk fail in turn: with an I/O error, with the error of a
// file handle that went stale, with "not found" although it is there, and with a listing that is empty
// because it is old. Nothing is lost or deleted by it, and an error is never silent.
func TestReadFailsAnywhere(t *testing.T) {
	t.Parallel()
	root := actedIn(t, newRoot(t))
	whole := loaded(t, root)
	for _, cause := range []error{syscall.EIO, syscall.ESTALE, syscall.ENOENT, nil} {
		for k := 0; ; k++ {
			if k%sparse != 0 || testing.Short() && k%9 != 0 {
				continue
			}
			disk := afresh(whole)
			n, failed := 0, ""
			said := &notices{}
			cfg := compactor.Config{Root: root, FS: deaf{disk, k, cause, new(sync.Mutex), &n, &failed}, Lock: yes{}, KeepAge: -1, KeepGenerations: 1, Notify: said.add}
			report, err := compactor.Fold(context.Background(), cfg)
			if failed == "" {
				t.Logf("figure: %d faults injected into looks at the disk (%v)", k, cause)
				break
			}
			when := fmt.Sprintf("look %d, %s: %v", k, failed, cause)
			isTold := err != nil || !report.Clean() || said.text() != ""
			if cause == syscall.EIO && !isTold && !cmp.Equal(actedRows, valuesOn(t, disk, root)) {
				t.Errorf("%s: records are missing and nobody was told", when)
			}
			completesWith(t, disk, root, actedRows, when)
		}
	}
}

// loaded is a root on a disk in memory.
func loaded(t *testing.T, root cohort.Root) *durabletest.CrashFS {
	t.Helper()
	disk := durabletest.New()
	if err := disk.Load(string(root)); err != nil {
		t.Fatal(err)
	}
	return disk
}

// afresh is a disk as this one is now, on which nothing is lost.
func afresh(disk *durabletest.CrashFS) *durabletest.CrashFS {
	return disk.Crash(durabletest.Mode{Names: durabletest.All, Data: durabletest.All}, nil)
}

// completesOn folds once more and compares: rows, no stream left over, nothing damaged.
func completesOn(t *testing.T, fsys durable.FS, root cohort.Root, when string) {
	t.Helper()
	completesWith(t, fsys, root, bothRows, when)
}

func completesWith(t *testing.T, fsys durable.FS, root cohort.Root, want map[string]string, when string) {
	t.Helper()
	foldNow(t, compactor.Config{Root: root, FS: fsys, Lock: yes{}, KeepAge: -1, KeepGenerations: 1})
	if diff := cmp.Diff(want, valuesOn(t, fsys, root)); diff != "" {
		t.Errorf("%s: rows after the next run (-want +got):\n%s", when, diff)
	}
	if left := listedOn(t, fsys, root, false); len(left) != 0 {
		t.Errorf("%s: streams %v are left", when, left)
	}
	if got := damageOn(t, fsys, root); got != "" {
		t.Errorf("%s: check finds\n%s", when, got)
	}
}

// broken is a file system on which every look at some paths fails.
type broken struct {
	durable.FS
	path  string
	cause error
}

func (b broken) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == b.path {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: b.cause}
	}
	return b.FS.ReadDir(name)
}

func (b broken) Open(name string) (durable.ReadFile, error) {
	if name == b.path {
		return nil, &fs.PathError{Op: "open", Path: name, Err: b.cause}
	}
	return b.FS.Open(name)
}

// TestUnreadableNeverStopsTheOthers folds around a stream or a cohort that nobody may read. The run says
// so and is not clean; the next one has everything.
func TestUnreadableNeverStopsTheOthers(t *testing.T) {
	for what, want := range map[string]string{
		"stream": "stream bad/ULID: not read to its end: ",
		"cohort": "not all streams could be listed: list cohort bad: ",
	} {
		t.Run(what, func(t *testing.T) {
			root := newRoot(t)
			appendTo(t, root, "bad", firstLines...)
			path := root.Cohort("bad")
			if what == "stream" {
				path = onlyStream(t, root)
			}
			appendTo(t, root, "good", secondLines[1])
			said := &notices{}
			report := foldNow(t, compactor.Config{Root: root, FS: broken{durable.OS, path, syscall.EACCES}, Notify: said.add})
			if report.Rows != 1 || report.Skipped != 1 || report.Clean() {
				t.Errorf("%d rows, %d skipped, clean %v; want 1, 1, false", report.Rows, report.Skipped, report.Clean())
			}
			if got := (&script{root: root}).mask(said.text()); !strings.HasPrefix(got, want) || !strings.Contains(got, "permission denied: the umask or the group of its writer") {
				t.Errorf("notices %q, want %q", got, want)
			}
			if s, err := audit.ReadStatus(context.Background(), compactor.Config{Root: root, FS: broken{durable.OS, path, syscall.EACCES}}); what == "stream" && (err != nil || s.Cohorts[0].Unreadable != 1) {
				t.Errorf("status %+v, %v: want one unreadable stream", s.Cohorts, err)
			}
			if report := foldNow(t, compactor.Config{Root: root}); report.Rows != 3 || !report.Clean() || streamsLeft(t, root) != 0 {
				t.Errorf("the next run: %d rows, clean %v, %d streams left; want 3, true, 0", report.Rows, report.Clean(), streamsLeft(t, root))
			}
		})
	}
}
