package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

const aRootID = "01JQ4Z0000000000000000000R"

// TestSettingsVectors compares the page about runfold.json with what OpenRoot reads.
func TestSettingsVectors(t *testing.T) {
	for _, v := range vectors(t, "settings.md") {
		t.Run(v.title, func(t *testing.T) {
			root := cohort.Root(t.TempDir())
			data := v.body + "\n"
			if err := os.WriteFile(root.Settings(), []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
			r, err := OpenRoot(root, RootOptions{})
			s := r.Settings
			if want, ok := v.fields["error"]; ok {
				if got := message(err); got != root.Settings()+": "+want {
					t.Errorf("OpenRoot = %q, want %q after the path", got, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{
				"root_id": s.RootID, "key": strings.Join(s.Key.Fields(), " "), "max_record_bytes": fmt.Sprint(s.MaxRecord),
				"dir_mode": s.DirMode.String(), "file_mode": s.FileMode.String(), "written": "no",
			}
			if s.Snapshots != cohort.OneSnapshots {
				got["snapshots"] = string(s.Snapshots)
			}
			if s.Key.Absent() != "" {
				got["key_absent"] = s.Key.Absent()
			}
			if s.Profile != cohort.NoProfile {
				got["profile"] = string(s.Profile)
			}
			if string(s.Encode()) == data {
				got["written"] = "yes"
			}
			if diff := cmp.Diff(v.fields, got); diff != "" {
				t.Errorf("(-page +code):\n%s", diff)
			}
		})
	}
}

// TestRoots opens and makes roots in every kind of place.
func TestRoots(t *testing.T) {
	const ok = `{"version":1,"root_id":"` + aRootID + `"}`
	file := func(name, data string) func(dir string) error {
		return func(dir string) error {
			path := filepath.Join(dir, name)
			return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(data), 0o644))
		}
	}
	mkdir := func(names ...string) func(dir string) error {
		return func(dir string) error {
			for _, n := range names {
				if err := os.MkdirAll(filepath.Join(dir, n), 0o755); err != nil {
					return err
				}
			}
			return nil
		}
	}
	tests := []struct {
		name  string
		setup func(dir string) error
		open  string // what OpenRoot says; "" is success
		init  string // what InitRoot says; "" is success
		isNew bool   // and InitRoot makes a root
	}{
		{"missing", mkdir(), "not a runfold root: it does not exist", "", true},
		{"missing with its parents", mkdir(), "not a runfold root: it does not exist", "", true},
		{"an empty directory", mkdir("."), "not a runfold root: it is empty", "", true},
		{"a fresh volume", mkdir("lost+found"), "not a runfold root: it is empty except for lost+found", "", true},
		{"a share with system entries", mkdir(".snapshot", "@eaDir", ".Trash-1000"), "not a runfold root: it is empty except for .Trash-1000, .snapshot, @eaDir", "", true},
		{"a share with their files", file(".DS_Store", "x"), "not a runfold root: it is empty except for .DS_Store", "", true},
		{"a volume with somebody's file", func(dir string) error {
			return errors.Join(mkdir("lost+found")(dir), file("thesis.tex", "")(dir))
		}, "not a runfold root: it has no runfold.json but other files, such as thesis.tex", "other files, such as thesis.tex", false},
		{"a link that leads to nothing", func(dir string) error { return os.Symlink("nothing", dir) },
			"not a runfold root: it is a link that leads to nothing", "it is a link that leads to nothing", false},
		{"left by a doctor that was killed", mkdir(".doctor-0123"), "not a runfold root: it is empty", "", true},
		{"a root", file("runfold.json", ok), "", "", false},
		{"left by an InitRoot that was killed", file(".runfold.json.0123456789abcdef.tmp", ok[:9]), "not a runfold root", "", true},
		{"an unrelated directory", file("thesis.tex", ""), "not a runfold root", "not a runfold root: it has no runfold.json but other files, such as thesis.tex", false},
		{"a home directory", mkdir(".ssh"), "not a runfold root", "no runfold.json but other files, such as .ssh", false},
		{"runfold.json is lost", mkdir("cohorts"), "not a runfold root: it has cohorts/ but no runfold.json: restore that file", "it has cohorts/ but no runfold.json", false},
		{"lost, with manifests", mkdir("manifests"), "not a runfold root", "it has manifests/ but no runfold.json", false},
		{"a newer version", file("runfold.json", `{"version":5}`), "newer version of runfold", "newer version of runfold", false},
		{"an unknown field", file("runfold.json", ok[:len(ok)-1]+`,"shards":4}`), `unknown field "shards"`, `unknown field "shards"`, false},
		{"cut off", file("runfold.json", ok[:20]), "not the JSON of runfold.json", "not the JSON of runfold.json", false},
		{"an empty runfold.json", file("runfold.json", ""), "not the JSON of runfold.json", "not the JSON of runfold.json", false},
		{"a huge runfold.json", file("runfold.json", strings.Repeat(" ", maxSettings+1)), "larger than", "larger than", false},
		{"runfold.json is a directory", mkdir("runfold.json"), "it is a directory", "it is a directory", false},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o644) }, " ", " ", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "runs")
			if strings.Contains(test.name, "parents") {
				dir = filepath.Join(dir, "a", "b")
			} else if err := test.setup(dir); err != nil {
				t.Fatal(err)
			}
			before := tree(t, dir)
			root := cohort.Root(dir)
			_, err := OpenRoot(root, RootOptions{})
			if got := message(err); (got == "") != (test.open == "") || !strings.Contains(got, test.open) {
				t.Errorf("OpenRoot = %q, want %q", got, test.open)
			}
			if is, want := errors.Is(err, ErrNoRoot), strings.Contains(test.open, "not a runfold root"); is != want {
				t.Errorf("OpenRoot = %v: ErrNoRoot is %t, want %t", err, is, want)
			}
			if _, err := Create(root, "c", Options{}); (err == nil) != (test.open == "") {
				t.Errorf("Create = %v, want what OpenRoot says", err)
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("OpenRoot and Create change (-before +after):\n%s", diff)
			}
			r, created, err := InitRoot(root, cohort.Settings{}, RootOptions{})
			if got := message(err); (got == "") != (test.init == "") || !strings.Contains(got, test.init) || created != test.isNew {
				t.Errorf("InitRoot = created %t, %q, want %t, %q", created, got, test.isNew, test.init)
			}
			if err != nil {
				if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
					t.Errorf("InitRoot that fails changes (-before +after):\n%s", diff)
				}
				return
			}
			again, created, err := InitRoot(root, cohort.Settings{}, RootOptions{})
			if again != r || created || err != nil {
				t.Errorf("second InitRoot = %+v, %t, %v, want %+v", again, created, err, r)
			}
			if read, err := OpenRoot(root, RootOptions{}); read != r || err != nil {
				t.Errorf("OpenRoot after InitRoot = %+v, %v, want %+v", read, err, r)
			}
			for _, d := range []string{root.Cohorts(), root.Manifests(), root.DataDir()} {
				if info, err := os.Stat(d); err != nil || !info.IsDir() {
					t.Errorf("%s: %v, %v", d, info, err)
				}
			}
		})
	}
}

