package compactor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

var seed = compactor.Seed

// newRoot makes a root that lasts as long as the test and is audited at its end, whatever the test was
// about.
func newRoot(t testing.TB) cohort.Root {
	t.Helper()
	return audited(t, newDamagedRoot(t))
}

func audited(t testing.TB, root cohort.Root) cohort.Root {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		done, err := audit.Replay(context.Background(), compactor.Config{Root: root}, func(p audit.Problem) {
			if p.Damage {
				t.Errorf("at the end of the test, check finds %v", p)
			}
		})
		if err != nil || done.FromStreams+done.FromGenerations+done.NoSource != done.Of {
			t.Errorf("at the end of the test, Replay = %v, %v", done, err)
		}
		allSayTheirVerb(t, root)
	})
	return root
}

// allSayTheirVerb is for those who write a new kind of commit: history has nothing else to tell what it was.
func allSayTheirVerb(t testing.TB, root cohort.Root) {
	t.Helper()
	gens, err := generations(durable.OS, root)
	if err != nil {
		t.Error(err)
	}
	for _, g := range gens {
		if m, err := manifest(durable.OS, root, g); err == nil && m.Verb == "" {
			t.Errorf("manifest %d does not say its verb: set Draft.Verb and Draft.Changed where it is drafted", uint64(g))
		}
	}
}

// newCohortsRoot is newRoot with snapshots per cohort.
func newCohortsRoot(t testing.TB) cohort.Root {
	t.Helper()
	return audited(t, newRootWith(t, cohort.Settings{Snapshots: cohort.PerCohort}))
}

// newDamagedRoot is newRoot for tests that damage their root.
func newDamagedRoot(t testing.TB) cohort.Root {
	t.Helper()
	return newRootWith(t, cohort.Settings{})
}

func newRootWith(t testing.TB, s cohort.Settings) cohort.Root {
	t.Helper()
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := journal.InitRoot(root, s, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	return root
}

func check(t testing.TB, root cohort.Root) []audit.Problem {
	t.Helper()
	return checkOn(t, durable.OS, root)
}

func checkOn(t testing.TB, fsys durable.FS, root cohort.Root) []audit.Problem {
	t.Helper()
	var out []audit.Problem
	if _, err := audit.Check(context.Background(), compactor.Config{Root: root, FS: fsys}, func(p audit.Problem) { out = append(out, p) }); err != nil {
		t.Fatalf("Check: %v", err)
	}
	return out
}

// damage is what check finds wrong, as text.
func damage(t testing.TB, root cohort.Root) string {
	t.Helper()
	return damageOn(t, durable.OS, root)
}

func damageOn(t testing.TB, fsys durable.FS, root cohort.Root) string {
	t.Helper()
	var out []string
	for _, p := range checkOn(t, fsys, root) {
		if p.Damage {
			out = append(out, p.String())
		}
	}
	return strings.Join(out, "\n")
}

func parse(t testing.TB, line string) cohort.Record {
	t.Helper()
	r, err := cohort.ParseRecord([]byte(line), 0)
	if strings.HasPrefix(line, `{"action":`) {
		r, err = cohort.ParseAction([]byte(line))
	}
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return r
}

// appendTo appends lines with a Writer of its own, which it closes.
func appendTo(t testing.TB, root cohort.Root, id cohort.ID, lines ...string) {
	t.Helper()
	w := openWriter(t, root, id)
	appendLines(t, w, lines...)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func openWriter(t testing.TB, root cohort.Root, id cohort.ID) *journal.Writer {
	t.Helper()
	w, err := journal.Create(root, id, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func appendLines(t testing.TB, w *journal.Writer, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if err := w.Append([]cohort.Record{parse(t, line)}); err != nil {
			t.Fatalf("append %s: %v", line, err)
		}
	}
}

// foldNow folds and expects that nothing is wrong.
func foldNow(t testing.TB, cfg compactor.Config) compactor.Report {
	t.Helper()
	report, err := compactor.Fold(context.Background(), cfg)
	if err != nil {
		t.Fatalf("Fold: %v", err)
	}
	return report
}

// notices collects what a run says.
type notices struct {
	mu   sync.Mutex // guards list
	list []compactor.Notice
}

func (n *notices) add(notice compactor.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, notice)
}

// text is all notices but those of publishing, one a line.
func (n *notices) text() string {
	var out []string
	for _, notice := range n.list {
		if p, ok := notice.(generation.Published); !ok || p.Healed || p.Late {
			out = append(out, notice.String())
		}
	}
	return strings.Join(out, "\n")
}

// rows are the published rows by key: columns laid over _extra, without what differs from run to run.
func rows(t testing.TB, root cohort.Root) map[string]string {
	t.Helper()
	return rowsOn(t, durable.OS, root)
}

func rowsOn(t testing.TB, fsys durable.FS, root cohort.Root) map[string]string {
	t.Helper()
	out := map[string]string{}
	for row := range publishedRows(t, fsys, root) {
		fields := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(row), &fields); err != nil {
			t.Fatalf("row %s: %v", row, err)
		}
		var extra map[string]json.RawMessage
		if raw, ok := fields["_extra"]; ok {
			if err := json.Unmarshal(raw, &extra); err != nil {
				t.Fatalf("_extra of %s: %v", row, err)
			}
		}
		for name, value := range extra {
			fields[name] = value
		}
		var key string
		if err := json.Unmarshal(fields["_key"], &key); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"_key", "_extra", "_stamp", "_stream", "_writer", "_record_id", "_digest", "snapshot_seq"} {
			delete(fields, name)
		}
		for name, value := range fields { // a column that became double prints integers as 1.0
			var f float64
			if json.Unmarshal(value, &f) == nil {
				fields[name] = fmt.Appendf(nil, "%v", f)
			}
		}
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := out[key]; twice {
			t.Errorf("key %q stands twice", key)
		}
		out[key] = string(text)
	}
	return out
}

