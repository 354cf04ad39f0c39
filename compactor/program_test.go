package compactor_test

import (
	"encoding/json"
	"testing"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/build"
	"github.com/runfold/runfold/journal"
)

// TestProgram: without a name the program is runfold, with its version, in a stream and in a manifest.
func TestProgram(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	want := "runfold " + build.Version()
	streams := listed(t, root)
	if len(streams) != 1 {
		t.Fatalf("streams %v, want one", streams)
	}
	for e, err := range journal.Entries(root.Segment(streams[0].Cohort, streams[0].ID), streams[0]) {
		if err != nil {
			t.Fatal(err)
		}
		var h struct{ Program string }
		if err := json.Unmarshal(e.Payload, &h); err != nil || h.Program != want {
			t.Errorf("program of the stream's header: %q, %v; want %q", h.Program, err, want)
		}
		break
	}
	foldNow(t, compactor.Config{Root: root})
	if got := newestOn(t, root).Program; got != want {
		t.Errorf("program of the manifest: %q, want %q", got, want)
	}
}
