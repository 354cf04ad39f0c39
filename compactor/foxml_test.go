package compactor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
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
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/history"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

func newFoxmlRoot(t testing.TB) cohort.Root {
	t.Helper()
	return audited(t, newRootWith(t, cohort.Settings{Profile: cohort.Foxml}))
}

// segmentRow is a row as TestSegments compares it.
type segmentRow struct {
	index.Identity
	segment any
	same    string // the four fields
	out     bool
}

// segmentRows are all rows of the newest generation, by key.
func segmentRows(t *testing.T, root cohort.Root) map[cohort.Key]segmentRow {
	t.Helper()
	store := generation.New(generation.Store{Root: root, Settings: openRoot(t, root).Settings})
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	data, err := store.Data(m)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	rows := map[cohort.Key]segmentRow{}
	for i, d := range []*generation.Data{data, data.Withdrawn} {
		if d == nil || d.Index == nil {
			continue
		}
		schema := d.Index.Schema()
		for row, err := range d.Index.TypedFrom(0) {
			if err != nil {
				t.Fatal(err)
			}
			r := segmentRow{Identity: row.Identity, out: i == 1}
			for n, c := range schema {
				switch c.Name {
				case "segment_id":
					r.segment = row.Values[n]
				case "data_fingerprint", "featureset_hash", "config_hash", "git_commit":
					r.same += fmt.Sprintf("%s=%v;", c.Name, row.Values[n])
				}
			}
			r.same = strings.ReplaceAll(r.same, "=<nil>;", "=;") // an empty text is as none
			rows[row.Key] = r
		}
	}
	return rows
}

// follows holds the rows of a generation to the rule, from those of the one before.
func follows(t *testing.T, when string, was, is map[cohort.Key]segmentRow) {
	t.Helper()
	top, last := map[cohort.ID]int64{}, map[cohort.ID]*segmentRow{}
	for _, r := range was {
		top[r.Cohort] = max(top[r.Cohort], r.segment.(int64)+1)
		if !r.out && (last[r.Cohort] == nil || last[r.Cohort].Seq < r.Seq) {
			last[r.Cohort] = &r
		}
	}
	var written []segmentRow
	for key, r := range is {
		old, ok := was[key]
		switch {
		case r.segment == nil:
			t.Errorf("%s: row %q has no segment", when, key)
		case ok && old.Version.SameWrite(r.Version):
			if old.segment != r.segment {
				t.Errorf("%s: row %q had segment %v and has %v", when, key, old.segment, r.segment)
			}
		default:
			written = append(written, r)
		}
	}
	slices.SortFunc(written, func(a, b segmentRow) int {
		if a.out != b.out {
			if a.out {
				return 1
			}
			return -1
		}
		return int(a.Seq) - int(b.Seq)
	})
	for _, r := range written {
		want := top[r.Cohort]
		if l := last[r.Cohort]; l != nil && l.same == r.same {
			want = l.segment.(int64)
		}
		if r.segment != want {
			t.Errorf("%s: row %q (seq %d, out %v) of cohort %s has segment %v, want %d", when, r.Key, r.Seq, r.out, r.Cohort, r.segment, want)
		}
		top[r.Cohort] = max(top[r.Cohort], r.segment.(int64)+1)
		if !r.out {
			last[r.Cohort] = &r
		}
	}
}

