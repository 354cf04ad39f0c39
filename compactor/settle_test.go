package compactor_test

import (
	"context"
	"io"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
)

// doubtful is a file system on which the first link to a name happens, and reports an error much later.
type doubtful struct {
	durable.FS
	name      string
	meanwhile func()
}

func (d *doubtful) Link(from, to string) error {
	err := d.FS.Link(from, to)
	if to == d.name && d.meanwhile != nil && err == nil {
		d.meanwhile()
		d.meanwhile = nil
		return fs.ErrExist
	}
	return err
}

// TestDoubtfulCommitIsBuiltOn: the create of manifest 2 happens, and its compactor hears of it an hour later, as a name that exists. Meanwhile
// others have built on the commit without changing a row, so that their manifest names its data files (R18), have swept it,
// and a sleeper has put a void manifest of its own in its place (R2). The compactor must not take these files away.
func TestDoubtfulCommitIsBuiltOn(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"d","stage":"S","v":4}`)
	disk := loaded(t, root)
	elsewhere := loaded(t, root)
	cfg := compactor.Config{Root: root, FS: durable.FS(disk), Lock: yes{}, KeepAge: -1, KeepGenerations: 1}
	sleeper := cfg
	sleeper.FS = elsewhere
	foldNow(t, sleeper)
	second := root.Manifest(2)
	void := fileOn(t, elsewhere, second)

	slow := cfg
	slow.FS = &doubtful{disk, second, func() {
		change := compactor.ColumnChange{Max: 600}
		if _, err := compactor.ChangeColumns(context.Background(), cfg, change); err != nil {
			t.Error(err)
		}
		for _, old := range []string{root.Manifest(1), second} { // as a sweep removes them
			if err := disk.Remove(old); err != nil {
				t.Error(err)
			}
		}
		if err := durable.Create(disk, second, void, 0o666); err != nil {
			t.Error(err)
		}
	}}
	foldNow(t, slow)
	want := map[string]string{"a:S": "1", "b:S": "1", "d:S": "4"}
	if diff := cmp.Diff(want, valuesOn(t, disk, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := damageOn(t, disk, root); got != "" {
		t.Errorf("check finds\n%s", got)
	}
}

func fileOn(t *testing.T, fsys durable.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
