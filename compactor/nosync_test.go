package compactor_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestDoneStaysDoneOnShare does each thing to its end on a share that does not sync directories, and cuts the power of its server at once. The generation that
// was committed is there, and what is public shows it. On GlusterFS and SMB imports, changes of settings and erasures were gone that had ended with
// exit code 0 (R32).
func TestDoneStaysDoneOnShare(t *testing.T) {
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := s.prepare(t)
			disk := loaded(t, root)
			disk.Share = true
			cfg := compactor.Config{Root: root, FS: disk, Lock: yes{}, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1}
			if err := s.do(cfg); err != nil {
				t.Fatal(err)
			}
			reboot := disk.Crash(durabletest.Mode{Names: durabletest.None, Data: durabletest.None}, nil)
			done, err := newest(disk, root)
			if err != nil {
				t.Fatal(err)
			}
			if now, err := newest(reboot, root); err != nil || now.Generation != done.Generation {
				t.Errorf("after a power loss generation %d, %v is the newest; %d was committed", now.Generation, err, done.Generation)
			}
			if diff := cmp.Diff(valuesOn(t, disk, root), valuesOn(t, reboot, root)); diff != "" {
				t.Errorf("public rows after a power loss (-before +after):\n%s", diff)
			}
			if got := damageOn(t, reboot, root); got != damageOn(t, disk, root) {
				t.Errorf("after a power loss check finds\n%s", got)
			}
		})
	}
}

// TestSyncFilesAreSwept: what a sync on such a share leaves after a power loss is nobody's, and goes when it is old.
func TestSyncFilesAreSwept(t *testing.T) {
	root := newRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", firstLines...)
	foldNow(t, cfg)
	appendTo(t, root, "c", secondLines...)
	disk := loaded(t, root)
	disk.Share = true
	cfg = compactor.Config{Root: root, FS: disk, Lock: yes{}, KeepAge: -1}
	var left []string
	for _, dir := range []string{string(root), root.Cohorts(), root.Cohort("c"), root.Manifests(), root.DataDir()} {
		left = append(left, filepath.Join(dir, ".runfold-sync.0123456789abcdef.tmp"))
	}
	for _, name := range left {
		w, err := disk.Create(name, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	if found := checkOn(t, disk, root); len(found) > 0 {
		t.Errorf("check finds %v", found)
	}
	foldNow(t, cfg)
	for _, name := range left {
		if _, err := disk.Stat(name); err == nil {
			t.Errorf("%s is left", root.Rel(name))
		}
	}
}
