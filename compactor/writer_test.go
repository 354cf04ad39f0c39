package compactor_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// writersOf is who wrote each row of the newest generation, as its index says.
func writersOf(t *testing.T, root cohort.Root) map[cohort.Key]string {
	t.Helper()
	store, err := generation.Open(root, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.Data(newestOn(t, root))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out := map[cohort.Key]string{}
	for h, err := range d.Index.Identities() {
		if err != nil {
			t.Fatal(err)
		}
		out[h.Key] = h.Writer
	}
	return out
}

// me is what rows of this process say about their writer, if its user is ann.
func me() string {
	host, _ := os.Hostname()
	return "ann@" + host + ":" + strconv.Itoa(os.Getpid())
}

// TestWriterOutlivesItsStream folds until the stream of a row is deleted: the row still says who wrote it.
func TestWriterOutlivesItsStream(t *testing.T) {
	t.Setenv("USER", "ann")
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`)
	first := listed(t, root)[0]
	t.Setenv("USER", "bob")
	for i := range 4 {
		foldNow(t, compactor.Config{Root: root})
		appendTo(t, root, "c", `{"run_id":"later","stage":"S","v":`+strconv.Itoa(i)+`}`)
	}
	for _, s := range append(listed(t, root), listedOn(t, durable.OS, root, true)...) {
		if s == first {
			t.Fatalf("the stream %v is not deleted", s)
		}
	}
	got := writersOf(t, root)
	if got["a:S"] != me() || got["later:S"] != "bob"+strings.TrimPrefix(me(), "ann") {
		t.Errorf("writers %q, want %q of a:S and bob's of later:S", got, me())
	}
}

// TestWriterFromAWatermark folds a stream in parts. The second fold begins in its middle, and knows its writer all the same. A repeat
// that another writer appends changes the stamp and not the writer.
func TestWriterFromAWatermark(t *testing.T) {
	t.Setenv("USER", "ann")
	root := newRoot(t)
	w := openWriter(t, root, "c")
	appendLines(t, w, `{"run_id":"a","stage":"S","v":1,"record_id":"one"}`)
	foldNow(t, compactor.Config{Root: root})
	appendLines(t, w, `{"run_id":"b","stage":"S","v":1}`)
	foldNow(t, compactor.Config{Root: root})
	t.Setenv("USER", "bob")
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1,"record_id":"one"}`)
	if r := foldNow(t, compactor.Config{Root: root}); r.Repeated != 1 {
		t.Fatalf("%d repeated, want 1", r.Repeated)
	}
	if got := writersOf(t, root); got["a:S"] != me() || got["b:S"] != me() {
		t.Errorf("writers %q, want %q of both", got, me())
	}
}

