package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSettings reads each setting of a configuration file, as people write it.
func TestSettings(t *testing.T) {
	var f daemonFlags
	err := f.decode([]byte(` {"schedule": "@every 1d", "log_level": "warn", "batch_bytes": "64MiB", "keep_generations": 5,
		"keep_age": "1d12h", "dead_after": "2 days", "grace": "90s", "scrub": "0.5%"} `))
	if err != nil {
		t.Fatal(err)
	}
	got := []any{f.schedule, f.logLevel, f.fold.BatchBytes, f.fold.KeepGenerations, f.fold.KeepAge, f.fold.DeadAfter, f.fold.ReapGrace, f.fold.Scrub}
	want := []any{"@every 1d", "warn", int64(64 << 20), 5, 36 * time.Hour, 48 * time.Hour, 90 * time.Second, 0.005}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if err := f.decode([]byte(`{"batch_bytes": 1024}`)); err != nil || f.fold.BatchBytes != 1024 {
		t.Errorf("batch_bytes as a number: %d, %v", f.fold.BatchBytes, err)
	}
}

// TestZeroIsNoSetting: 0 would be the default, which nobody means who writes it.
func TestZeroIsNoSetting(t *testing.T) {
	root := newRoot(t)
	for _, flag := range []string{"--keep-age=0s", "--keep-age=0", "--dead-after=0s", "--grace=0m", "--keep-generations=0", "--batch-bytes=0", "--scrub=0%"} {
		for _, command := range []string{"once", "repair", "status"} {
			if command == "status" && !strings.Contains(flag, "dead") && !strings.Contains(flag, "grace") {
				continue
			}
			if _, stderr, code := compactd(t, command, "--root", string(root), flag); code != exitUsage || !strings.Contains(stderr, "must not be 0: leave it out for the default") {
				t.Errorf("compactd %s %s: exit code %d: %s", command, flag, code, stderr)
			}
		}
	}
	for _, text := range []string{`{"keep_age": "0s"}`, `{"dead_after": "0s"}`, `{"grace": "0s"}`, `{"keep_generations": 0}`, `{"batch_bytes": 0}`, `{"scrub": "0%"}`} {
		if err := new(daemonFlags).decode([]byte(text)); err == nil || !strings.Contains(err.Error(), "must not be 0") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, stderr, code := compactd(t, "once", "--root", string(root), "--keep-age", "1ns", "--keep-generations", "1"); code != exitDone {
		t.Errorf("compactd once with the least: exit code %d: %s", code, stderr)
	}
}

// TestParseSchedule shows that a schedule keeps the words of who wrote it where the scheduler knows them.
func TestParseSchedule(t *testing.T) {
	for text, want := range map[string]string{
		"@every 30s": "@every 30s", "@every 23h": "@every 23h", "@every 1d": "@every 24h0m0s", " @every 2 weeks ": "@every 336h0m0s",
		"*/5 * * * *": "*/5 * * * *", "@hourly": "@hourly",
	} {
		if got, err := parseSchedule(text); err != nil || got.String() != want {
			t.Errorf("parseSchedule(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
}
