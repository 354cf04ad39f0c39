package compactor_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// replay is Replay, and the damage that it finds.
func replay(t *testing.T, root cohort.Root) (audit.Replayed, []string) {
	t.Helper()
	var found []string
	done, err := audit.Replay(t.Context(), compactor.Config{Root: root}, func(p audit.Problem) {
		if p.Damage {
			found = append(found, p.Reason)
		}
	})
	if err != nil {
		t.Fatalf("Replay: %v", err)
	}
	if done.Problems != len(found) {
		t.Errorf("Replay counts %d problems and told %d", done.Problems, len(found))
	}
	return done, found
}

// forge changes a data file of the newest generation, in its place and as it is published, and makes a manifest that fits: all checksums are
// right.
func forge(t *testing.T, root cohort.Root, file generation.DataFile, public string, by func([]byte) []byte) {
	t.Helper()
	data := by(read(t, root.Data(file.Name)))
	for _, path := range []string{root.Data(file.Name), public} {
		if path != "" {
			overwrite(t, path, func([]byte) []byte { return data })
		}
	}
	m := newestOn(t, root)
	manifest := read(t, root.Manifest(m.Generation))
	_, members, _ := bytes.Cut(manifest, []byte("\n"))
	sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	said := regexp.MustCompile(`("name": "` + regexp.QuoteMeta(file.Name) + `",\s+"size": )\d+(,\s+"rows": \d+,\s+"crc32c": ")[0-9a-f]{8}"(?:,\s+"sections": "[^"]*")?`)
	members = said.ReplaceAll(members, fmt.Appendf(nil, "${1}%d${2}%08x\"", len(data), sum))
	overwrite(t, root.Manifest(m.Generation), func([]byte) []byte { return cohort.SealManifest(members) })
}

// withValue is an index with another value in a column of a row.
func withValue(t *testing.T, key, column string, value any) func([]byte) []byte {
	return func(data []byte) []byte {
		t.Helper()
		in, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w := parquet.NewGenericWriter[any](&out, in.Schema(), parquet.Compression(&parquet.Zstd), parquet.DataPageStatistics(true))
		for _, pair := range in.Metadata().KeyValueMetadata {
			w.SetKeyValueMetadata(pair.Key, pair.Value)
		}
		at, _ := in.Schema().Lookup(column)
		keyAt, _ := in.Schema().Lookup("_key")
		changed := 0
		for _, g := range in.RowGroups() {
			rows := make([]parquet.Row, g.NumRows())
			r := g.Rows()
			n, _ := r.ReadRows(rows)
			for _, row := range rows[:n] {
				if string(row[keyAt.ColumnIndex].ByteArray()) == key {
					row[at.ColumnIndex] = parquet.ValueOf(value).Level(0, row[at.ColumnIndex].DefinitionLevel(), at.ColumnIndex)
					changed++
				}
			}
			if _, err := w.WriteRows(rows[:n]); err != nil {
				t.Fatal(err)
			}
			r.Close()
		}
		if err := w.Close(); err != nil || changed != 1 {
			t.Fatalf("%d rows changed, %v", changed, err)
		}
		if x, err := index.Open(bytes.NewReader(out.Bytes()), int64(out.Len())); err != nil || x.NumRows() != in.NumRows() {
			t.Fatalf("the forged file is no index: %v", err)
		}
		return out.Bytes()
	}
}