// TestWriterOfDamagedHeader folds a stream whose header is damaged: nobody knows who wrote its rows, and the rows are there.
func TestWriterOfDamagedHeader(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`)
	flipEntry(t, root, 0)
	foldNow(t, compactor.Config{Root: root})
	if got, ok := writersOf(t, root)["a:S"]; !ok || got != "" {
		t.Errorf("the row is there: %v, and its writer is %q, want none", ok, got)
	}
}

// TestWriterOfImport imports rows of another root: they have no writer here, and a field of this name stays the user's.
func TestWriterOfImport(t *testing.T) {
	root := newRoot(t)
	if err := importOf(compactor.Config{Root: root}, `{"x:S": {"snapshot_seq": 8, "v": 4, "_writer": "mine"}}`); err != nil {
		t.Fatal(err)
	}
	rec := parse(t, `{"run_id":"y","stage":"S"}`)
	rec.Cohort, rec.Writer = "c", "somebody"
	if _, err := compactor.Import(context.Background(), compactor.Config{Root: root}, []compactor.Imported{{Record: rec}}, false); err != nil {
		t.Fatal(err)
	}
	for _, key := range []cohort.Key{"x:S", "y:S"} {
		if got, ok := writersOf(t, root)[key]; !ok || got != "" {
			t.Errorf("the row of %s is there: %v, and its writer is %q, want none", key, ok, got)
		}
	}
	if got := dumpOf(t, root.Index()); !strings.Contains(got, `"_extra":{"_writer":"mine"}`) {
		t.Errorf("the field is lost: %s", got)
	}
}

// TestFoldOntoVersion2 folds onto a root of version 2 that has a dynamic column with the name of a fixed one of today.
func TestFoldOntoVersion2(t *testing.T) {
	root := copyOf(t, "testdata/formats/v2-writer/root")
	before := newestOn(t, root)
	if before.Version != 3 || before.Schema[0].Name != "_writer" || !before.Columns.Is("_writer") {
		t.Fatalf("a manifest of version %d with the columns %v", before.Version, before.Schema)
	}
	if got := damage(t, root); got != "" {
		t.Errorf("before any fold of today: %s", got)
	}
	for key, writer := range writersOf(t, root) {
		if writer != "" {
			t.Errorf("the writer of %s is %q, which is the user's", key, writer)
		}
	}
	saysOf(t, root, "the root's manifests were of version 3 and are of version 5 from now on: older programs can append",
		"all 5 rows of the index were written again: a column is gone, its format was version 2 and is version 3",
		"1 records gave way to later ones of the same key with another cohort_id", `"_writer": 1 value is in _extra and in no column: `)
	after := newestOn(t, root)
	if after.Version != 5 || len(after.Columns.Declared) != 1 || after.Columns.Is("_writer") {
		t.Errorf("a manifest of version %d that declares %v", after.Version, after.Columns.Declared)
	}
	saysOf(t, root)
	if got := damage(t, root); got != "" {
		t.Errorf("after the first fold of today: %s", got)
	}
}

// TestReadersOfVersion2 reads an index of version 2 whose user has a column with the name of a fixed one of today, in each way in which
// rows are chosen: nobody takes the user's value for who wrote the row.
func TestReadersOfVersion2(t *testing.T) {
	root := copyOf(t, "testdata/formats/v2-writer/root")
	store, err := generation.Open(root, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.Data(newestOn(t, root))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var seqs []cohort.Seq
	all := index.Choice{Columns: []string{"run_id"}, Row: func([]index.Value) (bool, error) { return true, nil }}
	for h, err := range d.Index.Choose(t.Context(), all) {
		if err != nil || h.Writer != "" || h.Version.Digest == 0 {
			t.Errorf("Choose: %+v, %v; want a digest and no writer", h, err)
		}
		seqs = append(seqs, h.Seq)
	}
	n, theirs := 0, 0
	for c, err := range d.Index.Contents(seqs) {
		if err != nil || c.Writer != "" || c.Version.Digest == 0 {
			t.Errorf("Contents: %+v, %v; want a digest and no writer", c.Identity, err)
		}
		for _, f := range c.Fields {
			if f.Name == "_writer" {
				theirs++
			}
		}
		n++
	}
	if len(seqs) == 0 || n != len(seqs) || theirs == 0 {
		t.Errorf("%d rows chosen, %d contents, of which %d have the user's _writer", len(seqs), n, theirs)
	}
}

// TestFoldOntoVersion2Alone tells that all rows were written again where only the format of the index has changed.
func TestFoldOntoVersion2Alone(t *testing.T) {
	root := copyOf(t, "testdata/formats/v2/root")
	saysOf(t, root, "the root's manifests were of version 3 and are of version 5 from now on: older programs can append",
		"rows of the index were written again: its format was version 2 and is version 3")
	saysOf(t, root)
}

// TestCommitsOntoVersion2 commits without a fold: each kind of commit tells once that older programs refuse the root from now on.
func TestCommitsOntoVersion2(t *testing.T) {
	day := 24 * time.Hour
	for name, commit := range map[string]func(compactor.Config) error{
		"import": func(cfg compactor.Config) error { return importOf(cfg, `{"fresh:S": {"snapshot_seq": 80, "v": 4}}`) },
		"columns": func(cfg compactor.Config) error {
			_, err := compactor.ChangeColumns(t.Context(), cfg, compactor.ColumnChange{Max: 99})
			return err
		},
		"retention": func(cfg compactor.Config) error {
			_, err := compactor.ChangeRetention(t.Context(), cfg, compactor.RetentionChange{All: &day})
			return err
		},
		"delta": func(cfg compactor.Config) error {
			_, err := compactor.ChangeDelta(t.Context(), cfg, true)
			return err
		},
		"erasure": func(cfg compactor.Config) error {
			_, err := compactor.Erase(t.Context(), cfg, compactor.Erasure{RunID: "a", Apply: true})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := copyOf(t, "testdata/formats/v2/root")
			if err := os.RemoveAll(root.Cohorts()); err != nil { // nothing is to be folded
				t.Fatal(err)
			}
			before, said := newestOn(t, root), &notices{}
			if err := commit(compactor.Config{Root: root, Notify: said.add}); err != nil {
				t.Fatal(err)
			}
			if after := newestOn(t, root); after.Generation == before.Generation || after.Version != 5 {
				t.Fatalf("generation %d of version %d", after.Generation, after.Version)
			}
			if n := strings.Count(said.text(), "the root's manifests were of version 3 and are of version 5 from now on"); n != 1 {
				t.Errorf("told %d times, want once:\n%s", n, said.text())
			}
		})
	}
}

// TestRepairOfVersion2 goes back to a generation of version 2 whose columns have a name that is taken today.
func TestRepairOfVersion2(t *testing.T) {
	root := copyOf(t, "testdata/formats/v2-writer/root")
	before := newestOn(t, root).Generation
	spoil(t, root, "index", before)
	if err := os.Remove(root.Index()); err != nil { // which would be a whole copy
		t.Fatal(err)
	}
	if err := repairOnce(compactor.Config{Root: root}); err != nil {
		t.Fatal(err)
	}
	if m, err := newest(durable.OS, root); err != nil || m.Generation <= before+1 {
		t.Fatalf("generation %d, %v: no repair went back, or no fold came after it", m.Generation, err)
	}
	if got := newestOn(t, root); got.Version != 5 || got.Columns.Is("_writer") || find(got.Schema, "_writer") {
		t.Errorf("version %d, columns %v", got.Version, got.Schema)
	}
	if got := dumpOf(t, root.Index()); !strings.Contains(got, `"_extra":{"_writer":"mine again"}`) {
		t.Errorf("a value is lost: %s", got)
	}
}

func find(s index.Schema, name string) bool {
	for _, c := range s {
		if c.Name == name {
			return true
		}
	}
	return false
}

// withoutStart is a file system on which the start of no segment can be read.
type withoutStart struct{ durable.FS }

func (w withoutStart) Open(name string) (durable.ReadFile, error) {
	f, err := w.FS.Open(name)
	if err != nil || filepath.Base(name) != "00000000000000000001" {
		return f, err
	}
	return startless{f, name}, nil
}

type startless struct {
	durable.ReadFile
	name string
}

func (s startless) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		return 0, &fs.PathError{Op: "pread", Path: s.name, Err: syscall.EIO}
	}
	return s.ReadFile.ReadAt(p, off)
}

// TestHeaderThatCannotBeReadNow leaves a stream to the next fold if the file system gives an error for its header: else its rows would be
// without a writer for ever.
func TestHeaderThatCannotBeReadNow(t *testing.T) {
	t.Setenv("USER", "ann")
	root := newRoot(t)
	w := openWriter(t, root, "c")
	appendLines(t, w, `{"run_id":"a","stage":"S","v":1}`)
	foldNow(t, compactor.Config{Root: root})
	appendLines(t, w, `{"run_id":"b","stage":"S","v":1}`)
	if r := foldNow(t, compactor.Config{Root: root, FS: withoutStart{durable.OS}}); r.Skipped != 1 || r.Rows != 1 {
		t.Errorf("%d skipped, %d rows, want 1 and 1", r.Skipped, r.Rows)
	}
	foldNow(t, compactor.Config{Root: root})
	if got := writersOf(t, root)["b:S"]; got != me() {
		t.Errorf("the writer is %q, want %q", got, me())
	}
}
