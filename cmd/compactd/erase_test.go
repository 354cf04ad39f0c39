package main

import (
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// TestEraseThatFails: where an erasure ends early, nobody says that there is nothing of the run.
func TestEraseThatFails(t *testing.T) {
	root := newRoot(t, "r-1")
	lock := hold(t, root)
	stdout, stderr, code := compactd(t, "erase", "--root", string(root), "--run-id", "r-1", "--apply", "--wait", "1ms")
	if code != exitLocked || stdout != "" || strings.Contains(stderr, "nothing of such runs") {
		t.Errorf("compactd erase: exit code %d, output %q, words %q", code, stdout, stderr)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// TestEraseBesideWriter: a stream whose writer goes on is named, is exit code 75, and is no matter of the storage.
func TestEraseBesideWriter(t *testing.T) {
	root := newRoot(t, "r-1")
	w, err := journal.Create(root, "a", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := cohort.ParseRecord([]byte(`{"run_id":"r-1","stage":"T"}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append([]cohort.Record{rec}); err != nil {
		t.Fatal(err)
	}
	erase := []string{"erase", "--root", string(root), "--run-id", "r-1", "--apply"}
	_, stderr, code := compactd(t, erase...)
	if code != exitAgain || !strings.Contains(stderr, "compactd: what is named above may still hold something of erased runs") ||
		strings.Contains(stderr, "the storage does not answer") || strings.Contains(stderr, "is the server away?") {
		t.Errorf("compactd erase beside a writer: exit code %d: %s", code, stderr)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := compactd(t, erase...); code != exitDone {
		t.Errorf("compactd erase after it: exit code %d: %s", code, stderr)
	}
}