// replayable is a root of four folds. Row a is in an older generation only, b in a stream, w and x are withdrawn: w is in an older
// generation, x in a stream.
func replayable(t *testing.T) cohort.Root {
	t.Helper()
	root := newDamagedRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`, `{"run_id":"w","stage":"S","v":1}`, `{"action":"withdraw","run_id":"w"}`)
	foldNow(t, compactor.Config{Root: root})
	for _, v := range []string{"2", "3"} {
		appendTo(t, root, "c", `{"run_id":"b","stage":"S","v":`+v+`}`)
		foldNow(t, compactor.Config{Root: root})
	}
	appendTo(t, root, "c", `{"run_id":"b","stage":"S","v":4}`, `{"run_id":"x","stage":"S","v":4}`, `{"run_id":"y","stage":"S","v":4}`, `{"action":"withdraw","run_id":"x"}`)
	foldNow(t, compactor.Config{Root: root})
	return root
}

// TestReplayFinds: one value is changed, or more, and all checksums are made to fit. Check finds nothing, Replay says what is there and what
// should be.
func TestReplayFinds(t *testing.T) {
	for name, test := range map[string]struct {
		forge func(t *testing.T, root cohort.Root, m generation.Manifest)
		want  []string
	}{
		"nothing": {func(*testing.T, cohort.Root, generation.Manifest) {}, nil},
		"a row with a stream": {func(t *testing.T, root cohort.Root, m generation.Manifest) {
			forge(t, root, m.Index, root.Index(), withValue(t, "b:S", "v", int64(9)))
		}, []string{`row "b:S" is not what stream c/ULID says: v is 9, should be 4`}},
		"a row without a stream": {func(t *testing.T, root cohort.Root, m generation.Manifest) {
			forge(t, root, m.Index, root.Index(), withValue(t, "a:S", "v", int64(9)))
		}, []string{`row "a:S" is not what generation 1 says: v is 9, should be 1`}},
		"a withdrawn row with a stream": {func(t *testing.T, root cohort.Root, m generation.Manifest) {
			forge(t, root, m.Withdrawn.Index, "", withValue(t, "x:S", "v", int64(9)))
		}, []string{`row "x:S" is not what stream c/ULID says: v is 9, should be 4`}},
		"a withdrawn row without a stream": {func(t *testing.T, root cohort.Root, m generation.Manifest) {
			forge(t, root, m.Withdrawn.Index, "", withValue(t, "w:S", "v", int64(9)))
		}, []string{`row "w:S" is not what generation 1 says: v is 9, should be 1`}},
		"an entry of the snapshots": {func(t *testing.T, root cohort.Root, m generation.Manifest) {
			forge(t, root, m.Snapshots[0].DataFile, root.Snapshots(), func(b []byte) []byte { return bytes.Replace(b, []byte(`"v":4`), []byte(`"v":9`), 1) })
		}, []string{`entry "b:S" is not what stream c/ULID says: is {"run_id":"b","stage":"S","timestamp":"TIME","snapshot_seq":5,"v":9}, should be {"run_id":"b","stage":"S","timestamp":"TIME","snapshot_seq":5,"v":4}`}},
		"the run of an entry": {func(t *testing.T, root cohort.Root, m generation.Manifest) {
			forge(t, root, m.Snapshots[0].DataFile, root.Snapshots(), func(b []byte) []byte {
				return bytes.Replace(b, []byte(`{"run_id":"b"`), []byte(`{"run_id":"B"`), 1)
			})
		}, []string{`entry "b:S" is not what stream c/ULID says: is {"run_id":"B","stage":"S","timestamp":"TIME","snapshot_seq":5,"v":4}, should be {"run_id":"b","stage":"S","timestamp":"TIME","snapshot_seq":5,"v":4}`}},
		"an entry of the withdrawn": {func(t *testing.T, root cohort.Root, m generation.Manifest) {
			forge(t, root, m.Withdrawn.Snapshots[0].DataFile, "", func(b []byte) []byte { return bytes.Replace(b, []byte(`"v":1`), []byte(`"v":9`), 1) })
		}, []string{`entry "w:S" is not what generation 1 says: is {"run_id":"w","stage":"S","timestamp":"TIME","snapshot_seq":2,"v":9}, should be {"run_id":"w","stage":"S","timestamp":"TIME","snapshot_seq":2,"v":1}`}},
		"a record id": {func(t *testing.T, root cohort.Root, m generation.Manifest) {
			forge(t, root, m.Index, root.Index(), withValue(t, "b:S", "_record_id", "zzz"))
		}, []string{`row "b:S" says that it came from stream ULID, which does not have its record`}},
		"a seq": {func(t *testing.T, root cohort.Root, m generation.Manifest) {
			forge(t, root, m.Index, root.Index(), withValue(t, "a:S", "snapshot_seq", int64(3)))
			forge(t, root, newestOn(t, root).Snapshots[0].DataFile, root.Snapshots(), func(b []byte) []byte {
				return bytes.Replace(b, []byte(`"snapshot_seq":1`), []byte(`"snapshot_seq":3`), 1)
			})
		}, []string{`row "a:S" has changed since generation 2 and has snapshot_seq 3: it must be 4 or above`}},
		"the order of two rows": {func(t *testing.T, root cohort.Root, m generation.Manifest) {
			seq := func(from, to int) func([]byte) []byte {
				return func(b []byte) []byte {
					return bytes.Replace(b, fmt.Appendf(nil, `"snapshot_seq":%d`, from), fmt.Appendf(nil, `"snapshot_seq":%d`, to), 1)
				}
			}
			forge(t, root, m.Index, root.Index(), withValue(t, "b:S", "snapshot_seq", int64(6)))
			forge(t, root, m.Snapshots[0].DataFile, root.Snapshots(), seq(5, 6))
			forge(t, root, m.Withdrawn.Index, "", withValue(t, "x:S", "snapshot_seq", int64(5)))
			forge(t, root, m.Withdrawn.Snapshots[0].DataFile, "", seq(6, 5))
		}, []string{`rows "x:S" and "b:S" have snapshot_seq 5 and 6, and were written in the other order`}},
	} {
		t.Run(name, func(t *testing.T) {
			root := replayable(t)
			test.forge(t, root, newestOn(t, root))
			if got := damage(t, root); got != "" {
				t.Errorf("check finds %s", got)
			}
			done, found := replay(t, root)
			for i := range found {
				found[i] = maskReplay(found[i])
			}
			if diff := cmp.Diff(test.want, found); diff != "" {
				t.Errorf("Replay finds (-want +got):\n%s", diff)
			}
			if name == "a record id" {
				return
			}
			if done.Of != 5 || done.FromStreams != 3 || done.FromGenerations != 2 || done.Actions != 2 || done.ActionsNoSource != 0 || done.Oldest != 1 || done.Folds < 1 {
				t.Errorf("Replay = %+v", done)
			}
		})
	}
}

func maskReplay(text string) string {
	for _, cut := range [][3]string{{"stream c/", " says", "ULID"}, {"came from stream ", ",", "ULID"}, {`"timestamp":"`, `"`, "TIME"}} {
		var out strings.Builder
		for {
			before, after, ok := strings.Cut(text, cut[0])
			out.WriteString(before)
			if !ok {
				break
			}
			out.WriteString(cut[0] + cut[2])
			_, rest, _ := strings.Cut(after, cut[1])
			text = cut[1] + rest
		}
		text = out.String()
	}
	return text
}

// TestReplayOfMovedValues: a value moves from _extra to a column, which has another spelling of it, and back.
func TestReplayOfMovedValues(t *testing.T) {
	root := newRoot(t)
	cfg := compactor.Config{Root: root}
	max := func(n int) {
		t.Helper()
		if _, err := compactor.ChangeColumns(t.Context(), cfg, compactor.ColumnChange{Max: n}); err != nil {
			t.Fatal(err)
		}
	}
	max(1)
	record := `{"run_id":"a","stage":"S","n":1,"t":"a\u00fc\/b","f":-0.0,"g":1e2,"params.p":2,"params":{"p":1}}`
	appendTo(t, root, "c", record)
	foldNow(t, cfg)
	if got := dumpOf(t, root.Index()); !strings.Contains(got, `"t":"a\u00fc\/b"`) {
		t.Fatalf("t is not in _extra: %s", got)
	}
	for range 2 {
		max(9)
		appendTo(t, root, "c", strings.Replace(record, `"a"`, `"b"`, 1))
		foldNow(t, cfg)
		if got := dumpOf(t, root.Index()); !strings.Contains(got, `"t":"aü/b"`) {
			t.Fatalf("t is in no column: %s", got)
		}
		if _, found := replay(t, root); len(found) > 0 {
			t.Errorf("Replay finds %q", found)
		}
		if _, err := compactor.ChangeColumns(t.Context(), cfg, compactor.ColumnChange{Drop: []string{"t"}}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReplaySaysWhatHasNoSource: where generations and streams are gone, nothing is claimed of their rows.
func TestReplaySaysWhatHasNoSource(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`, `{"run_id":"w","stage":"S","v":1}`, `{"action":"withdraw","run_id":"w"}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"b","stage":"S","v":2}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"b","stage":"S","v":3}`)
	foldNow(t, compactor.Config{Root: root})
	for _, path := range append(dataOf(root, 1), dataOf(root, 2)...) {
		remove(t, path)
	}
	remove(t, root.Manifest(1))
	remove(t, root.Manifest(2))
	done, found := replay(t, root)
	if len(found) > 0 || done.Of != 3 || done.FromStreams != 1 || done.NoSource != 2 || done.ActionsNoSource != 1 || done.Oldest != 0 {
		t.Errorf("Replay = %+v, %q: want 1 of 3 rows from a stream, and 2 rows and an action without a source", done, found)
	}
	want := "generation 3: 1 of 3 rows were derived again (1 from streams), 2 rows have no source any more (streams deleted, generations not kept); 0 of 1 actions have a source; 0 differences"
	if done.String() != want {
		t.Errorf("it says %q, want %q", done, want)
	}
}

// TestReplayOfOlderGenerations: a row of an older generation is gone, and an action is not in force any more. Check cannot see that once the
// streams are gone.
func TestReplayOfOlderGenerations(t *testing.T) {
	root := replayable(t)
	m := newestOn(t, root)
	forge(t, root, m.Withdrawn.Actions, "", func(b []byte) []byte { // withdraws another run
		return bytes.Replace(b, []byte(`"run_id":"w"`), []byte(`"run_id":"W"`), 1)
	})
	_, found := replay(t, root)
	if text := strings.Join(found, "\n"); !strings.Contains(text, `"w") of generation 1 is not in force any more`) {
		t.Errorf("Replay finds %s", text)
	}
}

// TestReplayWritesNothing, also where it finds something, and meets folds of others.
func TestReplayWritesNothing(t *testing.T) {
	root := replayable(t)
	m := newestOn(t, root)
	forge(t, root, m.Index, root.Index(), withValue(t, "b:S", "v", int64(9)))
	before := tree(t, root)
	replay(t, root)
	after := tree(t, root)
	delete(before, "compact.lock")
	delete(after, "compact.lock")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("it changed files:\n%s", diff)
	}
}

