package compactor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestDirSyncIsOptional: where directories cannot be synced, a fold keeps a public file of others in quarantine/, also one that is kept
// already, and a backup is made.
func TestDirSyncIsOptional(t *testing.T) {
	root := newRoot(t)
	w := openWriter(t, root, "c")
	appendLines(t, w, firstLines[0])
	foldNow(t, compactor.Config{Root: root})
	for _, errno := range []error{syscall.EINVAL, syscall.ENOTSUP, syscall.ENOSYS} {
		fault := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, _ string) error {
			if op == "syncdir" {
				return errno
			}
			return nil
		}}
		cfg := compactor.Config{Root: root, FS: fault}
		for range 2 {
			if err := errors.Join(os.Remove(root.Index()), os.WriteFile(root.Index(), []byte("of others"), 0o644)); err != nil {
				t.Fatal(err)
			}
			if report, err := compactor.Fold(context.Background(), cfg); err != nil || report.Damage != 1 {
				t.Errorf("%v: Fold = %d places, %v", errno, report.Damage, err)
			}
		}
		if _, err := audit.Backup(context.Background(), cfg, filepath.Join(t.TempDir(), "copy")); err != nil {
			t.Errorf("%v: Backup = %v", errno, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
