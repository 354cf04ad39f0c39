package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/lock/file"
	"github.com/runfold/runfold/internal/durable"
)

func TestLockNamesTheHolder(t *testing.T) {
	l := file.Lock{Path: filepath.Join(t.TempDir(), "compact.lock")}
	held, err := l.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Lock(context.Background())
	if !errors.Is(err, compactor.ErrLocked) || !strings.Contains(err.Error(), "held by host ") || !strings.Contains(err.Error(), "pid ") {
		t.Errorf("Lock of a held lock = %v, want ErrLocked with the holder", err)
	}
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	held, err = l.Lock(context.Background())
	if err != nil {
		t.Fatalf("Lock after unlock: %v", err)
	}
	if err := held.Unlock(); err != nil {
		t.Error(err)
	}
}

// TestLockWaits shows that a waiting compactor gets the lock when its holder ends.
func TestLockWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "compact.lock")
	held, err := file.Lock{Path: path}.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		held, err := file.Lock{Path: path, Wait: time.Hour}.Lock(context.Background())
		if err == nil {
			err = held.Unlock()
		}
		got <- err
	}()
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("the waiting Lock: %v", err)
	}
}

func TestLockEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "compact.lock")
	held, err := durable.TryLock(path, "host h\n", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = file.Lock{Path: path, Wait: time.Hour}.Lock(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Lock with an ended context = %v, want context.Canceled", err)
	}
}

// TestFoldWithoutLock puts a directory in the place of the lock file, so nobody can open that. A fold goes on and tells it.
func TestFoldWithoutLock(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	if err := os.Mkdir(root.CompactLock(), 0o755); err != nil {
		t.Fatal(err)
	}
	said := &notices{}
	if report := foldNow(t, compactor.Config{Root: root, Notify: said.add}); report.Rows != 2 {
		t.Errorf("%d rows without the lock, want 2", report.Rows)
	}
	want := "folding without " + root.CompactLock() + ": no lock is to be had here: open " + root.CompactLock() + ": is a directory: " +
		"nothing is lost, the commit decides between two that fold at once"
	if diff := cmp.Diff(want, said.text()); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
}

// TestFoldWhileLocked shows that Fold leaves a locked root alone.
func TestFoldWhileLocked(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	held, err := durable.TryLock(root.CompactLock(), "host h\npid 7\n", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = compactor.Fold(context.Background(), compactor.Config{Root: root})
	if want := fmt.Sprintf("%s is held by host h, pid 7", root.CompactLock()); !errors.Is(err, compactor.ErrLocked) || !strings.Contains(err.Error(), want) {
		t.Errorf("Fold of a locked root = %v, want ErrLocked and %q", err, want)
	}
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	if report := foldNow(t, compactor.Config{Root: root}); report.Rows != 2 {
		t.Errorf("%d rows after the lock was free, want 2", report.Rows)
	}
}