// TestSegments folds random records, withdrawals, repeats and changes of columns, and holds each generation to the rule.
func TestSegments(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(*seed, 66))
	t.Logf("-seed %d", *seed)
	rounds := 60
	if testing.Short() || sparse > 1 {
		rounds = 12
	}
	for range 3 {
		root := newFoxmlRoot(t)
		was := map[cohort.Key]segmentRow{}
		sent := map[int]string{} // the last write of each run
		for round := range rounds {
			when := fmt.Sprintf("fold %d", round)
			fresh, repeated := map[int]bool{}, map[int]bool{} // in this fold: a repeat of what another write has replaced would be a write
			for range 1 + rnd.IntN(3) {
				id := cohort.ID([]string{"a", "b", "c"}[rnd.IntN(3)])
				var lines []string
				for range rnd.IntN(8) {
					run := rnd.IntN(30)
					switch rnd.IntN(10) {
					case 0:
						lines = append(lines, fmt.Sprintf(`{"action":"withdraw","run_id":"r%d"}`, run))
					case 1:
						lines = append(lines, fmt.Sprintf(`{"action":"undo","run_id":"r%d"}`, run))
					case 2:
						if line, ok := sent[run]; ok && !fresh[run] {
							lines, repeated[run] = append(lines, line), true
						}
					default:
						if repeated[run] {
							break
						}
						line := fmt.Sprintf(`{"run_id":"r%d","phase":"T","record_id":"%d-%d","git_commit":"%d"`, run, round, rnd.IntN(1e6), rnd.IntN(3))
						if rnd.IntN(3) == 0 {
							line += fmt.Sprintf(`,"config_hash":%s`, []string{`""`, "null", "7", `"x"`}[rnd.IntN(4)])
						}
						if rnd.IntN(6) == 0 {
							line += fmt.Sprintf(`,"new%d":1,"segment_id":%d`, rnd.IntN(9), rnd.IntN(9))
						}
						lines = append(lines, line+"}")
						sent[run], fresh[run] = line+"}", true
					}
				}
				appendTo(t, root, id, lines...)
			}
			if rnd.IntN(5) == 0 {
				name := fmt.Sprintf("new%d", rnd.IntN(9))
				change := compactor.ColumnChange{Declare: []index.Column{{Name: name, Kind: index.String}}}
				if _, err := compactor.ChangeColumns(t.Context(), compactor.Config{Root: root}, change); err != nil {
					t.Fatal(err)
				}
				follows(t, when+", columns", was, segmentRows(t, root))
			}
			foldNow(t, compactor.Config{Root: root, KeepGenerations: 3, KeepAge: -1})
			is := segmentRows(t, root)
			follows(t, when, was, is)
			if t.Failed() {
				return
			}
			was = is
		}
	}
}

// TestSegmentsOfImports: rows between others follow those, keep their own numbers, and nothing that the root had changes.
func TestSegmentsOfImports(t *testing.T) {
	root := newFoxmlRoot(t)
	seven := int64(7)
	imported := func(run, commit string, seq cohort.Seq, own *int64) compactor.Imported {
		r := parse(t, fmt.Sprintf(`{"run_id":%q,"stage":"T","git_commit":%q}`, run, commit))
		r.Cohort = "c"
		return compactor.Imported{Record: r, Seq: seq, Segment: own}
	}
	take := func(all ...compactor.Imported) {
		t.Helper()
		if _, err := compactor.Import(t.Context(), compactor.Config{Root: root}, all, false); err != nil {
			t.Fatal(err)
		}
	}
	take(imported("a", "1", 10, nil), imported("b", "2", 20, &seven), imported("c", "2", 30, nil), imported("d", "3", 40, nil))
	take(imported("e", "1", 15, nil), imported("f", "2", 25, nil), imported("g", "3", 5, nil), imported("h", "3", 0, nil))
	appendTo(t, root, "c", `{"run_id":"i","phase":"T","git_commit":"3"}`)
	foldNow(t, compactor.Config{Root: root})
	got := map[string]any{}
	for _, r := range segmentRows(t, root) {
		got[fmt.Sprintf("%s at %d", r.RunID, r.Seq)] = r.segment
	}
	want := map[string]any{
		"a at 10": int64(0), "b at 20": int64(7), "c at 30": int64(7), "d at 40": int64(8), "e at 15": int64(0), "f at 25": int64(7),
		"h at 4": int64(9), "g at 5": int64(9), "i at 41": int64(8),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("segments (-want +got):\n%s", diff)
	}
}

// withoutSegment are the rows of a root without what depends on the split.
func withoutSegment(t *testing.T, root cohort.Root) map[string]string {
	t.Helper()
	all := rows(t, root)
	for key, row := range all {
		from := strings.Index(row, `"segment_id":`)
		if from < 0 {
			t.Fatalf("row %s has no segment_id", row)
		}
		to := from + strings.IndexAny(row[from:], ",}")
		all[key] = row[:from] + row[to:]
	}
	return all
}