// TestReplayWhileOthersFold: others append, withdraw, fold and sweep all that they may before each look at the disk. None of it is damage.
func TestReplayWhileOthersFold(t *testing.T) {
	saved := replayable(t)
	run := func(k int) (looks int) {
		root := copyRoot(t, saved, true)
		done := 0
		others := func() {
			if done++; done > 6 {
				return
			}
			appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"n%d","stage":"S","v":5}`, done), fmt.Sprintf(`{"action":"withdraw","run_id":"n%d"}`, done-1), `{"action":"undo","run_id":"w"}`)
			foldNow(t, keepFew(root, durable.OS))
			appendTo(t, root, "c", `{"run_id":"b","stage":"S","v":6}`, `{"action":"withdraw","run_id":"w"}`)
			foldNow(t, keepFew(root, durable.OS))
		}
		m := meddling{durable.OS, k, others, new(sync.Mutex), &looks}
		_, err := audit.Replay(t.Context(), compactor.Config{Root: root, FS: m}, func(p audit.Problem) {
			if p.Damage {
				t.Errorf("others at look %d: %v", k, p)
			}
		})
		if err != nil {
			t.Fatalf("others at look %d: %v", k, err)
		}
		return looks
	}
	run(-1)
	step := 3
	if testing.Short() || sparse > 1 {
		step = 17
	}
	for k, looks := 0, 1; k < looks; k += step {
		looks = run(k)
	}
}

// TestReplayOfSameFiles: a generation that names the files of the newest one proves nothing of them.
func TestReplayOfSameFiles(t *testing.T) {
	root := newDamagedRoot(t)
	cfg := compactor.Config{Root: root}
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`, `{"run_id":"w","stage":"S","v":1}`, `{"action":"withdraw","run_id":"w"}`)
	foldNow(t, cfg)
	first := newestOn(t, root)
	for n := range 2 {
		if _, err := compactor.ChangeColumns(t.Context(), cfg, compactor.ColumnChange{Max: 50 + n}); err != nil {
			t.Fatal(err)
		}
	}
	if m := newestOn(t, root); m.Generation != 3 || m.Index.Name != first.Index.Name {
		t.Fatalf("generation %d names %s, want 3 and %s", m.Generation, m.Index.Name, first.Index.Name)
	}
	if err := os.RemoveAll(root.Reaped("c", "")); err != nil { // as two more folds do
		t.Fatal(err)
	}
	done, found := replay(t, root)
	if len(found) > 0 || done.Of != 2 || done.NoSource != 2 || done.ActionsNoSource != 1 || done.Oldest != 0 {
		t.Errorf("Replay = %+v, %q: want 2 rows and an action without a source", done, found)
	}
}

// TestReplayOfWhatCameBack: a stream that a fold did not see is read again from its first byte by the next one. Its rows keep their seqs, as
// another generation has given them.
func TestReplayOfWhatCameBack(t *testing.T) {
	root := newRoot(t)
	cfg := compactor.Config{Root: root, KeepAge: -1, KeepGenerations: 1}
	w := openWriter(t, root, "c")
	appendLines(t, w, firstLines...)
	foldNow(t, cfg)
	dir := filepath.Dir(onlyStream(t, root))
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(dir, away); err != nil { // as an old listing shows it
		t.Fatal(err)
	}
	for _, line := range secondLines {
		appendTo(t, root, "other", line)
		foldNow(t, cfg)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	foldNow(t, cfg)
	if done, problems := replay(t, root); done.Differences != 0 || len(problems) > 0 {
		t.Errorf("%v: %v", done, problems)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
