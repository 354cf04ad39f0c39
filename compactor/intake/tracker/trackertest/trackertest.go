// Package trackertest has what the tests of the readers of trackers share.
package trackertest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// Dir makes a directory with these files. Their names have slashes.
func Dir[T string | []byte](t testing.TB, files map[string]T) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, []byte(data), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Read are all runs, and what was left out of what stands in a directory: "place: reason", and for an error that ended the reading its text. In
// texts the directory is DIR.
func Read(dir string, from tracker.Runs) (runs []tracker.Run, left []string) {
	for run, err := range from {
		var l *tracker.LeftOutError
		switch {
		case errors.As(err, &l):
			where := strings.TrimPrefix(strings.TrimPrefix(l.Where, dir), string(filepath.Separator))
			left = append(left, filepath.ToSlash(where)+": "+l.Reason)
		case err != nil:
			left = append(left, strings.ReplaceAll(err.Error(), dir, "DIR"))
		default:
			runs = append(runs, run)
		}
	}
	return runs, left
}

// JSON is a run as a record, of the stage RUN.
func JSON(r tracker.Run) string {
	text, _ := r.JSON(tracker.Shape{Stage: "RUN", Most: tracker.DefaultSteps})
	return string(text)
}
