package doctor

import (
	"testing"

	"github.com/runfold/runfold/internal/durable"
)

// TestLocalIsNotRemote: the two lists of kinds agree on what holds the temporary directory.
func TestLocalIsNotRemote(t *testing.T) {
	dir := t.TempDir()
	kind, local, err := IsLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	if local && durable.Remote(durable.OS, dir) {
		t.Errorf("%s is local, and it is remote", kind)
	}
}