// TestMetamorphicFoxml is TestMetamorphic for the profile, of which segment_id may depend on the split.
func TestMetamorphicFoxml(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(*seed, 67))
	t.Logf("-seed %d", *seed)
	set := chains(rnd, 20)
	for _, chain := range set {
		for i := range chain {
			n := len(chain[i]) // the same in each write that is repeated
			chain[i] = strings.TrimSuffix(chain[i], "}") + fmt.Sprintf(`,"mode":%q,"git_commit":"%d","created_at":"2026-01-01T00:00:00.5"}`,
				[]string{"LOSO", "loso"}[n%2], n%3)
		}
	}
	plain := newFoxmlRoot(t)
	for _, chain := range set {
		appendTo(t, plain, "c", chain...)
	}
	foldNow(t, compactor.Config{Root: plain})
	want := withoutSegment(t, plain)
	rounds := 4
	if testing.Short() || sparse > 1 {
		rounds = 2
	}
	killed, whole := 0, 0
	defer func() {
		t.Logf("figure: %d folds of profile foxml were killed among appends, %d others ended before", killed, whole)
	}()
	for round := range rounds {
		root := newFoxmlRoot(t)
		scatter(t, rnd, root, set, &killed, &whole)
		foldNow(t, compactor.Config{Root: root, Lock: yes{}})
		if diff := cmp.Diff(want, withoutSegment(t, root)); diff != "" {
			t.Fatalf("round %d: rows depend on the split (-plain +split):\n%s", round, diff)
		}
	}
}

// TestSegmentIsNoDifference: what compares rows does not compare segments, and what makes them again keeps or makes them.
func TestSegmentIsNoDifference(t *testing.T) {
	root := newFoxmlRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","phase":"T","git_commit":"1","mode":"loso","snapshot":{"x":1.50}}`, `{"run_id":"b","phase":"T","git_commit":"2","view":"Loso","segment_id":5}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"a","phase":"T","git_commit":"3","mode":"loso","auc":0.5}`, `{"run_id":"c","phase":"T","git_commit":"3"}`)
	foldNow(t, compactor.Config{Root: root})
	done, err := history.Restore(t.Context(), compactor.Config{Root: root}, 1, history.RestoreOptions{Apply: true})
	if err != nil || done.Written != 1 || done.Withdrawn != 1 || done.Later != 0 {
		t.Fatalf("Restore = %+v, %v", done, err)
	}
	again, err := history.Restore(t.Context(), compactor.Config{Root: root}, 1, history.RestoreOptions{})
	if err != nil || again.Written+again.Withdrawn+again.Unmade != 0 {
		t.Errorf("Restore of what was restored = %+v, %v", again, err)
	}
	got := map[string]any{}
	for _, r := range segmentRows(t, root) {
		got[r.RunID] = r.segment
	}
	if diff := cmp.Diff(map[string]any{"a": int64(3), "b": int64(1), "c": int64(2)}, got); diff != "" {
		t.Errorf("segments after a restore (-want +got):\n%s", diff)
	}
	// The streams are all that is left of the newest index: its rows are folded again, and have numbers.
	replayed, err := audit.Replay(t.Context(), compactor.Config{Root: root}, func(p audit.Problem) {
		if p.Damage {
			t.Error(p)
		}
	})
	if err != nil || replayed.Differences != 0 || replayed.FromStreams == 0 {
		t.Errorf("Replay = %+v, %v", replayed, err)
	}
	spoil(t, root, "index", newestOn(t, root).Generation)
	if err := repairOnce(compactor.Config{Root: root}); err != nil {
		t.Fatal(err)
	}
	for _, r := range segmentRows(t, root) {
		if r.segment == nil {
			t.Errorf("after a repair row %q has no segment", r.Key)
		}
	}
}

func TestFoxmlColumns(t *testing.T) {
	root := newFoxmlRoot(t)
	for _, change := range []compactor.ColumnChange{
		{Drop: []string{"segment_id"}}, {Drop: []string{"auc"}}, {Declare: []index.Column{{Name: "segment_id", Kind: index.String}}},
	} {
		if _, err := compactor.ChangeColumns(t.Context(), compactor.Config{Root: root}, change); err == nil {
			t.Errorf("ChangeColumns(%+v) = nil", change)
		}
	}
	m, err := compactor.ChangeColumns(t.Context(), compactor.Config{Root: root}, compactor.ColumnChange{Declare: []index.Column{{Name: "auc", Kind: index.Double}, {Name: "segment_id", Kind: index.Int}}})
	if err != nil || m.Generation != 1 || len(m.Schema) != 45 || !m.Schema[4].Made || m.Schema[4].Name != "segment_id" {
		t.Errorf("ChangeColumns = generation %d, %v, %v", m.Generation, m.Schema, err)
	}
}

const ofLegacy = "bytes of another program, which has saved over the public name"

// taken are the files that were set aside, by their bytes.
func taken(t *testing.T, fsys durable.FS, root cohort.Root) map[string]int {
	t.Helper()
	found := map[string]int{}
	entries, err := fsys.ReadDir(root.DamagedGenerations())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := durable.Read(fsys, filepath.Join(root.DamagedGenerations(), e.Name()), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		found[string(data)]++
	}
	return found
}

