package generation_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// TestRowsFrom reads rows with their snapshots from each seq on, where one file has all snapshots and where each cohort has one, more
// than are kept open.
func TestRowsFrom(t *testing.T) {
	for _, mode := range []cohort.SnapshotsForm{cohort.OneSnapshots, cohort.PerCohort} {
		t.Run(string(mode), func(t *testing.T) {
			store, m := manyCohorts(t, cohort.Settings{Snapshots: mode}, 70)
			data, err := store.Data(m)
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			want := snapshotsOf(t, data, m)
			for from := cohort.Seq(0); from <= m.NextSeq; from += 9 {
				n, last := 0, from
				for r, err := range data.RowsFrom(from) {
					if err != nil {
						t.Fatalf("RowsFrom(%d): %v", from, err)
					}
					if !bytes.Equal(r.Snapshot, want[r.Seq]) || r.Seq < last {
						t.Errorf("RowsFrom(%d): seq %d after %d has the snapshot %s, want %s", from, r.Seq, last, r.Snapshot, want[r.Seq])
					}
					n, last = n+1, r.Seq
				}
				if expected := int(m.NextSeq - max(from, 1)); n != expected {
					t.Errorf("RowsFrom(%d) yields %d rows, want %d", from, n, expected)
				}
			}
		})
	}
}

// TestRowsFromDamaged has the line of a row with another seq, and with another key.
func TestRowsFromDamaged(t *testing.T) {
	for was, is := range map[string]string{`"snapshot_seq":3`: `"snapshot_seq":4`, `"r-1-0:T":`: `"r-1-9:T":`} {
		t.Run(is, func(t *testing.T) { rowsFromDamaged(t, was, is) })
	}
}

func rowsFromDamaged(t *testing.T, was, is string) {
	store, m := manyCohorts(t, cohort.Settings{}, 2)
	name := store.Root.Data(m.Snapshots[0].Name)
	lines, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if lines = bytes.Replace(lines, []byte(was), []byte(is), 1); !bytes.Contains(lines, []byte(is)) {
		t.Fatalf("no %s in %s", was, lines)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, lines, 0o644); err != nil {
		t.Fatal(err)
	}
	data, err := store.Data(m)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	n := 0
	for _, err = range data.RowsFrom(0) {
		n++
	}
	if n != 3 || !errors.Is(err, generation.ErrCorrupt) {
		t.Errorf("%d rows and %v, want 2 rows and damage", n-1, err)
	}
}

// manyCohorts makes a root with two rows in each of n cohorts.
func manyCohorts(t *testing.T, s cohort.Settings, n int) (*generation.Store, generation.Manifest) {
	t.Helper()
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := journal.InitRoot(root, s, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		w, err := journal.Create(root, cohort.ID(fmt.Sprint("c", i)), journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for j := range 2 {
			r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d-%d","stage":"T","n":%d}`, i, j, j), 0)
			if err == nil {
				err = w.Append([]cohort.Record{r})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := compactor.Fold(t.Context(), compactor.Config{Root: root}); err != nil {
		t.Fatal(err)
	}
	store, err := generation.Open(root, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	return store, m
}

func snapshotsOf(t *testing.T, data *generation.Data, m generation.Manifest) map[cohort.Seq][]byte {
	t.Helper()
	all := map[cohort.Seq][]byte{}
	for _, f := range m.Snapshots {
		file, err := data.Snapshots(f)
		if err != nil {
			t.Fatal(err)
		}
		for s, err := range index.Snapshots(file) {
			if err != nil {
				t.Fatal(err)
			}
			all[s.Seq] = s.Value
		}
		file.Close()
	}
	return all
}
