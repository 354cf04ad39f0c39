package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/internal/durable"
)

// TestPassOverByCron runs once as cron does: each run is a process of its own. The lock is held by a machine that is dead. What the
// first run saw is made ten minutes older, which is what a run ten minutes later would read.
func TestPassOverByCron(t *testing.T) {
	root := newRoot(t, "r-1")
	words := "host elsewhere\npid 17\nuser ml (1000)\nsince 2025-01-01T00:00:00Z\nprogram runfold 0.1\n"
	hold(t, root)
	if _, err := durable.SayHolder(root.CompactLock(), words, 0o666); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := compactd(t, "once", "--root", string(root))
	line := "host elsewhere, pid 17, user ml (1000), since 2025-01-01T00:00:00Z, program runfold 0.1"
	if want := root.CompactLock() + " is held by " + line + "\n"; code != exitLocked || !strings.Contains(stderr, want) {
		t.Errorf("the first run: exit code %d: %s", code, stderr)
	}
	older(t, root.CompactLock()+".seen", 9*time.Minute)
	if _, stderr, code = compactd(t, "once", "--root", string(root)); code != exitLocked {
		t.Errorf("nine minutes later: exit code %d: %s", code, stderr)
	}
	older(t, root.CompactLock()+".seen", time.Minute)
	want := root.CompactLock() + " is held by " + line + ", which has shown no sign of life for 10m"
	if _, stderr, code = compactd(t, "once", "--root", string(root)); code != exitDone || !strings.Contains(stderr, want) || !strings.Contains(stderr, "1 added") {
		t.Errorf("ten minutes later: exit code %d: %s", code, stderr)
	}
	if _, stderr, code = compactd(t, "once", "--root", string(root)); code != exitDone || strings.Contains(stderr, "sign of life") {
		t.Errorf("the run after that: exit code %d: %s", code, stderr)
	}
	if stdout, _, _ := compactd(t, "status", "--root", string(root)); strings.Contains(stdout, "elsewhere") {
		t.Errorf("compactd status names the dead holder: %s", stdout)
	}
}

// older moves what observers noted into the past.
func older(t *testing.T, path string, by time.Duration) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var seen map[string]any
	if err := json.Unmarshal(data, &seen); err != nil {
		t.Fatal(err)
	}
	since := seen["since_ns"].(map[string]any)
	if len(since) != 1 {
		t.Fatalf("%s has %d clocks, want 1", path, len(since))
	}
	for id, at := range since {
		since[id] = int64(at.(float64)) - int64(by)
	}
	if data, err = json.Marshal(seen); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
