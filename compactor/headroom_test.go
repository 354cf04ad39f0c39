package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// tree is every file of a root with its content.
func tree(t *testing.T, root cohort.Root) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(string(root), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[root.Rel(path)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// margin is the room that a generation asks for beside its data files and records.
const margin = 1 << 20

// TestHeadroom: a fold that would fill the disk does not begin to write. With the room that it asked for it
// goes on, and where nobody can tell what is free it tries.
func TestHeadroom(t *testing.T) {
	root := prepared(t)
	before := tree(t, root)
	asked := ""
	cfg := compactor.Config{Root: root, Free: func(dir string) (int64, error) {
		asked = root.Rel(dir)
		return margin, nil
	}}
	_, err := compactor.Fold(context.Background(), cfg)
	if !durable.IsFull(err) {
		t.Fatalf("Fold = %v, want one that IsFull", err)
	}
	if asked != "data" {
		t.Errorf("asked for the room in %q", asked)
	}
	after := tree(t, root)
	delete(after, "compact.lock")
	delete(before, "compact.lock")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the root changed (-before +after):\n%s", diff)
	}
	h := newestOn(t, root)
	cfg.Free = func(string) (int64, error) {
		return h.Index.Size + h.Snapshots[0].Size + margin + 4096, nil
	}
	foldNow(t, cfg)
	if diff := cmp.Diff(bothRows, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root, Free: func(string) (int64, error) { return 0, errors.ErrUnsupported }})
}

// TestHeadroomOnSMB: the public files are copies there, so a fold asks for twice the room.
func TestHeadroomOnSMB(t *testing.T) {
	root := prepared(t)
	h := newestOn(t, root)
	room := h.Index.Size + h.Snapshots[0].Size + margin + 4096
	for _, test := range []struct {
		free int64
		full bool
	}{{room, true}, {2 * room, false}} {
		disk := loaded(t, root)
		cfg := compactor.Config{Root: root, FS: &durabletest.SMB{FS: disk}, Lock: yes{}, Free: func(string) (int64, error) { return test.free, nil }}
		if _, err := compactor.Fold(context.Background(), cfg); durable.IsFull(err) != test.full || !test.full && err != nil {
			t.Errorf("with %d bytes: Fold = %v", test.free, err)
		}
	}
}

// TestHeadroomForRecords: a record may stand in both data files, so twice the bytes of the new ones must be free: of a fold and
// of an import.
func TestHeadroomForRecords(t *testing.T) {
	line := func(run int) string {
		return fmt.Sprintf(`{"run_id":"r%d","stage":"S","text":"%s"}`, run, strings.Repeat("x", 100_000))
	}
	const small = 4096 // more than what a stream takes in the manifest, and what an import adds to a record
	records := int64(len(line(1)) + len(line(2)))
	folds := func(t *testing.T, free int64) error {
		root := newRoot(t)
		appendTo(t, root, "c", line(1), line(2))
		_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, Free: func(string) (int64, error) { return free, nil }})
		return err
	}
	imports := func(t *testing.T, free int64) error {
		cfg := compactor.Config{Root: newRoot(t), Free: func(string) (int64, error) { return free, nil }}
		file := fmt.Sprintf(`{"r1:S": %s, "r2:S": %s}`, line(1), line(2))
		_, err := intake.Import(context.Background(), cfg, intake.Source{Snapshots: []intake.SnapshotsFile{{Data: strings.NewReader(file)}}, Cohort: "c"})
		return err
	}
	for name, try := range map[string]func(*testing.T, int64) error{"fold": folds, "import": imports} {
		t.Run(name, func(t *testing.T) {
			if err := try(t, margin+2*records-small); !durable.IsFull(err) {
				t.Errorf("with less than twice the records: %v, want an error that IsFull", err)
			}
			if err := try(t, margin+2*records+small); err != nil {
				t.Errorf("with twice the records: %v", err)
			}
		})
	}
}
