package acceptance

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var old = flag.String("old", "", "the `commit` whose commands meet those of today in TestMatrix: make test-matrix gives one")

// newer is what every program says of a file that a later one wrote.
const newer = "written by a newer version of runfold"

// TestMatrix lets the commands of an earlier commit and those of today work on one root. Whatever the order: what was
// acknowledged is there, old programs say "newer" of what they cannot read and leave it as it is, and programs of today read
// and fold all of it.
func TestMatrix(t *testing.T) {
	if *old == "" {
		t.Skip("no -old: make test-matrix runs this with the commands of an earlier commit")
	}
	then, now := earlier(t, *old), programs("")

	t.Run("old writers, then today's compactor and writers", func(t *testing.T) {
		m := newMatrix(t, then)
		m.appendAtOnce(t, then, then, then, then)
		m.reads(t)
		m.folds(t)
		m.appendAtOnce(t, then, now, then, now) // onto what today's compactor left
		m.folds(t)
	})

	t.Run("today's writers, then the old compactor", func(t *testing.T) {
		if then.readsStreamsOf(t, now) {
			t.Skip("the old programs know all that a stream of today has: they fold it")
		}
		m := newMatrix(t, then)
		m.appendAtOnce(t, then, then)
		folded := slices.Sorted(maps.Keys(m.acked))
		m.appendAtOnce(t, now, now, now)
		m.appendAndDie(t, now)
		before := streamsOf(t, m.root, folded, m.acked)
		for range 3 {
			_, stderr, code := then.run(t, "", "compactd", "once", "--root", m.root)
			if code != 4 || !strings.Contains(stderr, newer) {
				t.Errorf("old compactd once: exit code %d, want 4 and %q: %s", code, newer, stderr)
			}
		}
		for _, command := range []string{"check", "status", "repair"} {
			if _, stderr, code := then.run(t, "", "compactd", command, "--root", m.root); code != 0 {
				t.Errorf("old compactd %s: exit code %d: %s", command, code, stderr)
			}
		}
		if diff := cmp.Diff(folded, then.runs(t, m.root)); diff != "" {
			t.Errorf("rows of the old compactor (-the old writers' +its):\n%s", diff)
		}
		if diff := cmp.Diff(before, streamsOf(t, m.root, folded, m.acked)); diff != "" {
			t.Errorf("today's streams, changed by old commands (-before +after):\n%s", diff)
		}
		if left, err := filepath.Glob(filepath.Join(m.root, "quarantine", "*")); err != nil || len(left) > 0 {
			t.Errorf("quarantine holds %v, %v", left, err)
		}
		for path := range before {
			_, stderr, code := then.run(t, "", "compactd", "dump", filepath.Join(m.root, filepath.Dir(path)))
			if code != 1 || !strings.Contains(stderr, newer) {
				t.Errorf("old compactd dump: exit code %d, want 1 and %q: %s", code, newer, stderr)
			}
		}
		m.reads(t)
		m.folds(t)
	})

	t.Run("both at once, under today's compactor", func(t *testing.T) {
		m := newMatrix(t, now)
		done := make(chan struct{})
		var folding sync.WaitGroup
		folding.Go(func() {
			for {
				if _, stderr, code := now.run(t, "", "compactd", "once", "--root", m.root); code != 0 {
					t.Errorf("compactd once: exit code %d: %s", code, stderr)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
		m.appendAtOnce(t, then, now, then, now, then, now, then, now)
		close(done)
		folding.Wait()
		m.folds(t)

		m.refuses(t, then)
		m.folds(t)
	})

	t.Run("the old compactor, after today's has folded", func(t *testing.T) {
		m := newMatrix(t, then)
		m.appendAtOnce(t, then, then)
		m.foldsWith(t, then)
		if words := m.foldsWith(t, now); strings.Contains(words, "older programs") { // nothing to fold is no step
			t.Errorf("today's compactor, which had nothing to do, says %s", words)
		}
		m.foldsWith(t, then)
		m.appendAtOnce(t, then)
		manifest, index := m.versions(t)
		words := m.foldsWith(t, now)
		for _, part := range []string{
			fmt.Sprintf("the root's manifests were of version %d and are of version 4 from now on", manifest), fmt.Sprintf("its format was version %d and is version 3", index),
		} {
			if strings.Count(words, part) != 1 {
				t.Errorf("the first fold of today's compactor says not once %q: %s", part, words)
			}
		}
		m.refuses(t, then)
		m.appendAtOnce(t, then, now, then) // old writers go on
		m.refuses(t, then)
		if words := m.foldsWith(t, now); strings.Contains(words, "version") {
			t.Errorf("the second fold of today's compactor says %s", words)
		}
		m.folds(t)
	})

	t.Run("the last write wins, from both versions", func(t *testing.T) {
		m := newMatrix(t, then)
		for n, p := range []programs{then, now, then, now, then, now} {
			m.appendOne(t, p, fmt.Sprintf(`{"run_id":"same","stage":"S","metrics":{"n":%d.5}}`, n))
		}
		m.folds(t)
		m.holds(t, "folded at once", "same", `"metrics.n":5.5`)
	})

	t.Run("one record id with other bytes", func(t *testing.T) {
		for name, between := range map[string]func(*matrix){
			"folded at once":    func(*matrix) {},
			"folded one by one": func(m *matrix) { m.folds(t) },
		} {
			m := newMatrix(t, then)
			for n, p := range []programs{then, now, then, now, now, then} {
				m.appendOne(t, p, fmt.Sprintf(`{"run_id":"same","stage":"S","record_id":"mine","metrics":{"n":%d.5}}`, n))
				between(m)
			}
			m.folds(t)
			m.holds(t, name, "same", `"metrics.n":5.5`)
		}
	})

	t.Run("a row of the old compactor, appended again", func(t *testing.T) {
		const line = `{"run_id":"same","stage":"S","record_id":"mine","timestamp":"2026-03-01T12:00:00Z","metrics":{"n":1.5}}`
		for name, writer := range map[string]programs{"by an old writer": then, "by one of today": now} {
			m := newMatrix(t, then)
			m.appendOne(t, then, line)
			m.foldsWith(t, then)
			m.appendOne(t, writer, line)
			if words := m.foldsWith(t, now); !strings.Contains(words, "0 added, 0 replaced") {
				t.Errorf("%s: the fold of a repeat says %s", name, words)
			}
			m.folds(t)
			m.holds(t, name, "same", `"snapshot_seq":1,`)
			m.appendOne(t, writer, line) // and onto a row that today's compactor wrote again
			m.folds(t)
			m.holds(t, name, "same", `"snapshot_seq":1,`)
			m.appendOne(t, writer, `{"run_id":"same","stage":"S","record_id":"other","metrics":{"n":2.5}}`)
			m.folds(t)
			m.holds(t, name, "same", `"metrics.n":2.5`)
		}
	})
}

// programs is the directory of commands; empty are those of today.
type programs string

// earlier builds the commands of a commit. Where the commit is not, there is nothing to test.
func earlier(t *testing.T, commit string) programs {
	t.Helper()
	dir, top := t.TempDir(), filepath.Join("..", "..")
	run := func(in string, args ...string) error {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = in
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", args, err, out)
		}
		return nil
	}
	if err := run(top, "git", "cat-file", "-e", commit+"^{commit}"); err != nil {
		t.Skipf("this clone does not have the commit %s, whose commands are to be built (git fetch --unshallow brings it): %v", commit, err)
	}
	for _, step := range []struct {
		in   string
		args []string
	}{
		{top, []string{"git", "archive", "-o", filepath.Join(dir, "source.tar"), commit}},
		{dir, []string{"tar", "-xf", "source.tar"}},
		{dir, []string{"go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "bin") + string(filepath.Separator), "./cmd/..."}},
	} {
		if err := run(step.in, step.args...); err != nil {
			t.Fatal(err)
		}
	}
	return programs(filepath.Join(dir, "bin"))
}

func (p programs) command(name string, args ...string) *exec.Cmd {
	if p != "" {
		name = filepath.Join(string(p), name)
	}
	return exec.Command(name, args...)
}

// run runs a command to its end.
func (p programs) run(t *testing.T, stdin, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := p.command(name, args...)
	var out, words strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &words
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Errorf("%s %v: %v", name, args, err)
		return "", "", -1
	}
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

// runs are the run ids of the newest generation, in order.
func (p programs) runs(t *testing.T, root string) (ids []string) {
	t.Helper()
	stdout, stderr, code := p.run(t, "", "compactd", "runs", "--root", root)
	if code != 0 {
		t.Errorf("compactd runs: exit code %d: %s", code, stderr)
	}
	for line := range strings.Lines(stdout) {
		id, _, _ := strings.Cut(line, ":")
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// ack is what journal-append --ack says of a record.
type ack struct {
	RunID    string `json:"run_id"`
	RecordID string `json:"record_id"`
	Stream   string `json:"stream"`
}

// matrix is a root and what was acknowledged in it.
type matrix struct {
	root    string
	writers int
	mu      sync.Mutex     // guards acked
	acked   map[string]ack // by run id
}

func newMatrix(t *testing.T, by programs) *matrix {
	t.Helper()
	m := &matrix{root: filepath.Join(t.TempDir(), "runs"), acked: map[string]ack{}}
	if _, stderr, code := by.run(t, "", "compactd", "init", "--root", m.root); code != 0 {
		t.Fatalf("compactd init: exit code %d: %s", code, stderr)
	}
	return m
}

// appendAtOnce appends 20 records with each of the programs, all at one time.
func (m *matrix) appendAtOnce(t *testing.T, all ...programs) {
	t.Helper()
	var running sync.WaitGroup
	for _, p := range all {
		m.writers++
		lines := linesOf(m.writers)
		running.Go(func() {
			stdout, stderr, code := p.run(t, lines, "journal-append", "--root", m.root, "--cohort", "c", "--ack")
			if code != 0 {
				t.Errorf("journal-append of %q: exit code %d: %s", p, code, stderr)
			}
			m.note(t, stdout)
		})
	}
	running.Wait()
}

func linesOf(writer int) string {
	var lines strings.Builder
	for n := range 20 {
		fmt.Fprintf(&lines, `{"run_id":"%03d-%02d","stage":"S","metrics":{"n":%d.5},"note":"ü"}`+"\n", writer, n, n)
	}
	return lines.String()
}

// appendAndDie is appendAtOnce with a writer that is killed after its last acknowledgement: its stream has no seal.
func (m *matrix) appendAndDie(t *testing.T, p programs) {
	t.Helper()
	m.writers++
	cmd := p.command("journal-append", "--root", m.root, "--cohort", "c", "--ack")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if _, err := in.Write([]byte(linesOf(m.writers))); err != nil {
		t.Fatal(err)
	}
	var acks strings.Builder
	for d := json.NewDecoder(out); strings.Count(acks.String(), "\n") < 20; {
		var line json.RawMessage
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&acks, "%s\n", line)
	}
	m.note(t, acks.String())
}

func (m *matrix) note(t *testing.T, acks string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for line := range strings.Lines(acks) {
		var a ack
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		m.acked[a.RunID] = a
		n++
	}
	if n != 20 {
		t.Errorf("%d acknowledgements, want 20", n)
	}
}

// reads reads every stream with today's program, entry by entry: all that was acknowledged is there.
func (m *matrix) reads(t *testing.T) {
	t.Helper()
	got := map[string]ack{}
	for path := range segments(t, m.root) {
		stdout, stderr, code := programs("").run(t, "", "compactd", "dump", filepath.Dir(filepath.Join(m.root, path)))
		if code != 0 {
			t.Errorf("compactd dump %s: exit code %d: %s", path, code, stderr)
		}
		for line := range strings.Lines(stdout) {
			var e struct {
				Kind     string
				RecordID string `json:"record_id"`
				Payload  ack
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if e.Kind == "record" {
				got[e.Payload.RunID] = ack{e.Payload.RunID, e.RecordID, filepath.Base(filepath.Dir(path))}
			}
		}
	}
	if diff := cmp.Diff(m.acked, got); diff != "" {
		t.Errorf("records in streams (-acknowledged +read):\n%s", diff)
	}
}

// appendOne appends a record that is not one of those which reads and folds look for.
func (m *matrix) appendOne(t *testing.T, p programs, line string) {
	t.Helper()
	if _, stderr, code := p.run(t, line, "journal-append", "--root", m.root, "--cohort", "c"); code != 0 {
		t.Errorf("journal-append of %q: exit code %d: %s", p, code, stderr)
	}
}

// holds looks for the one row of a run, and for something in it.
func (m *matrix) holds(t *testing.T, what, run, part string) {
	t.Helper()
	stdout, stderr, code := programs("").run(t, "", "compactd", "dump", filepath.Join(m.root, "index.parquet"))
	rows := slices.DeleteFunc(strings.Split(stdout, "\n"), func(line string) bool { return !strings.HasPrefix(line, `{"run_id":"`+run+`"`) })
	if code != 0 || len(rows) != 1 || !strings.Contains(rows[0], part) {
		t.Errorf("%s: compactd dump: exit code %d, rows of %s are %q, want one with %s: %s", what, code, run, rows, part, stderr)
	}
}

// readsStreamsOf tells whether these programs can read a stream that others write.
func (p programs) readsStreamsOf(t *testing.T, others programs) bool {
	t.Helper()
	m := newMatrix(t, others)
	m.appendAtOnce(t, others)
	for path := range segments(t, m.root) {
		if _, _, code := p.run(t, "", "compactd", "dump", filepath.Join(m.root, filepath.Dir(path))); code != 0 {
			return false
		}
	}
	return true
}

// versions are those of the newest manifest, and of the index that such a generation writes.
func (m *matrix) versions(t *testing.T) (manifest, index int) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(m.root, "manifests", "*.json"))
	if err != nil || len(all) == 0 {
		t.Fatalf("%d manifests, %v", len(all), err)
	}
	data, err := os.ReadFile(slices.Max(all))
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ Version int }
	if err := json.Unmarshal(data, &said); err != nil {
		t.Fatal(err)
	}
	return said.Version, max(1, said.Version-1)
}

// refuses tries all commands of old programs on a root that today's compactor has folded. Each says that it is newer, and
// changes nothing.
func (m *matrix) refuses(t *testing.T, then programs) {
	t.Helper()
	dirs := []string{"manifests", "data", "cohorts", "reaped", "quarantine", "index.parquet", "snapshot_index.json"}
	before := files(t, m.root, dirs...)
	for _, command := range []string{"once", "check", "status", "repair", "repair --apply", "runs", "runs --unfolded", "previous --cohort c --run-id 001-01 --stage S"} {
		args := append(strings.Fields(command), "--root", m.root)
		if _, stderr, code := then.run(t, "", "compactd", args...); code != 1 || !strings.Contains(stderr, newer) {
			t.Errorf("old compactd %s: exit code %d, want 1 and %q: %s", command, code, newer, stderr)
		}
	}
	if _, stderr, code := then.run(t, "", "compactd", "dump", filepath.Join(m.root, "index.parquet")); code != 1 || !strings.Contains(stderr, newer) {
		t.Errorf("old compactd dump index.parquet: exit code %d, want 1 and %q: %s", code, newer, stderr)
	}
	if diff := cmp.Diff(before, files(t, m.root, dirs...)); diff != "" {
		t.Errorf("what old commands changed (-before +after):\n%s", diff)
	}
}

// foldsWith folds once with a program's compactor and returns what it says.
func (m *matrix) foldsWith(t *testing.T, p programs) (words string) {
	t.Helper()
	_, words, code := p.run(t, "", "compactd", "once", "--root", m.root)
	if code != 0 {
		t.Errorf("compactd once of %q: exit code %d: %s", p, code, words)
	}
	return words
}

// folds folds with today's compactor: the rows are those of all runs that were acknowledged, and all is well.
func (m *matrix) folds(t *testing.T) {
	t.Helper()
	m.foldsWith(t, "")
	if stdout, stderr, code := programs("").run(t, "", "compactd", "check", "--root", m.root); code != 0 {
		t.Errorf("compactd check: exit code %d: %s%s", code, stdout, stderr)
	}
	want := slices.Sorted(maps.Keys(m.acked))
	if got := programs("").runs(t, m.root); len(want) > 0 && !cmp.Equal(want, got) {
		t.Errorf("rows (-acknowledged +folded):\n%s", cmp.Diff(want, got))
	}
}

// segments are the segments of all streams of a root, with their bytes.
func segments(t *testing.T, root string) map[string]string {
	return files(t, root, "cohorts", "reaped")
}

// files are those under some names of a root, with their bytes, without the locks.
func files(t *testing.T, root string, names ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range names {
		err := fs.WalkDir(os.DirFS(root), name, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && path == name {
				return nil
			}
			if err != nil || e.IsDir() || e.Name() == "writer.lock" {
				return err
			}
			data, err := os.ReadFile(filepath.Join(root, path))
			out[filepath.FromSlash(path)] = string(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// streamsOf are the segments that hold no run of some.
func streamsOf(t *testing.T, root string, but []string, acked map[string]ack) map[string]string {
	t.Helper()
	all := segments(t, root)
	for _, run := range but {
		maps.DeleteFunc(all, func(path, _ string) bool { return filepath.Base(filepath.Dir(path)) == acked[run].Stream })
	}
	return all
}
