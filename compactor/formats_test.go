package compactor_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/doctor"
	"github.com/runfold/runfold/internal/durable"
)

var writeFormat = flag.String("write-format", "", "write the root and what is read from it to testdata/formats/`NAME`, which must not exist")

var readFormats = flag.Bool("read-formats", false, "write what is read from the roots of all versions; the diff is then read line by line by a person")

// TestFormats reads the roots that released versions wrote. The roots are never written again: a change of a format
// adds one beside them.
//
// Each is a directory with a root, as that version left it, and with read.txtar: what it read from each file, and
// what the next fold made of them.
func TestFormats(t *testing.T) {
	const dir = "testdata/formats"
	if *writeFormat != "" {
		writeRoot(t, filepath.Join(dir, *writeFormat))
	}
	versions, err := os.ReadDir(dir)
	if err != nil || len(versions) == 0 {
		t.Fatalf("%d versions, %v", len(versions), err)
	}
	for _, v := range versions {
		t.Run(v.Name(), func(t *testing.T) {
			want, err := txtar.ParseFile(filepath.Join(dir, v.Name(), "read.txtar"))
			if err != nil {
				t.Fatal(err)
			}
			root := copyOf(t, filepath.Join(dir, v.Name(), "root"))
			got := readAll(t, root)
			if *readFormats {
				if err := os.WriteFile(filepath.Join(dir, v.Name(), "read.txtar"), txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				want = got
			}
			if diff := cmp.Diff(sections(want), sections(got)); diff != "" {
				t.Errorf("what is read (-then +now):\n%s", diff)
			}
			goesOn(t, root)
		})
	}
}

func sections(a *txtar.Archive) map[string]string {
	out := map[string]string{}
	for _, f := range a.Files {
		out[f.Name] = string(f.Data)
	}
	return out
}

// copyOf copies a root to where it may be changed, as a backup that is brought back would be: with new times, and
// without hard links.
func copyOf(t *testing.T, dir string) cohort.Root {
	t.Helper()
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if err := os.CopyFS(string(root), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return root
}

// readAll is everything that can be read from a root, which it folds once.
func readAll(t *testing.T, root cohort.Root) *txtar.Archive {
	t.Helper()
	a := &txtar.Archive{}
	add := func(name string, data []byte) { a.Files = append(a.Files, txtar.File{Name: name, Data: data}) }
	dump := func(name, path string) {
		var out bytes.Buffer
		if err := audit.Dump(path, &out); err != nil {
			out.WriteString("and an error\n") // its words may change
		}
		add(name, out.Bytes())
	}
	err := filepath.WalkDir(string(root), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) == ".lock" {
			return err
		}
		dump(filepath.ToSlash(root.Rel(path)), path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	switch verdict, err := doctor.Read(durable.OS, root); {
	case err == nil:
		add("verdict", []byte(strings.Join(verdict.Missing(), "\n")+"\n"))
	case !errors.Is(err, fs.ErrNotExist): // no doctor ran there
		t.Fatal(err)
	}
	foldNow(t, compactor.Config{Root: root})
	dump("folded index", root.Index())
	dump("folded snapshots", root.Snapshots())
	return a
}

// goesOn shows that a root of an earlier version is one like any other.
func goesOn(t *testing.T, root cohort.Root) {
	t.Helper()
	before := values(t, root)
	appendTo(t, root, "c", `{"run_id":"today","stage":"S","v":9}`)
	foldNow(t, compactor.Config{Root: root})
	before[string(openRoot(t, root).Settings.Key.Of(parse(t, `{"run_id":"today","stage":"S"}`)))] = "9"
	if diff := cmp.Diff(before, values(t, root)); diff != "" {
		t.Errorf("rows after one more append and fold (-want +got):\n%s", diff)
	}
	if got := damage(t, root); got != "" {
		t.Error(got)
	}
}

// TestFoldOntoVersion1 folds onto roots that programs of version 1 left: their index is of version 1, their manifest of version
// 1, or of 2 with snapshots per cohort. From the fold that writes the rows again on, the columns follow the rules of today. That
// fold says what it does, once.
func TestFoldOntoVersion1(t *testing.T) {
	for name, want := range map[string]struct {
		version   int
		rewritten string
		kinds     map[string]index.Kind // of columns that have another one now
		row       string                // a row that shows it
	}{
		"v1": {
			1, "all 9 rows of the index were written again: a column has another type, its format was version 1 and is version 3",
			map[string]index.Kind{"metrics.auc": index.Double},
			`"i":-9223372036854775808,"f":1.5e-300,"t":true,"s":"日\u0000\n\"\\","params.lr":0.1,"metrics.auc":1.0,"tags.owner":"growth"`,
		},
		"v1-cohorts": {
			2, "all 3 rows of the index were written again: 4 columns have another type, its format was version 1 and is version 3",
			map[string]index.Kind{"metrics.auc": index.Double, "metrics.n": index.Double, "tags.owner": index.String, "tags.n": index.String},
			`"v":2,"metrics.auc":3.0,"tags.owner":"growth","tags.n":"1","_key":"c:S"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := copyOf(t, filepath.Join("testdata/formats", name, "root"))
			before := newestOn(t, root)
			if before.Version != want.version {
				t.Fatalf("a manifest of version %d, want %d", before.Version, want.version)
			}
			if got := damage(t, root); got != "" {
				t.Errorf("before any fold of today: %s", got)
			}
			saysOf(t, root, fmt.Sprintf("the root's manifests were of version %d and are of version 5 from now on: older programs can append", want.version),
				want.rewritten)
			after := newestOn(t, root)
			if after.Version != 5 || len(after.Settings) == 0 {
				t.Errorf("a manifest of version %d with the settings %q, want 4 and those of the root", after.Version, after.Settings)
			}
			columns := slices.Clone(before.Schema)
			for i := range columns {
				columns[i].ID = int32(100 + i)
				if kind, ok := want.kinds[columns[i].Name]; ok {
					columns[i].Kind = kind
				}
			}
			if diff := cmp.Diff(columns, after.Schema); diff != "" {
				t.Errorf("columns (-want +got):\n%s", diff)
			}
			if got := damage(t, root); got != "" {
				t.Errorf("after the first fold of today: %s", got)
			}
			if got := dumpOf(t, root.Index()); !strings.Contains(got, want.row) {
				t.Errorf("no row has %s:\n%s", want.row, got)
			}

			appendTo(t, root, "c", `{"run_id":"rules","stage":"S","metrics":{"auc":"failed","loss":3},"tags":{"owner":17,"new":true},"s":2.50,"v":"none"}`)
			saysOf(t, root, "were written again: 2 columns are new", `"metrics.auc", "v": 2 values are in _extra and in no column`)
			saysOf(t, root)
			got := dumpOf(t, root.Index())
			for _, part := range []string{
				`"tags.owner":"17"`, `"s":"2.50"`, `"metrics.loss":3.0`, `"tags.new":"true"`,
				`"_extra":{"metrics.auc":"failed","tags.owner":17,"tags.new":true,"s":2.50,"v":"none"}`,
			} {
				if row := got[max(strings.Index(got, `{"run_id":"rules"`), 0):]; !strings.Contains(row, part) {
					t.Errorf("the new row has no %s: %s", part, row)
				}
			}
			if got := damage(t, root); got != "" {
				t.Error(got)
			}
		})
	}
}

// TestRowsOfVersion1AppendedAgain appends a record again whose row has no digest, because a program of version 1 folded it. Its
// record id alone says that it is the same write: the row stays, whether the index is still of version 1 or not.
func TestRowsOfVersion1AppendedAgain(t *testing.T) {
	const again = `{"run_id":"a","stage":"S","v":1,"metrics":{"auc":1},"tags":{"owner":7},"record_id":"mine-a","timestamp":"2026-03-01T12:00:00Z"}`
	for name, first := range map[string]func(cohort.Root){
		"onto version 1":      func(cohort.Root) {},
		"onto what became it": func(root cohort.Root) { foldNow(t, compactor.Config{Root: root}) },
	} {
		t.Run(name, func(t *testing.T) {
			root := copyOf(t, "testdata/formats/v1-cohorts/root")
			first(root)
			appendTo(t, root, "c", again)
			if r := foldNow(t, compactor.Config{Root: root}); r.Repeated != 1 || r.Replaced != 0 {
				t.Errorf("%d repeated, %d replaced, want 1 and 0", r.Repeated, r.Replaced)
			}
			if got := dumpOf(t, root.Index()); strings.Count(got, `"run_id":"a"`) != 1 || !strings.Contains(got, `"snapshot_seq":1,`) {
				t.Errorf("a has not one row with its old snapshot_seq:\n%s", got)
			}
			if got := damage(t, root); got != "" {
				t.Error(got)
			}
		})
	}
}

// saysOf folds all that is there, and holds what is said to be lines that have these parts, no more and no fewer.
func saysOf(t *testing.T, root cohort.Root, parts ...string) {
	t.Helper()
	var said notices
	foldNow(t, compactor.Config{Root: root, Notify: said.add})
	lines := strings.FieldsFunc(said.text(), func(r rune) bool { return r == '\n' })
	ok := slices.EqualFunc(lines, parts, strings.Contains)
	if !ok {
		t.Errorf("the fold says\n%s\nwant lines with\n%s", said.text(), strings.Join(parts, "\n"))
	}
}

func dumpOf(t *testing.T, path string) string {
	t.Helper()
	var out bytes.Buffer
	if err := audit.Dump(path, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// writeRoot makes a root with one of each: generations of folds, an import and a repair; streams that are
// sealed, alive, torn, damaged, in reaped/ and in quarantine/; values of every type; columns that were declared and dropped.
func writeRoot(t *testing.T, dir string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Fatal("write formats on Linux")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("%s is there: formats that were released never change", dir)
	}
	var settings cohort.Settings
	if strings.Contains(filepath.Base(dir), string(cohort.Foxml)) {
		settings.Profile = cohort.Foxml
	}
	root := newRootWith(t, settings)
	appendTo(t, root, "c", firstLines...)
	appendTo(t, root, "Churn_eu-1.0=x", `{"run_id":"types","stage":"S","v":1,"i":-9223372036854775808,"u":18446744073709551615,"f":1.5e-300,"t":true,`+
		`"n":null,"s":"日\u0000\n\"\\","params":{"lr":0.1,"layers":[1,"two",null,{"three":3}]},"metrics":{"auc":1,"deep":{"er":2}},`+
		`"tags":{"owner":"growth"},"target":"t","view":"v","symbol":"s","timestamp":"2026-03-01T12:00:00Z","record_id":"mine"}`)
	foldNow(t, compactor.Config{Root: root})
	if err := importOf(compactor.Config{Root: root}, `{"x:S": {"snapshot_seq": 8, "v": 4}, "a:S": {"snapshot_seq": 9, "v": 4}}`); err != nil {
		t.Fatal(err)
	}
	appendTo(t, root, "c", `{"run_id":"erased","stage":"S","v":4}`, `{"run_id":"out","stage":"S","v":4,"metrics":{"auc":0.5}}`, `{"run_id":"back","stage":"S","v":4}`,
		`{"action":"withdraw","run_id":"out","stage":"S","reason":"wrong <label>"}`, `{"action":"withdraw","run_id":"back"}`)
	foldNow(t, compactor.Config{Root: root})
	if _, err := compactor.Erase(t.Context(), compactor.Config{Root: root}, compactor.Erasure{RunID: "erased", Apply: true}); err != nil {
		t.Fatal(err)
	}
	appendTo(t, root, "c", `{"action":"undo","run_id":"back"}`, `{"action":"protect","run_id":"back","stage":"S"}`, `{"action":"withdraw","run_id":"back"}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"e","stage":"S","v":5}`, `{"run_id":"lost","stage":"S","v":5}`, `{"run_id":"f","stage":"T","v":5,"metrics":{"auc":"text now"}}`)
	flipEntry(t, root, 2)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "d", secondLines...)
	foldNow(t, compactor.Config{Root: root})
	spoil(t, root, "index", newestOn(t, root).Generation)
	if err := repairOnce(compactor.Config{Root: root}); err != nil {
		t.Fatal(err)
	}
	columns := compactor.ColumnChange{Declare: []index.Column{{Name: "git_commit", Kind: index.String}, {Name: "seen", Kind: index.Bool}}, Drop: []string{"t"}, Max: 600}
	if _, err := compactor.ChangeColumns(context.Background(), compactor.Config{Root: root}, columns); err != nil {
		t.Fatal(err)
	}
	appendTo(t, root, "c", `{"run_id":"sealed","stage":"S","v":6,"git_commit":1234567}`)
	live := openWriter(t, root, "d")
	appendLines(t, live, `{"run_id":"live","stage":"S","v":6}`)
	foldNow(t, compactor.Config{Root: root})
	appendLines(t, live, `{"run_id":"live","stage":"S","v":7}`, `{"run_id":"torn","stage":"S","v":7}`)
	streams := listed(t, root)
	if len(streams) == 0 {
		t.Fatal("no streams")
	}
	for _, s := range streams {
		if s.Cohort == "d" {
			change(t, root.Segment(s.Cohort, s.ID), func(b []byte) []byte { return b[:len(b)-5] })
		}
	}
	appendTo(t, root, "c", `{"run_id":"unfolded","stage":"S","v":7}`)
	verdict := doctor.Verdict{
		Version: 1, MeasuredAt: "2026-11-24T00:00:00Z", FileSystem: "ext4", Local: true,
		Checks: []doctor.Check{{Name: doctor.ExclusiveCreate, Result: "yes"}, {Name: "time step of stamps", Result: "4ms", Needed: true}},
	}
	if err := doctor.Save(durable.OS, root, verdict, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "root"), os.DirFS(string(root))); err != nil {
		t.Fatal(err)
	}
	text := txtar.Format(readAll(t, copyOf(t, filepath.Join(dir, "root"))))
	if err := os.WriteFile(filepath.Join(dir, "read.txtar"), text, 0o644); err != nil {
		t.Fatal(err)
	}
}