// tree is every path below a directory.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		out = append(out, path)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

// TestInitRootRace lets 20 callers make one root: one does, all get its id.
func TestInitRootRace(t *testing.T) {
	for range 5 {
		root := cohort.Root(filepath.Join(t.TempDir(), "a", "runs"))
		const callers = 20
		var wg sync.WaitGroup
		var mu sync.Mutex
		made, ids := 0, map[string]int{}
		for range callers {
			wg.Go(func() {
				r, created, err := InitRoot(root, cohort.Settings{}, RootOptions{})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if created {
					made++
				}
				ids[r.Settings.RootID]++
			})
		}
		wg.Wait()
		if made != 1 || len(ids) != 1 {
			t.Errorf("%d callers made a root; ids %v", made, ids)
		}
	}
}

// faster is a file system on which another process makes the root while ours looks at the directory.
type faster struct {
	durable.FS
	root   cohort.Root
	name   string // of the call
	before int    // calls of that name that it lets go first
}

func (f *faster) ReadDir(name string) ([]fs.DirEntry, error) {
	f.overtake("readdir")
	return f.FS.ReadDir(name)
}

func (f *faster) Link(old, new string) error {
	f.overtake("link")
	return f.FS.Link(old, new)
}

func (f *faster) overtake(call string) {
	if call == f.name {
		if f.before--; f.before >= 0 {
			return
		}
		if _, _, err := InitRoot(f.root, cohort.Settings{MaxRecord: 1000}, RootOptions{}); err != nil {
			panic(err)
		}
	}
}

