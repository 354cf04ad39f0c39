package compactor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestEraseKeepsStrangers leaves a stream in quarantine/ that no fold has taken: its other records are nowhere else.
func TestEraseKeepsStrangers(t *testing.T) {
	root := newDamagedRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", secretLines...)
	foldNow(t, cfg)
	appendTo(t, root, "c", secretLines[1], `{"run_id":"unseen","stage":"S","v":1}`)
	s := listed(t, root)[0]
	if err := os.MkdirAll(root.Quarantine("c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(root.Stream("c", s.ID), root.Quarantined("c", s.ID)); err != nil {
		t.Fatal(err)
	}
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	if len(done.Holding) != 1 || done.Holding[0].Path != root.Rel(root.Quarantined("c", s.ID)) || !strings.Contains(done.Holding[0].Why, "no fold has taken") {
		t.Errorf("left: %+v; want the stream", done.Holding)
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