// publishedRows yields the rows of index.parquet as JSON.
func publishedRows(t testing.TB, fsys durable.FS, root cohort.Root) func(func(string) bool) {
	t.Helper()
	return func(yield func(string) bool) {
		file, err := fsys.Open(root.Index())
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		ix, err := index.Open(file, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		for row, err := range ix.Rows() {
			if err != nil {
				t.Fatal(err)
			}
			if !yield(string(row)) {
				return
			}
		}
	}
}

// streamsLeft is how many streams stand under cohorts/.
func streamsLeft(t testing.TB, root cohort.Root) int {
	t.Helper()
	return len(listed(t, root))
}

// listed are the streams under cohorts/.
func listed(t testing.TB, root cohort.Root) []journal.Stream {
	t.Helper()
	return listedOn(t, durable.OS, root, false)
}

// listedOn are the streams that lie in reaped/, or in their cohorts. Nobody else may have put anything beside those in reaped/.
func listedOn(t testing.TB, fsys durable.FS, dir cohort.Root, reaped bool) (streams []journal.Stream) {
	t.Helper()
	root := openRootOn(t, fsys, dir)
	all, unknown, err := root.Streams()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range unknown {
		if strings.HasPrefix(path, dir.ReapedDir()) {
			t.Errorf("%s lies in reaped/", path)
		}
	}
	for _, p := range all {
		if p.Reaped == reaped {
			streams = append(streams, p.Stream)
		}
	}
	return streams
}

func openRoot(t testing.TB, dir cohort.Root) journal.Root {
	t.Helper()
	return openRootOn(t, durable.OS, dir)
}

func openRootOn(t testing.TB, fsys durable.FS, dir cohort.Root) journal.Root {
	t.Helper()
	r, err := journal.OpenRoot(dir, journal.RootOptions{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// yes is a Locker that always says yes.
type yes struct{}

func (yes) Lock(context.Context) (lock.Held, error) { return lock.Without{}, nil }

// The first and the second fold of the tests below: the second replaces a row and sweeps.
var (
	firstLines  = []string{`{"run_id":"a","stage":"S","v":1}`, `{"run_id":"b","stage":"S","v":1}`}
	secondLines = []string{`{"run_id":"b","stage":"S","v":2}`, `{"run_id":"c","stage":"S","v":2}`}
	bothRows    = map[string]string{"a:S": "1", "b:S": "2", "c:S": "2"}
)

// The same with actions: the second fold moves a row out of the index and one back, brings one that is withdrawn at once, and refuses
// a withdrawal.
var (
	firstActs = append([]string{
		`{"run_id":"o","stage":"S","v":1}`, `{"run_id":"p","stage":"S","v":1}`, `{"run_id":"s","stage":"S","v":1}`,
		`{"action":"withdraw","run_id":"o","stage":"S"}`, `{"action":"protect","run_id":"p"}`,
	}, firstLines...)
	secondActs = append(secondLines[:2:2], `{"action":"undo","run_id":"o"}`, `{"action":"withdraw","run_id":"p"}`,
		`{"action":"withdraw","run_id":"s","stage":"S"}`, `{"action":"withdraw","run_id":"c"}`)
	actedRows = map[string]string{"a:S": "1", "b:S": "2", "c:S": "out 2", "o:S": "1", "p:S": "1", "s:S": "out 1"}
)

// actedIn is preparedIn with actions.
func actedIn(t testing.TB, root cohort.Root) cohort.Root {
	t.Helper()
	appendTo(t, root, "c", firstActs...)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", secondActs...)
	return root
}

// values are the rows of a root as key -> v, also the withdrawn ones, as "out v".
func values(t testing.TB, root cohort.Root) map[string]string {
	t.Helper()
	return valuesOn(t, durable.OS, root)
}

func valuesOn(t testing.TB, fsys durable.FS, root cohort.Root) map[string]string {
	t.Helper()
	out := map[string]string{}
	for key, row := range rowsOn(t, fsys, root) {
		_, rest, _ := strings.Cut(row, `"v":`)
		out[key] = rest[:1]
	}
	m, err := newest(fsys, root)
	if err != nil || m.Withdrawn == nil {
		return out
	}
	for _, line := range withdrawnOf(t, fsys, root) {
		if !strings.HasPrefix(line, `{"run_id"`) {
			continue // snapshots, or an action
		}
		key, v := cohort.FieldText([]byte(line), "_key"), cohort.FieldText([]byte(line), "v")
		if _, twice := out[key]; twice {
			t.Errorf("%s stands in both pairs", key)
		}
		out[key] = "out " + v
	}
	return out
}

// prepared is a root after one fold and before another.
func prepared(t testing.TB) cohort.Root {
	t.Helper()
	return preparedIn(t, newRoot(t))
}

// preparedToExpire is prepared with one more generation, which the next fold sweeps where no more than two are kept.
func preparedToExpire(t testing.TB) cohort.Root {
	t.Helper()
	root := newRoot(t)
	appendTo(t, root, "c", firstLines[0])
	foldNow(t, compactor.Config{Root: root})
	return preparedIn(t, root)
}

// actedToExpire is preparedToExpire with actions.
func actedToExpire(t testing.TB) cohort.Root {
	t.Helper()
	root := newRoot(t)
	appendTo(t, root, "c", firstActs[0], firstActs[3])
	foldNow(t, compactor.Config{Root: root})
	return actedIn(t, root)
}

func preparedIn(t testing.TB, root cohort.Root) cohort.Root {
	t.Helper()
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", secondLines...)
	return root
}

// newest is the newest manifest of a root on a disk.
func newest(disk durable.FS, root cohort.Root) (generation.Manifest, error) {
	return generation.New(generation.Store{FS: disk, Root: root}).Newest()
}

// manifest is that of one generation.
func manifest(disk durable.FS, root cohort.Root, g cohort.Generation) (generation.Manifest, error) {
	return generation.New(generation.Store{FS: disk, Root: root}).Read(g)
}

// generations are the numbers of all manifests.
func generations(disk durable.FS, root cohort.Root) ([]cohort.Generation, error) {
	return generation.New(generation.Store{FS: disk, Root: root}).List()
}

// streamAt reads the name of a stream off its directory.
func streamAt(dir string) (journal.Stream, error) {
	id, err := cohort.ParseStreamID(filepath.Base(dir))
	return journal.Stream{Cohort: cohort.ID(filepath.Base(filepath.Dir(dir))), ID: id}, err
}

func put(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := durable.Replace(durable.OS, name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// contents is every file below a directory: its mode, its time and its bytes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += info.ModTime().String() + string(data)
		}
		out[path] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