// TestLegacyWriteSurvives cuts the power before each change of a fold that finds what another program has saved over a public name. It is
// never lost, and never in the index's place once the next fold has ended.
func TestLegacyWriteSurvives(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(*seed, 68))
	t.Logf("-seed %d", *seed)
	root := newRootWith(t, cohort.Settings{Profile: cohort.Foxml})
	appendTo(t, root, "c", `{"run_id":"a","phase":"T","v":1}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"b","phase":"T","v":1}`)
	for _, name := range []string{root.Index(), root.Snapshots()} {
		if err := os.WriteFile(name, []byte(ofLegacy+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := loaded(t, root)
	crashes := 0
	for k := 0; ; k++ {
		if k%2 != 0 || k%sparse != 0 || testing.Short() && k%5 != 0 {
			continue
		}
		for _, way := range []struct{ exchange, share bool }{{true, false}, {false, false}, {false, true}} {
			disk := afresh(before)
			disk.Share = way.share
			fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
			var fsys durable.FS = fault
			if !way.exchange {
				fsys = noExchange{fault}
			}
			cfg := compactor.Config{Root: root, FS: fsys, Lock: yes{}}
			_, err := compactor.Fold(context.Background(), cfg)
			if err == nil && fault.Calls() <= k && way.exchange {
				t.Logf("figure: %d crash states of a fold that sets aside what others wrote", crashes)
				return
			}
			for _, mode := range durabletest.Modes() {
				crashes++
				reboot := disk.Crash(mode, rnd)
				foldNow(t, compactor.Config{Root: root, FS: reboot, Lock: yes{}})
				for _, name := range []string{root.Index(), root.Snapshots()} {
					if taken(t, reboot, root)[ofLegacy+name] == 0 {
						t.Fatalf("power lost before change %d, %+v, %v: what was saved over %s is gone", k, way, mode, root.Rel(name))
					}
				}
				if diff := cmp.Diff(map[string]string{"a:T:NONE:NONE:NONE:NONE": "1", "b:T:NONE:NONE:NONE:NONE": "1"}, valuesOn(t, reboot, root)); diff != "" {
					t.Fatalf("power lost before change %d, %v: rows (-want +got):\n%s", k, mode, diff)
				}
				if got := damageOn(t, reboot, root); got != "" {
					t.Fatalf("power lost before change %d, %v: check finds\n%s", k, mode, got)
				}
			}
		}
	}
}

// noExchange is a file system that cannot exchange two names.
type noExchange struct{ durable.FS }

func (noExchange) Exchange(_, b string) error {
	return &fs.PathError{Op: "exchange", Path: b, Err: syscall.EINVAL}
}

// TestLegacyWriteAtAnyMoment saves over the public names before each call of a fold that changes the disk. Wherever it is, nothing of it is lost
// once the next fold has ended, and a program that has the file open writes on into what was set aside.
func TestLegacyWriteAtAnyMoment(t *testing.T) {
	t.Parallel()
	for k := 0; ; k++ {
		root := newRootWith(t, cohort.Settings{Profile: cohort.Foxml})
		appendTo(t, root, "c", `{"run_id":"a","phase":"T","v":1}`)
		foldNow(t, compactor.Config{Root: root})
		appendTo(t, root, "c", `{"run_id":"b","phase":"T","v":1}`)
		disk := durabletest.New()
		if err := disk.Load(string(root)); err != nil {
			t.Fatal(err)
		}
		saved := false
		fault := &durabletest.Fault{FS: disk, Hook: func(n int, _, _ string) error {
			if n != k {
				return nil
			}
			saved = true
			// As os.replace does, and as an open file that is written to.
			return errors.Join(durable.Replace(disk, root.Index(), []byte(ofLegacy+"index"), 0o644), disk.Append(root.Snapshots(), []byte("more")))
		}}
		cfg := compactor.Config{Root: root, FS: fault, Lock: yes{}}
		foldNow(t, cfg)
		if !saved {
			return
		}
		cfg.FS = disk
		foldNow(t, cfg)
		if got := damageOn(t, disk, root); got != "" {
			t.Fatalf("saved before change %d: check finds\n%s", k, got)
		}
		found := taken(t, disk, root)
		more := 0
		for text := range found {
			if strings.HasSuffix(text, "more") {
				more++
			}
		}
		if found[ofLegacy+"index"] != 1 || more != 1 {
			t.Fatalf("saved before change %d: set aside are %d of the index and %d of the snapshots, want 1 of each", k, found[ofLegacy+"index"], more)
		}
	}
}

// TestPublicFilesAreCopies: a program that writes into a public file does no harm to what manifests name.
func TestPublicFilesAreCopies(t *testing.T) {
	root := newFoxmlRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","phase":"T","v":1}`)
	foldNow(t, compactor.Config{Root: root})
	info, err := os.Stat(root.Index())
	if err != nil || info.Mode()&0o200 == 0 {
		t.Fatalf("index.parquet is %v, %v: it cannot be written", info.Mode(), err)
	}
	before := read(t, root.Index())
	f, err := os.OpenFile(root.Index(), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half of"); err != nil {
		t.Fatal(err)
	}
	if r := foldNow(t, compactor.Config{Root: root}); r.Clean() {
		t.Error("the fold says that nothing was wrong")
	}
	if _, err := f.WriteString(" a file"); err != nil { // the fold came between
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, read(t, root.Index())) {
		t.Error("index.parquet is not what was published")
	}
	if got := taken(t, durable.OS, root); got["half of a file"] != 1 {
		t.Errorf("set aside is %v", got)
	}
}

// A record of another cohort is refused, and so is a wrong view.
func TestFoxmlAppend(t *testing.T) {
	root := newFoxmlRoot(t)
	w := openWriter(t, root, "c")
	defer w.Close()
	for line, want := range map[string]string{
		`{"run_id":"a","phase":"T","cohort_id":"d"}`:              "its cohort_id is",
		`{"run_id":"a","phase":"T","mode":"LOSO","view":"other"}`: "two names of one field",
	} {
		err := w.Append([]cohort.Record{parse(t, line)})
		var bad *journal.RecordError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("Append(%s) = %v, want %q", line, err, want)
		}
	}
}

// TestFoxmlImportOfOwnFiles: what another program has read in the root and saved again is known, however json or a changed order spells it. What it
// has changed is a write that came before the root's, and what it added is taken.
func TestFoxmlImportOfOwnFiles(t *testing.T) {
	root := newFoxmlRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","phase":"T","cohort_id":"c","target":"y/5m","mode":"LOSO","auc":0.50,"deep":{"n":[1.50,"\u00e9"]},"segment_id":9}`,
		`{"run_id":"b","phase":"T","view":"loso","snapshot":{"x":1e3,"y":"é"}}`, `{"run_id":"gone","phase":"T"}`, `{"action":"withdraw","run_id":"gone"}`)
	foldNow(t, compactor.Config{Root: root})
	before := published(t, root)
	const saved = `{
		"b:T:NONE:LOSO:NONE:NONE": {"y": "\u00e9", "x": 1000.0, "snapshot_seq": 2, "timestamp": "%s", "stage": "T", "run_id": "b"},
		"a:T:y_5m:LOSO:NONE:NONE": {"run_id": "a", "stage": "T", "timestamp": "2026-03-01T12:00:00Z", "snapshot_seq": 1, "phase": "T", "cohort_id": "c", "target": "y/5m", "mode": "LOSO", "auc": %s, "deep": {"n": [1.5, "é"]}, "segment_id": 9},
		"new:T:y_5m:LOSO:NONE": {"run_id": "new", "stage": "T", "cohort_id": "c", "target": "y/5m", "view": "LOSO", "timestamp": "2026-03-01T12:00:00.25"}
	}`
	for _, test := range []struct {
		auc                 string
		taken, known, newer int
	}{{"0.5", 1, 2, 0}, {"0.5", 0, 3, 0}, {"0.75", 0, 2, 1}} {
		report, said := importNow(t, root, fmt.Sprintf(saved, "2026-03-01T12:00:00Z", test.auc), func(s *intake.Source) { s.Cohort = "" })
		if report.Taken != test.taken || report.Known != test.known || report.Newer != test.newer || report.Left != 0 {
			t.Errorf("auc %s: %d taken, %d known, %d newer, %d left out (%s); want %d, %d and %d", test.auc, report.Taken, report.Known, report.Newer, report.Left, said, test.taken, test.known, test.newer)
		}
	}
	after := published(t, root)
	delete(after, "new:T:y_5m:LOSO:NONE:NONE")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("rows of the root (-before +after):\n%s", diff)
	}
}

// published are the rows of a root as they are published, by key.
func published(t *testing.T, root cohort.Root) map[string]string {
	t.Helper()
	out := map[string]string{}
	for row := range publishedRows(t, durable.OS, root) {
		out[cohort.FieldText([]byte(row), "_key")] = row
	}
	return out
}
