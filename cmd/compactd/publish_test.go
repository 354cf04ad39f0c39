package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestDaemonViews keeps a view up to date. Another one cannot be made at first: it is told and tried again, and holds up nothing.
func TestDaemonViews(t *testing.T) {
	root, dir := newRoot(t, "r-1", "r-2"), t.TempDir()
	late := filepath.Join(dir, "late")
	good, bad := "sqlite:"+filepath.Join(dir, "good.db"), "sqlite:"+filepath.Join(late, "bad.db")
	d := startDaemon(t, root, "--schedule", "@every 1s", "--view", good)
	for e := d.until(t, "view synced"); e.Generation < 1; e = d.until(t, "view synced") { // it may have found the root before the first fold
	}
	appendRun(t, root, "r-3")
	if e := d.until(t, "view synced"); e.Generation != 2 || e.Rows != 3 {
		t.Errorf("view is %+v, want generation 2 with 3 rows", e)
	}
	d.stop(t, syscall.SIGTERM)

	d = startDaemon(t, root, "--schedule", "@every 1s", "--view", bad)
	if e := d.until(t, "view not synced"); e.Level != "warn" || e.Error == "" {
		t.Errorf("event is %+v, want a warning with an error", e)
	}
	appendRun(t, root, "r-4")
	if e := d.until(t, "folded"); e.Rows != 4 {
		t.Errorf("fold is %+v, want 4 rows", e)
	}
	if err := os.Mkdir(late, 0o777); err != nil {
		t.Fatal(err)
	}
	if e := d.until(t, "view synced"); e.Rows != 4 {
		t.Errorf("view is %+v, want 4 rows", e)
	}
	d.stop(t, syscall.SIGTERM)
}

func TestBackOff(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: lastBackOff, 1000: lastBackOff} {
		if got := backOff(failures); got != want {
			t.Errorf("backOff(%d) = %v, want %v", failures, got, want)
		}
	}
}