// TestInitRootIsOvertaken makes cohorts/ and runfold.json just after InitRoot found no runfold.json. InitRoot sees that another
// process has made the root, and does not take it for a root that lost its settings.
func TestInitRootIsOvertaken(t *testing.T) {
	for _, f := range []faster{{name: "readdir"}, {name: "readdir", before: 1}, {name: "link"}} {
		root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
		when := fmt.Sprintf("overtaken at %s %d", f.name, f.before+1)
		f.FS, f.root = durable.OS, root
		r, created, err := InitRoot(root, cohort.Settings{}, RootOptions{FS: &f})
		if err != nil || created || r.Settings.MaxRecord != 1000 {
			t.Errorf("%s: InitRoot = %+v, %t, %v", when, r, created, err)
		}
		_, _, err = InitRoot(root, cohort.Settings{MaxRecord: 2000}, RootOptions{})
		if err == nil {
			t.Errorf("%s: other settings are accepted", when)
		}
	}
}

// TestOpenRootIsOvertaken shows that OpenRoot opens a root that another process makes between its two looks.
func TestOpenRootIsOvertaken(t *testing.T) {
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	r, err := OpenRoot(root, RootOptions{FS: &faster{FS: durable.OS, root: root, name: "readdir"}})
	if err != nil || r.Settings.MaxRecord != 1000 {
		t.Errorf("OpenRoot = %+v, %v", r, err)
	}
}

// TestRootID opens roots whose id is known: another root is refused, and none is made in place of one that is away.
func TestRootID(t *testing.T) {
	root := newRoot(t)
	r := openRoot(t, root)
	id := r.Settings.RootID
	if got, err := OpenRoot(root, RootOptions{ID: id}); got != r || err != nil {
		t.Errorf("OpenRoot with its id = %+v, %v", got, err)
	}
	if got, created, err := InitRoot(root, cohort.Settings{}, RootOptions{ID: id}); got != r || created || err != nil {
		t.Errorf("InitRoot with its id = %+v, %t, %v", got, created, err)
	}
	if got, created, err := InitRoot(root, r.Settings, RootOptions{}); got != r || created || err != nil {
		t.Errorf("InitRoot with its settings = %+v, %t, %v", got, created, err)
	}
	if _, _, err := InitRoot(root, cohort.Settings{RootID: aRootID}, RootOptions{ID: id}); err == nil {
		t.Error("InitRoot with two ids = nil, want an error")
	}
	if _, err := Create(root, "c", Options{RootID: id}); err != nil {
		t.Errorf("Create with its id = %v", err)
	}
	if _, err := r.Create("c", Options{RootID: aRootID}); !errors.Is(err, ErrOtherRoot) {
		t.Errorf("Root.Create with another id = %v, want ErrOtherRoot", err)
	}
	away := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	before := tree(t, string(root))
	for name, open := range map[string]func(root cohort.Root) error{
		"OpenRoot": func(root cohort.Root) error { _, err := OpenRoot(root, RootOptions{ID: aRootID}); return err },
		"InitRoot": func(root cohort.Root) error {
			_, _, err := InitRoot(root, cohort.Settings{}, RootOptions{ID: aRootID})
			return err
		},
		"InitRoot with settings of it": func(root cohort.Root) error {
			_, _, err := InitRoot(root, cohort.Settings{RootID: aRootID}, RootOptions{})
			return err
		},
		"Create": func(root cohort.Root) error { _, err := Create(root, "c", Options{RootID: aRootID}); return err },
	} {
		err := open(root)
		for _, part := range []string{root.Settings(), id, aRootID} {
			if !errors.Is(err, ErrOtherRoot) || !strings.Contains(err.Error(), part) {
				t.Errorf("%s with another id = %v, want ErrOtherRoot with %s", name, err, part)
			}
		}
		if err := open(away); !errors.Is(err, ErrNoRoot) {
			t.Errorf("%s of what does not exist = %v, want ErrNoRoot", name, err)
		}
	}
	if diff := cmp.Diff(before, tree(t, string(root))); diff != "" {
		t.Errorf("what was refused changes the root (-before +after):\n%s", diff)
	}
	if got := tree(t, string(away)); len(got) > 1 {
		t.Errorf("a root with an id that does not exist is made: %q", got)
	}
}

