package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/runfold/runfold/internal/durable"
)

// TestSyncOfWhatIsRead: a file that is open to read can be synced while another one writes it. Windows and SMB refuse that, or ignore
// it, for a descriptor that may not write.
func TestSyncOfWhatIsRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	w, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, werr := w.WriteString("not synced")
	r, err := durable.OS.Open(name)
	if err := errors.Join(werr, err); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Sync(), r.Close(), w.Close()); err != nil {
		t.Error(err)
	}
}
