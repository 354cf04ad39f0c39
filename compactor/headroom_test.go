package compactor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
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

// TestHeadroom: a fold that would fill the disk does not begin to write. With the room that it asked for it
// goes on, and where nobody can tell what is free it tries.
func TestHeadroom(t *testing.T) {
	root := prepared(t)
	before := tree(t, root)
	asked := ""
	cfg := Config{Root: root, Free: func(dir string) (int64, error) {
		asked = root.Rel(dir)
		return margin, nil
	}}
	_, err := Fold(context.Background(), cfg)
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
	foldNow(t, Config{Root: root, Free: func(string) (int64, error) { return 0, errors.ErrUnsupported }})
}