// TestRootGoesAway takes the root from a Writer, as an unmounted share does. The directory in its place gets no record
// and no directory, whichever stream the Writer begins next.
func TestRootGoesAway(t *testing.T) {
	for name, place := range map[string]func(root cohort.Root) error{
		"a mount point without its share": func(root cohort.Root) error { return os.Mkdir(string(root), 0o755) },
		"nothing":                         func(cohort.Root) error { return nil },
		"another root": func(root cohort.Root) error {
			_, _, err := InitRoot(root, cohort.Settings{}, RootOptions{})
			return err
		},
	} {
		for _, first := range []int{0, 1} { // records before it goes
			root := newRoot(t)
			w, err := Create(root, "c", Options{})
			if err != nil {
				t.Fatal(err)
			}
			appendRuns(t, w, 1, first)
			share := string(root) + "-share"
			if err := errors.Join(os.Rename(string(root), share), place(root)); err != nil {
				t.Fatal(err)
			}
			before := tree(t, string(root))
			err = w.Append([]cohort.Record{rec(t, 2)})
			if !errors.Is(err, ErrNoRoot) && !errors.Is(err, ErrOtherRoot) {
				t.Errorf("%s after %d records: Append = %v, want ErrNoRoot or ErrOtherRoot", name, first, err)
			}
			if diff := cmp.Diff(before, tree(t, string(root))); diff != "" {
				t.Errorf("%s after %d records: Append changes (-before +after):\n%s", name, first, diff)
			}
			if err := w.Close(); err != nil {
				t.Errorf("%s after %d records: Close = %v", name, first, err)
			}
			if got := all(t, cohort.Root(share)); len(got) < first || first > 0 && got[0] != "r-1" { // r-2 may be there
				t.Errorf("%s after %d records: the share has %q", name, first, got)
			}
		}
	}
}

func TestInitRootOtherSettings(t *testing.T) {
	form, err := cohort.ParseKeyForm([]string{"run_id", "phase", "target"})
	if err != nil {
		t.Fatal(err)
	}
	none, err := form.SpellAbsent(cohort.AbsentNone)
	if err != nil {
		t.Fatal(err)
	}
	wide := cohort.Root(filepath.Join(t.TempDir(), "wide"))
	for _, key := range []cohort.KeyForm{none, form, none} {
		_, created, err := InitRoot(wide, cohort.Settings{Key: key}, RootOptions{})
		if (err == nil) != (key == none) || created && key != none {
			t.Errorf("InitRoot with absent fields %q = %t, %v", key.Absent(), created, err)
		}
	}
	root := newRoot(t)
	for want, s := range map[string]cohort.Settings{
		"":         {MaxRecord: cohort.DefaultMaxRecord, DirMode: 0o777, FileMode: 0o666},
		"key":      {Key: form},
		"absent":   {Key: none},
		"record":   {MaxRecord: 1000},
		"dir_mode": {DirMode: 0o2775},
		"file":     {FileMode: 0o664},
	} {
		_, created, err := InitRoot(root, s, RootOptions{})
		if (err == nil) != (want == "") || created {
			t.Errorf("InitRoot with another %s = %t, %v", want, created, err)
		}
		if err != nil && !strings.Contains(err.Error(), "fixed when the root was made") {
			t.Errorf("InitRoot with another %s = %v", want, err)
		}
	}
	bad := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := InitRoot(bad, cohort.Settings{MaxRecord: 1}, RootOptions{}); err == nil {
		t.Error("InitRoot with a limit of 1 byte = nil, want an error")
	}
	if got := tree(t, string(bad)); len(got) > 1 {
		t.Errorf("refused settings leave %q", got)
	}
}

// TestMovedStream opens streams that lie where they were not written: none of their records is read.
func TestMovedStream(t *testing.T) {
	root, other := newRoot(t), newRoot(t)
	appendRuns(t, newWriter(t, other, Options{}), 1, 1) // or all of its streams would name another root: see TestMixed
	appendRuns(t, newWriter(t, root, Options{}), 1, 2)
	s := streams(t, root)[0]
	data, err := os.ReadFile(root.Segment(s.Cohort, s.ID))
	if err != nil {
		t.Fatal(err)
	}
	copyTo := func(root cohort.Root, to Stream) {
		err := os.MkdirAll(root.Stream(to.Cohort, to.ID), 0o755)
		if err = errors.Join(err, os.WriteFile(root.Segment(to.Cohort, to.ID), data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		root cohort.Root
		to   Stream
		want string
	}{
		{"another cohort", root, Stream{"d", s.ID}, "another cohort"},
		{"another root", other, s, "another root"},
		{"another name", root, Stream{"c", aStream}, "EOF"},
	}
	for _, test := range tests {
		copyTo(test.root, test.to)
		r, err := readerOf(test.root, test.to, Position{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // it is not passed over either
			_, err := r.Next()
			if !strings.Contains(message(err), test.want) || r.Position() != (Position{}) || errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: Next = %v at %+v, want %q at the start", test.name, err, r.Position(), test.want)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
