package compactor_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// TestRowsOfStreamsThatAreGone: an index of the next generation, without a manifest, is what a killed fold leaves, as long as the
// streams of its rows are there. If one is gone, that generation was committed.
func TestRowsOfStreamsThatAreGone(t *testing.T) {
	for _, gone := range []bool{false, true} {
		root := preparedIn(t, newDamagedRoot(t))
		foldNow(t, compactor.Config{Root: root})
		remove(t, root.Manifest(2))
		put(t, root.Index(), read(t, dataOf(root, 1)[0]))
		put(t, root.Snapshots(), read(t, dataOf(root, 1)[1]))
		if gone {
			for _, s := range listedOn(t, durable.OS, root, true) {
				if err := os.RemoveAll(root.Reaped(s.Cohort, s.ID)); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, err := compactor.Fold(context.Background(), compactor.Config{Root: root})
		var missing *generation.MissingError
		if errors.As(err, &missing) != gone || !gone && err != nil {
			t.Errorf("streams gone %v: Fold = %v", gone, err)
		}
		if found := damage(t, root); strings.Contains(found, "manifests are missing") != gone {
			t.Errorf("streams gone %v: check finds %q", gone, found)
		}
		if r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: true}); err != nil || !r.Lossless() {
			t.Errorf("streams gone %v: Repair = %+v, %v", gone, r, err)
		}
		if diff := cmp.Diff(bothRows, values(t, root)); diff != "" {
			t.Errorf("streams gone %v: rows (-want +got):\n%s", gone, diff)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestDataFilesGone: the data files of the newest generation are gone, the public files are whole. No command says that all is well.
func TestDataFilesGone(t *testing.T) {
	for i := range 2 {
		root := preparedIn(t, newDamagedRoot(t))
		foldNow(t, compactor.Config{Root: root})
		remove(t, dataOf(root, 2)[i])
		for name, do := range everything(compactor.Config{Root: root}) {
			err := do()
			if name != "Check" && name != "Repair" && name != "ReadStatus" && !generation.IsDamage(err) {
				t.Errorf("file %d: %s = %v, want damage", i, name, err)
			}
		}
		if status, err := audit.ReadStatus(t.Context(), compactor.Config{Root: root}); err != nil || status.Whole() {
			t.Errorf("file %d: ReadStatus = %+v, %v", i, status, err)
		}
		if damage(t, root) == "" {
			t.Errorf("file %d: check finds nothing", i)
		}
	}
}

// TestKeptIsKept: what was put aside is not replaced by what is put aside later, and not kept twice.
func TestKeptIsKept(t *testing.T) {
	root := preparedIn(t, newDamagedRoot(t))
	for _, text := range []string{"one", "two", "one"} {
		put(t, root.Index(), []byte(text))
		if report := foldNow(t, compactor.Config{Root: root}); report.Clean() {
			t.Errorf("%s: Fold = %+v, want damage", text, report)
		}
	}
	entries, err := os.ReadDir(root.DamagedGenerations())
	if err != nil || len(entries) != 2 {
		t.Errorf("quarantine has %v, %v; want both texts once", entries, err)
	}
	var texts []string
	for _, e := range entries {
		texts = append(texts, string(read(t, root.DamagedGenerations()+"/"+e.Name())))
	}
	if diff := cmp.Diff([]string{"one", "two"}, texts); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
}

// TestRepairDoubtsFiles: the newest manifest is damaged, and what is left of it says that the snapshots had another checksum. They
// look whole, but a value was changed: a repair does not take it.
func TestRepairDoubtsFiles(t *testing.T) {
	root := fourFolds(t, cohort.Settings{})
	overwrite(t, dataOf(root, 4)[1], func(b []byte) []byte { return bytes.Replace(b, []byte(`"v":4`), []byte(`"v":9`), 1) })
	change(t, root.Manifest(4), func(b []byte) []byte { return bytes.Replace(b, []byte(`"pid"`), []byte(`"pit"`), 1) })
	for _, path := range dataOf(root, 3) {
		remove(t, path)
	}
	r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: true})
	if err != nil || r.Rebuilt || r.Lossless() {
		t.Errorf("Repair = %+v, %v; want to go back, and say that rows are lost", r, err)
	}
	if bytes.Contains(read(t, root.Snapshots()), []byte(`"v":9`)) {
		t.Error("the changed value is published")
	}
}

// TestSweepAfterRepair: the files of generations whose manifests are missing are orphans once a repair has committed, and a sweep takes
// them out of data/. They are in quarantine/ then.
func TestSweepAfterRepair(t *testing.T) {
	root := fourFolds(t, cohort.Settings{})
	of := digestsOf(t, root)
	remove(t, root.Manifest(3))
	remove(t, root.Manifest(4))
	before := copiesIn(t, root, of)
	if _, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: true}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		appendTo(t, root, "c", `{"run_id":"e","stage":"S","v":5}`)
		foldNow(t, compactor.Config{Root: root, KeepAge: -1, KeepGenerations: 1})
	}
	if len(dataOf(root, 3))+len(dataOf(root, 4)) > 0 {
		t.Error("the sweep left the orphans: the test shows nothing")
	}
	after := copiesIn(t, root, of)
	for name := range before {
		if strings.Contains(name, "0003-") && !after[name] || strings.Contains(name, "0004-") && !after[name] {
			t.Errorf("no copy of %s is left", name)
		}
	}
}

// badSector is a file system that cannot read one file.
type badSector struct {
	durable.FS
	name string
}

func (b badSector) Open(name string) (durable.ReadFile, error) {
	file, err := b.FS.Open(name)
	if err == nil && name == b.name {
		return unread{file}, nil
	}
	return file, err
}

type unread struct{ durable.ReadFile }

func (unread) Read([]byte) (int, error)          { return 0, syscall.EIO }
func (unread) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

// TestPublicFileThatCannotBeRead: the public index is a copy, and the disk does not give its bytes. The data is whole, so readers and
// folds go on, and the file is replaced.
func TestPublicFileThatCannotBeRead(t *testing.T) {
	for _, name := range []string{"index.parquet", "snapshot_index.json"} {
		root := preparedIn(t, newDamagedRoot(t))
		foldNow(t, compactor.Config{Root: root})
		path := string(root) + "/" + name
		put(t, path, append([]byte(nil), read(t, path)...))
		cfg := compactor.Config{Root: root, FS: badSector{durable.OS, path}}
		for _, err := range compactor.Runs(t.Context(), cfg, true) {
			if err != nil {
				t.Errorf("%s: Runs = %v", name, err)
			}
		}
		if report := foldNow(t, cfg); report.Clean() {
			t.Errorf("%s: Fold = %+v, want damage", name, report)
		}
		if diff := cmp.Diff(bothRows, values(t, root)); diff != "" {
			t.Errorf("%s: rows (-want +got):\n%s", name, diff)
		}
		if got := damage(t, root); got != "" {
			t.Errorf("%s: check finds %s", name, got)
		}
	}
}
