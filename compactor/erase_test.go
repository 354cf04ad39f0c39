package compactor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// eraseNow erases one run and expects no error.
func eraseNow(t testing.TB, cfg compactor.Config, what compactor.Erasure) compactor.Erased {
	t.Helper()
	what.Apply = true
	done, err := compactor.Erase(context.Background(), cfg, what)
	if err != nil {
		t.Fatalf("Erase: %v", err)
	}
	return done
}

// secrets are what must be nowhere in a root after the run "person" was erased: its name, and what its records and actions say.
var secrets = []string{"person", "secret-one", "secret-two", "secret-old", "because-of-her", "0.123456789"}

// secretLines are records of that run, and of others.
var secretLines = []string{
	`{"run_id":"a","stage":"S","v":1,"tags":{"owner":"x"}}`,
	`{"run_id":"person","stage":"S","v":1,"note":"secret-old","tags":{"owner":"secret-one"}}`,
	`{"run_id":"person","stage":"S","v":2,"note":["secret-two"],"tags":{"owner":"secret-one"},"metrics":{"auc":0.123456789}}`,
	`{"run_id":"person","stage":"T","v":2,"note":"secret-two"}`,
	`{"run_id":"b","stage":"S","v":1,"tags":{"owner":"y"}}`,
	`{"action":"withdraw","run_id":"person","stage":"T","reason":"because-of-her"}`,
	`{"action":"withdraw","run_id":"b","reason":"other"}`,
}

// secretsIn greps every byte of every file of a root, and every value of every parquet file.
func secretsIn(t testing.TB, fsys durable.FS, root cohort.Root) (found []string) {
	t.Helper()
	digests := map[cohort.Digest]bool{}
	for _, line := range secretLines {
		if r := parse(t, line); r.RunID == "person" && r.Action == cohort.NoAction {
			digests[r.Version().Digest] = true
		}
	}
	walkOn(t, fsys, string(root), func(path string, data []byte) {
		var note struct {
			Bytes []byte `json:"bytes_base64"`
		}
		if json.Unmarshal(data, &note) == nil {
			data = append(data, note.Bytes...)
		}
		for _, s := range secrets {
			if bytes.Contains(data, []byte(s)) || strings.Contains(path, s) {
				found = append(found, fmt.Sprintf("%s holds %q", root.Rel(path), s))
			}
		}
		if strings.Contains(path, ".parquet") && !strings.Contains(path, "_delta_log") { // checkpoints hold no rows
			found = append(found, secretRows(t, root.Rel(path), data, digests)...)
		}
	})
	return found
}

// secretRows looks into an index: its rows, its filters and its page bounds.
func secretRows(t testing.TB, path string, data []byte, digests map[cohort.Digest]bool) (found []string) {
	t.Helper()
	f, err := index.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil && durable.IsTemp(filepath.Base(path)) {
		return nil // cut off by a crash; its bytes were looked through
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for row, err := range f.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if bytes.Contains(row, []byte(s)) {
				found = append(found, fmt.Sprintf("a row of %s holds %q", path, s))
			}
		}
	}
	for h, err := range f.Identities() {
		if err != nil {
			t.Fatal(err)
		}
		if digests[h.Version.Digest] {
			found = append(found, path+" holds the digest of an erased row")
		}
	}
	return found
}

func walkOn(t testing.TB, fsys durable.FS, dir string, do func(path string, data []byte)) {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			walkOn(t, fsys, path, do)
			continue
		}
		data, err := durable.Read(fsys, path, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		do(path, data)
	}
}

func TestErase(t *testing.T) {
	for name, root := range map[string]func(testing.TB) cohort.Root{"one file": newRoot, "per cohort": newCohortsRoot} {
		t.Run(name, func(t *testing.T) { testErase(t, root(t)) })
	}
}

