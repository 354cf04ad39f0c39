package main

import (
	"bytes"
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

// TestDaemonReloadsViews changes the views in the file of --config: another one is kept up to date from the signal on, and the one that is not
// named any more stays as it is. A view that cannot be opened leaves all as it was.
func TestDaemonReloadsViews(t *testing.T) {
	root, dir := newRoot(t, "r-1"), t.TempDir()
	config, one, other := filepath.Join(dir, "compactd.json"), filepath.Join(dir, "one.db"), filepath.Join(dir, "other.db")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"schedule": "@every 23h", "view": "sqlite:` + filepath.ToSlash(one) + `"}`)
	d := startDaemon(t, root, "--config", config)
	for e := d.until(t, "view synced"); e.Rows < 1; e = d.until(t, "view synced") {
	}
	write(`{"schedule": "@every 1s", "view": ["mysql:runs"]}`)
	d.signal(t, syscall.SIGHUP)
	d.until(t, "configuration not read again: going on with the old one")

	before, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	write(`{"schedule": "@every 1s", "view": ["sqlite:` + filepath.ToSlash(other) + `"]}`)
	d.signal(t, syscall.SIGHUP)
	d.until(t, "configuration read again")
	if e := d.until(t, "view synced"); e.Rows != 1 {
		t.Errorf("the other view is %+v, want 1 row", e)
	}
	appendRun(t, root, "r-2")
	if e := d.until(t, "view synced"); e.Rows != 2 {
		t.Errorf("the other view is %+v, want 2 rows", e)
	}
	d.stop(t, syscall.SIGTERM)
	if after, err := os.ReadFile(one); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the view that is not named any more has changed: %v", err)
	}
}

func TestBackOff(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: lastBackOff, 1000: lastBackOff} {
		if got := backOff(failures); got != want {
			t.Errorf("backOff(%d) = %v, want %v", failures, got, want)
		}
	}
}
