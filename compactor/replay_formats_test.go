package compactor_test

import (
	"path/filepath"
	"testing"

	"github.com/runfold/runfold/compactor"
)

// TestReplayOfFormats: no root that a released version wrote differs from its streams and its older generations, neither as it was left nor after
// folds of today.
func TestReplayOfFormats(t *testing.T) {
	versions, err := filepath.Glob("testdata/formats/*/root")
	if err != nil || len(versions) == 0 {
		t.Fatalf("%d versions, %v", len(versions), err)
	}
	for _, from := range versions {
		t.Run(filepath.Base(filepath.Dir(from)), func(t *testing.T) {
			root := copyOf(t, from)
			for folds := range 3 {
				done, found := replay(t, root)
				for _, text := range found {
					t.Errorf("after %d folds: %s", folds, text)
				}
				t.Logf("after %d folds: %v", folds, done)
				if folds < 2 {
					foldNow(t, compactor.Config{Root: root})
				}
			}
		})
	}
}
