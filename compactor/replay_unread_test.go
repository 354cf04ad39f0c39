package compactor_test

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
)

// failing is a file system on which a file cannot be read any more after it was opened a number of times. It counts the opens.
type failing struct {
	durable.FS
	name  string
	after int
	opens *int
}

func (f failing) Open(name string) (durable.ReadFile, error) {
	file, err := f.FS.Open(name)
	if err != nil || name != f.name {
		return file, err
	}
	*f.opens++
	if *f.opens <= f.after {
		return file, nil
	}
	return failingFile{file, name}, nil
}

type failingFile struct {
	durable.ReadFile
	name string
}

func (f failingFile) fail() (int, error) {
	return 0, &fs.PathError{Op: "pread", Path: f.name, Err: syscall.EIO}
}
func (f failingFile) Read([]byte) (int, error)          { return f.fail() }
func (f failingFile) ReadAt([]byte, int64) (int, error) { return f.fail() }

// TestReplayTellsWhatItCannotRead: a disk fails after Check has read a file, and before Replay does. What is not proven for that reason is not
// taken for what is gone.
func TestReplayTellsWhatItCannotRead(t *testing.T) {
	root := newRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", `{"run_id":"a","stage":"S"}`, `{"run_id":"w","stage":"S"}`, `{"action":"withdraw","run_id":"w"}`)
	foldNow(t, cfg)
	old := newestOn(t, root)
	appendTo(t, root, "c", `{"run_id":"b","stage":"S"}`, `{"run_id":"x","stage":"S"}`, `{"action":"withdraw","run_id":"x"}`)
	foldNow(t, cfg)
	streams := listedOn(t, durable.OS, root, true)
	last := streams[len(streams)-1]
	for name, reason := range map[string]string{
		cohort.SegmentIn(root.Reaped("c", last.ID)): "was not read again: ",
		root.Data(old.Index.Name):                   "was not read again: ",
		root.Data(newestOn(t, root).Index.Name):     "was not derived again: ",
	} {
		opens := 0
		look := func(what func(compactor.Config) error, after int) {
			t.Helper()
			opens = 0
			if err := what(compactor.Config{Root: root, FS: failing{durable.OS, name, after, &opens}}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		look(func(cfg compactor.Config) error {
			_, err := audit.Check(t.Context(), cfg, func(audit.Problem) {})
			return err
		}, 1000)
		var found []string
		var done audit.Replayed
		look(func(cfg compactor.Config) (err error) {
			done, err = audit.Replay(t.Context(), cfg, func(p audit.Problem) {
				if p.Damage {
					t.Errorf("finds %v", p)
				}
				if strings.Contains(p.Reason, "input/output error") {
					found = append(found, p.Reason)
				}
			})
			return err
		}, opens)
		if len(found) != 1 || !strings.HasPrefix(found[0], reason) {
			t.Errorf("%s: %q, want %q", name, found, reason)
		}
		if done.NotDerived != strings.HasPrefix(reason, "was not derived") {
			t.Errorf("%s: %v", name, done)
		}
	}
}