func testErase(t *testing.T, root cohort.Root) {
	cfg := compactor.Config{Root: root}
	for _, line := range secretLines {
		appendTo(t, root, "c", line)
		foldNow(t, cfg)
	}
	appendTo(t, root, "d", `{"run_id":"other","stage":"S","v":3}`)
	foldNow(t, cfg)
	before := contents(t, string(root))
	if len(secretsIn(t, durable.OS, root)) < 10 {
		t.Fatal("the secrets are not there before: is this test looking in the right place?")
	}
	dry, err := compactor.Erase(context.Background(), cfg, compactor.Erasure{RunID: "person"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, contents(t, string(root))); diff != "" {
		t.Errorf("without Apply something changed:\n%s", diff)
	}
	want := []compactor.ErasedRow{{Key: "person:S", Cohort: "c"}, {Key: "person:T", Cohort: "c", Withdrawn: true}}
	if diff := cmp.Diff(want, dry.Rows); diff != "" {
		t.Errorf("rows that would be erased (-want +got):\n%s", diff)
	}
	if dry.Actions != 1 {
		t.Errorf("%d actions would be erased, want 1", dry.Actions)
	}
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	if !done.IsDone() {
		t.Errorf("left: %+v", done.Holding)
	}
	if found := secretsIn(t, durable.OS, root); len(found) > 0 {
		t.Errorf("after the erasure:\n%s", strings.Join(found, "\n"))
	}
	if diff := cmp.Diff(map[string]string{"a:S": "1", "b:S": "out 1", "other:S": "3"}, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	again := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	if !again.IsDone() || len(again.Rows)+len(again.Gone)+len(again.Removed) > 0 {
		t.Errorf("once more: %+v", again)
	}
	// Writers that begin from now on stamp above it.
	if m := newestOn(t, root); m.HighestStamp < done.Stamp || done.Stamp == 0 {
		t.Errorf("the highest stamp is %d, and that of the erasure %d", m.HighestStamp, done.Stamp)
	}
	if gens, err := generations(durable.OS, root); err != nil || len(gens) != 2 {
		t.Errorf("generations %v, %v: want two", gens, err)
	}
}

// TestEraseFindsFlips flips bits of the newest index, and looks for a run without Apply: what a flipped bit hides is not passed over.
func TestEraseFindsFlips(t *testing.T) {
	root := newDamagedRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", secretLines...)
	foldNow(t, cfg)
	path := root.Data(newestOn(t, root).Index.Name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(data); at += 37 {
		put(t, path, flip(at)(slices.Clone(data)))
		done, err := compactor.Erase(context.Background(), cfg, compactor.Erasure{RunID: "person"})
		if err == nil {
			t.Fatalf("byte %d of %d is another one, and the rows are %v", at, len(data), done.Rows)
		}
	}
}

// TestEraseLiveStream erases a run whose writer goes on: it is named, and a later call finds nothing left.
func TestEraseLiveStream(t *testing.T) {
	root := newRoot(t)
	cfg := compactor.Config{Root: root}
	w := openWriter(t, root, "c")
	appendLines(t, w, secretLines...)
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	if len(done.Holding) != 1 || done.Holding[0].PID != os.Getpid() || done.Holding[0].Host == "" || done.Holding[0].Runs != 4 {
		t.Fatalf("left: %+v; want the stream, with its writer", done.Holding)
	}
	foldNow(t, cfg)
	if got := damage(t, root); got != "" {
		t.Errorf("while the stream is there, check finds\n%s", got)
	}
	replayed, err := audit.Replay(context.Background(), cfg, func(p audit.Problem) {
		if p.Damage {
			t.Errorf("while the stream is there, replay finds %v", p)
		}
	})
	if err != nil || replayed.Problems > 0 {
		t.Errorf("replay: %+v, %v", replayed, err)
	}
	// A record that comes now is a new run.
	appendLines(t, w, `{"run_id":"person","stage":"S","v":7}`)
	foldNow(t, cfg)
	want := map[string]string{"a:S": "1", "b:S": "out 1", "person:S": "7"}
	if diff := cmp.Diff(want, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	done = eraseNow(t, cfg, compactor.Erasure{})
	if !done.IsDone() || len(done.Removed) == 0 {
		t.Errorf("after the seal: %+v", done)
	}
	if diff := cmp.Diff(want, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestEraseStaysErased lets a stream come back, and imports what was erased: neither brings it back.
func TestEraseStaysErased(t *testing.T) {
	root := newRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", secretLines...)
	saved := t.TempDir()
	if err := os.CopyFS(saved, os.DirFS(root.Cohorts())); err != nil {
		t.Fatal(err)
	}
	foldNow(t, cfg)
	if done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"}); !done.IsDone() {
		t.Fatalf("left: %+v", done.Holding)
	}
	appendTo(t, root, "d", `{"run_id":"o","stage":"S","v":1}`) // so that a generation knows nothing of the stream that comes back
	foldNow(t, cfg)
	if err := os.CopyFS(root.Cohorts(), os.DirFS(saved)); err != nil {
		t.Fatal(err)
	}
	for r, err := range compactor.Runs(context.Background(), cfg, true) {
		if err != nil || r.RunID == "person" {
			t.Errorf("before a fold has read it, runs tells of %v, %v", r, err)
		}
	}
	said := &notices{}
	report := foldNow(t, compactor.Config{Root: root, Notify: said.add})
	if report.Dropped != 3 || report.DroppedActions != 1 || !strings.Contains(said.text(), "erased runs were not taken") {
		t.Errorf("%d records and %d actions dropped, said %q", report.Dropped, report.DroppedActions, said.text())
	}
	want := map[string]string{"a:S": "1", "b:S": "out 1", "o:S": "1"}
	if diff := cmp.Diff(want, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if done := eraseNow(t, cfg, compactor.Erasure{}); !done.IsDone() {
		t.Errorf("left: %+v", done.Holding)
	}
	if found := secretsIn(t, durable.OS, root); len(found) > 0 {
		t.Errorf("after the stream came back:\n%s", strings.Join(found, "\n"))
	}
	r := parse(t, secretLines[2])
	r.Cohort = "c"
	im, err := compactor.Import(context.Background(), cfg, []compactor.Imported{{Record: r, Seq: 2}}, false)
	if err != nil || im.Erased != 1 || im.Taken != 0 {
		t.Errorf("import: %+v, %v", im, err)
	}
	if diff := cmp.Diff(want, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestEraseQuarantine erases what quarantine/ keeps of a run: notes about damaged bytes, the damaged stream, and files of generations.
func TestEraseQuarantine(t *testing.T) {
	root := newDamagedRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", secretLines...)
	segment := root.Segment("c", listed(t, root)[0].ID)
	data, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	change(t, segment, flip(bytes.Index(data, []byte("secret-one"))))
	if r := foldNow(t, cfg); r.Damage != 1 {
		t.Fatalf("%d damaged places", r.Damage)
	}
	store, err := cfg.Store()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{root.Index(), root.Snapshots()} {
		if _, err := store.Keep(path); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(t, root, "c", `{"run_id":"o","stage":"S","v":1}`)
	foldNow(t, cfg)
	unreadable := filepath.Join(root.DamagedGenerations(), "index-00000000000000000001-0123456789abcdef.parquet")
	put(t, unreadable, []byte(`garbage`))
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	if len(done.Holding) != 1 || done.Holding[0].Path != root.Rel(unreadable) {
		t.Fatalf("left: %+v; want what cannot be read", done.Holding)
	}
	if err := os.Remove(unreadable); err != nil {
		t.Fatal(err)
	}
	if done := eraseNow(t, cfg, compactor.Erasure{}); !done.IsDone() {
		t.Errorf("left: %+v", done.Holding)
	}
	if found := secretsIn(t, durable.OS, root); len(found) > 0 {
		t.Errorf("after the erasure:\n%s", strings.Join(found, "\n"))
	}
	if diff := cmp.Diff(map[string]string{"a:S": "1", "b:S": "out 1", "o:S": "1"}, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestEraseLooksThroughAll erases a run whose name stands far behind in a damaged record.
func TestEraseLooksThroughAll(t *testing.T) {
	root := newDamagedRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", secretLines...)
	foldNow(t, cfg)
	appendTo(t, root, "c", `{"note":"secret-one","pad":"`+strings.Repeat("x", 3<<20)+`","run_id":"person","stage":"S"}`)
	change(t, root.Segment("c", listed(t, root)[0].ID), flip(1<<20))
	live, err := compactor.Erase(context.Background(), cfg, compactor.Erasure{RunID: "person"})
	if err != nil || !slices.ContainsFunc(live.Holding, func(h compactor.Holding) bool { return strings.HasPrefix(h.Path, "cohorts/") }) {
		t.Errorf("before a fold it stands in %+v, %v; want the stream, too", live.Holding, err)
	}
	if r := foldNow(t, cfg); r.Damage != 1 {
		t.Fatalf("%d damaged places", r.Damage)
	}
	if done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"}); !done.IsDone() {
		t.Errorf("left: %+v", done.Holding)
	}
	if found := secretsIn(t, durable.OS, root); len(found) > 0 {
		t.Errorf("after the erasure:\n%s", strings.Join(found, "\n"))
	}
}

// blind is a file system on which one file cannot be opened, wherever its directory lies.
type blind struct {
	durable.FS
	name string // and its directory
}

func (b blind) Open(name string) (durable.ReadFile, error) {
	if strings.HasSuffix(name, string(filepath.Separator)+b.name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EIO}
	}
	return b.FS.Open(name)
}

// TestEraseNamesUnread makes each file in turn one that cannot be opened. An erasure names what it cannot read, or it fails.
func TestEraseNamesUnread(t *testing.T) {
	root := newDamagedRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", secretLines...)
	foldNow(t, cfg)
	appendTo(t, root, "c", secretLines[2])
	segment := root.Segment("c", listed(t, root)[0].ID)
	data, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	change(t, segment, flip(bytes.Index(data, []byte("secret-one"))))
	foldNow(t, cfg)
	appendTo(t, root, "c", secretLines[2])
	disk := loaded(t, root)
	walkOn(t, disk, string(root), func(path string, _ []byte) {
		name := filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
		disk := loaded(t, root)
		cfg := compactor.Config{Root: root, FS: blind{disk, name}, Lock: yes{}}
		done, err := compactor.Erase(context.Background(), cfg, compactor.Erasure{RunID: "person", Apply: true})
		if found := secretsIn(t, disk, root); err == nil && done.IsDone() && len(found) > 0 {
			t.Errorf("%s cannot be opened, and the erasure is done; but\n%s", name, strings.Join(found, "\n"))
		}
	})
}

// TestEraseNamesDamagedNotes names a note that cannot be read, and whose stream is gone: nobody knows whose bytes it has.
func TestEraseNamesDamagedNotes(t *testing.T) {
	root := newDamagedRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", secretLines...)
	stream := listed(t, root)[0].ID
	segment := root.Segment("c", stream)
	data, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	change(t, segment, flip(bytes.Index(data, []byte("secret-one"))))
	foldNow(t, cfg)
	for _, dir := range []string{root.Stream("c", stream), root.Quarantined("c", stream)} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	notes, err := filepath.Glob(filepath.Join(root.Quarantine("c"), "*.json"))
	if err != nil || len(notes) != 1 {
		t.Fatalf("notes %v, %v", notes, err)
	}
	change(t, notes[0], func(data []byte) []byte { return data[:len(data)-8] })
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	if len(done.Holding) != 1 || done.Holding[0].Path != root.Rel(notes[0]) {
		t.Errorf("left: %+v; want the note", done.Holding)
	}
}

// TestEraseKeepsStrangers leaves a stream in quarantine/ that no fold has taken: what else it has is nowhere else.
func TestEraseKeepsStrangers(t *testing.T) {
	for name, line := range map[string]string{
		"a record":                          `{"run_id":"unseen","stage":"S","v":1}`,
		"an action":                         `{"action":"withdraw","run_id":"a","reason":"unseen"}`,
		"an action like one that was taken": secretLines[6],
	} {
		t.Run(name, func(t *testing.T) {
			root := newDamagedRoot(t)
			appendTo(t, root, "c", secretLines...)
			foldNow(t, compactor.Config{Root: root})
			appendTo(t, root, "c", secretLines[1], line)
			eraseNamesQuarantined(t, root, "no fold has taken")
		})
	}
}

// TestEraseRemovesTaken removes a stream in quarantine/ whose other records and actions a fold has taken.
func TestEraseRemovesTaken(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", secretLines...)
	saved := t.TempDir()
	if err := os.CopyFS(saved, os.DirFS(root.Cohorts())); err != nil {
		t.Fatal(err)
	}
	foldNow(t, compactor.Config{Root: root})
	if err := os.CopyFS(root.Cohorts(), os.DirFS(saved)); err != nil {
		t.Fatal(err)
	}
	eraseNamesQuarantined(t, root, "")
}

// eraseNamesQuarantined puts the only stream of a root into quarantine/, and erases the run "person". The stream must be named with a reason
// that has these words, or be gone if why is empty.
func eraseNamesQuarantined(t *testing.T, root cohort.Root, why string) {
	t.Helper()
	s := listed(t, root)[0]
	dir := root.Quarantined("c", s.ID)
	if err := os.MkdirAll(root.Quarantine("c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(root.Stream("c", s.ID), dir); err != nil {
		t.Fatal(err)
	}
	done := eraseNow(t, compactor.Config{Root: root}, compactor.Erasure{RunID: "person"})
	_, err := os.Stat(dir)
	if why == "" {
		if !done.IsDone() || !os.IsNotExist(err) {
			t.Errorf("left: %+v, and stat %s: %v; want that the stream is gone", done.Holding, dir, err)
		}
		return
	}
	if len(done.Holding) != 1 || done.Holding[0].Path != root.Rel(dir) || !strings.Contains(done.Holding[0].Why, why) || err != nil {
		t.Errorf("left: %+v, and stat %s: %v; want the stream, as %q", done.Holding, dir, err, why)
	}
}

// TestEraseNamesLinks tells of a hard link to a file that it removes.
func TestEraseNamesLinks(t *testing.T) {
	root := toErase(t, newRoot(t))
	name := newestOn(t, root).Index.Name
	if err := os.Link(root.Data(name), filepath.Join(t.TempDir(), "copy")); err != nil {
		t.Skip(err)
	}
	done := eraseNow(t, compactor.Config{Root: root}, compactor.Erasure{RunID: "person"})
	if len(done.Holding) != 1 || done.Holding[0].Path != "data/"+name || !strings.Contains(done.Holding[0].Why, "another name") {
		t.Errorf("left: %+v; want the link", done.Holding)
	}
}

// TestCertificate changes each statement of a certificate: Verify finds it.
func TestCertificate(t *testing.T) {
	root := toErase(t, newRoot(t))
	cfg := compactor.Config{Root: root}
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	good, err := compactor.Certify(cfg, done, "somebody@here")
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, root, "c", `{"run_id":"o","stage":"S","v":1}`)
	foldNow(t, cfg)
	for name, change := range map[string]func(*compactor.Certificate){
		"":                   func(*compactor.Certificate) {},
		"no tombstone":       func(c *compactor.Certificate) { c.Digests = append(c.Digests, cohort.NameDigest{1}) },
		"a later stamp":      func(c *compactor.Certificate) { c.Stamp++ },
		"another base":       func(c *compactor.Certificate) { c.From.SHA256 = strings.Repeat("0", 64) },
		"another generation": func(c *compactor.Certificate) { c.Clean[0].SHA256 = strings.Repeat("0", 64) },
		"gone only later":    func(c *compactor.Certificate) { c.Since += 2 },
		"a row that stands": func(c *compactor.Certificate) {
			store, err := cfg.Store()
			if err != nil {
				t.Fatal(err)
			}
			all, err := store.Erased(newestOn(t, root))
			if err != nil {
				t.Fatal(err)
			}
			c.Digests, c.Stamp = append(c.Digests, all.Salt.OfKey("a:S")), c.Stamp+1<<40
		},
	} {
		c := good
		c.Digests, c.Clean = slices.Clone(good.Digests), slices.Clone(good.Clean)
		change(&c)
		wrong, err := c.Verify(context.Background(), cfg)
		if err != nil || (len(wrong) == 0) != (name == "") {
			t.Errorf("%q: %v, %v", name, wrong, err)
		}
	}
}
