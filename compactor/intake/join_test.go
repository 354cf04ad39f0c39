package intake

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// filesOf are files that were read: rows and snapshots, each as one JSON object, in several files.
func filesOf(src Source, rows, snaps [][]string) *files {
	f := &files{src: src, names: naming{src.fields(), map[string]bool{}}, settings: cohort.Settings{MaxRecord: 1 << 20}}
	for n, file := range rows {
		for i, row := range file {
			it, err := f.names.rowItem([]byte(row))
			f.add(it, err, position{file: n, where: fmt.Sprintf("row %d of %d", i, n)})
		}
	}
	for n, file := range snaps {
		for i, snap := range file {
			key, value, _ := strings.Cut(snap, " ")
			it, err := f.names.snapshotItem(index.ForeignSnapshot{Key: key, Value: []byte(value)}, f.settings.Key)
			f.add(it, err, position{file: n, where: fmt.Sprintf("snapshot %d of %d", i, n), ofSnapshots: true})
		}
	}
	return f
}

// lines are the records that an import takes, in order, without the names that all of them have.
func (f *files) lines() (lines []string) {
	for _, r := range f.records() {
		lines = append(lines, strings.TrimPrefix(string(r.JSON), `{"run_id":"r1","stage":"T",`))
	}
	return lines
}

// TestJoin joins rows with the snapshots of the same run, whatever the files name of it.
func TestJoin(t *testing.T) {
	for _, c := range []struct {
		name        string
		rows, snaps []string
		want        []string
		covered     int
	}{
		{
			name:  "of two targets the one that the row has",
			rows:  []string{`{"run_id":"r1","phase":"T","target":"tb","auc":0.7}`},
			snaps: []string{`r1:T:ta:: {"x":1}`, `r1:T:tb:: {"x":2}`},
			want:  []string{`"target":"tb","auc":0.7,"snapshot":{"x":2}}`, `"x":1,"target":"ta"}`},
		},
		{
			name:  "mode is view",
			rows:  []string{`{"run_id":"r1","phase":"T","target":"t","mode":"5m","auc":0.7}`, `{"run_id":"r1","phase":"T","target":"t","mode":"1h","auc":0.8}`},
			snaps: []string{`r1:T:t:1h: {"x":1}`, `r1:T:t:5m: {"x":2}`},
			want: []string{`"target":"t","mode":"5m","auc":0.7,"view":"5m","snapshot":{"x":2}}`,
				`"target":"t","mode":"1h","auc":0.8,"view":"1h","snapshot":{"x":1}}`},
		},
		{
			name:  "a row that names less, and only one snapshot",
			rows:  []string{`{"run_id":"r1","phase":"T","auc":0.7}`},
			snaps: []string{`r1:T:ta:v:s {"x":1}`},
			want:  []string{`"auc":0.7,"target":"ta","view":"v","symbol":"s","snapshot":{"x":1}}`},
		},
		{
			name:  "a row that names less, and two snapshots: nobody knows which",
			rows:  []string{`{"run_id":"r1","phase":"T","auc":0.7}`},
			snaps: []string{`r1:T:ta:: {"x":1}`, `r1:T:tb:: {"x":2}`},
			want:  []string{`"auc":0.7}`, `"x":1,"target":"ta"}`, `"x":2,"target":"tb"}`},
		},
		{
			name:  "a snapshot that names less, and two rows",
			rows:  []string{`{"run_id":"r1","phase":"T","target":"ta","auc":0.7}`, `{"run_id":"r1","phase":"T","target":"tb","auc":0.8}`},
			snaps: []string{`r1:T {"x":1}`},
			want:  []string{`"target":"ta","auc":0.7}`, `"target":"tb","auc":0.8}`, `"x":1}`},
		},
		{
			name:  "seqs tell attempts apart",
			rows:  []string{`{"run_id":"r1","phase":"T","snapshot_seq":1,"auc":0.7}`, `{"run_id":"r1","phase":"T","snapshot_seq":2,"auc":0.8}`},
			snaps: []string{`r1:T {"snapshot_seq":2,"x":2}`},
			want:  []string{`"auc":0.7}`, `"auc":0.8,"snapshot":{"x":2}}`},
		},
		{
			name:    "a snapshot without a number does not take the place of metrics",
			rows:    []string{`{"run_id":"r1","phase":"T","target":"tb","auc":0.7}`},
			snaps:   []string{`r1:T:ta:: {"timestamp":"2026-01-01T00:00:00Z","note":"n"}`},
			want:    []string{`"target":"tb","auc":0.7}`},
			covered: 1,
		},
		{
			name:  "a snapshot with metrics does",
			rows:  []string{`{"run_id":"r1","phase":"T","target":"tb","auc":0.7}`},
			snaps: []string{`r1:T:ta:: {"metrics":{"auc":0.8}}`},
			want:  []string{`"target":"tb","auc":0.7}`, `"metrics":{"auc":0.8},"target":"ta"}`},
		},
		{
			name:  "cohorts keep rows apart",
			rows:  []string{`{"run_id":"r1","phase":"T","cohort_id":"a","auc":0.7}`, `{"run_id":"r1","phase":"T","cohort_id":"b","auc":0.8}`},
			snaps: []string{`r1:T {"cohort_id":"b","x":1}`},
			want:  []string{`"auc":0.7}`, `"auc":0.8,"snapshot":{"x":1}}`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := filesOf(Source{Cohort: ""}, [][]string{c.rows}, [][]string{c.snaps})
			for _, items := range [][]item{f.rows, f.snaps} {
				for i := range items { // as --cohort gives it, but behind what the files say
					if items[i].cohort == "" && !strings.Contains(c.name, "cohorts") {
						items[i].cohort = "old"
					}
				}
			}
			if diff := cmp.Diff(c.want, f.lines()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if f.report.Covered != c.covered || f.report.Left != 0 {
				t.Errorf("%d covered, want %d; %d left out", f.report.Covered, c.covered, f.report.Left)
			}
		})
	}
}

// TestJoinAnyOrder joins the same, in whatever order the snapshots stand.
func TestJoinAnyOrder(t *testing.T) {
	rows := []string{`{"run_id":"r1","phase":"T","target":"ta","auc":0.7}`, `{"run_id":"r1","phase":"T","target":"tb","auc":0.8}`, `{"run_id":"r2","phase":"T","auc":0.9}`}
	snaps := []string{`r1:T:ta:: {"x":1}`, `r1:T:tb:: {"x":2}`, `r2:T:tc:: {"x":3}`}
	want := filesOf(Source{Cohort: "c"}, [][]string{rows}, [][]string{snaps}).lines()
	if len(want) != 3 {
		t.Fatalf("%d records, want 3: %v", len(want), want)
	}
	for _, order := range [][]int{{0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		got := filesOf(Source{Cohort: "c"}, [][]string{rows}, [][]string{{snaps[order[0]], snaps[order[1]], snaps[order[2]]}}).lines()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("snapshots in the order %v (-want +got):\n%s", order, diff)
		}
	}
}

// TestSeveralFiles puts runs of several files in one order.
func TestSeveralFiles(t *testing.T) {
	day := func(seq, day int, more string) string {
		return fmt.Sprintf(`{"run_id":"d%d","phase":"T","snapshot_seq":%d,"timestamp":"2026-01-0%dT00:00:00Z"%s}`, day, seq, day, more)
	}
	ids := func(f *files) (ids []string) {
		for _, r := range f.records() {
			ids = append(ids, fmt.Sprintf("%s %d", r.RunID, r.Seq))
		}
		return ids
	}
	one := filesOf(Source{Cohort: "c"}, [][]string{{day(1, 1, ""), day(3, 3, "")}, {day(2, 2, ""), day(3, 3, "")}}, nil)
	if diff := cmp.Diff([]string{"d1 1", "d2 2", "d3 3", "d3 3"}, ids(one)); diff != "" || one.conflict != nil {
		t.Errorf("one numbering: %v (-want +got):\n%s", one.conflict, diff)
	}
	two := filesOf(Source{Cohort: "c"}, [][]string{{day(1, 1, ""), day(2, 3, "")}, {day(1, 2, ""), day(2, 4, ""), `{"run_id":"none","phase":"T"}`}}, nil)
	if diff := cmp.Diff([]string{"d1 0", "d2 0", "d3 0", "d4 0", "none 0"}, ids(two)); diff != "" || two.conflict == nil {
		t.Errorf("two numberings: %v (-want +got):\n%s", two.conflict, diff)
	}
}

// TestFields takes fields of a record from columns of other names.
func TestFields(t *testing.T) {
	src := Source{Fields: map[string]string{"run_id": "name", "cohort_id": "team", "timestamp": "started"}}
	f := filesOf(src, [][]string{{`{"name":17,"run_id":"other","phase":"T","team":"a","started":"2026-01-01 10:00:00","timestamp":"x"}`}}, nil)
	recs := f.records()
	if len(recs) != 1 {
		t.Fatalf("%d records; %v", len(recs), f.left.list)
	}
	want := `{"run_id":"17","stage":"T","timestamp":"2026-01-01T10:00:00Z","imported_run_id":"other","imported_timestamp":"x"}`
	if got := string(recs[0].JSON); got != want || recs[0].Cohort != "a" {
		t.Errorf("cohort %s, record %s, want %s", recs[0].Cohort, got, want)
	}
	if f.report.Zoned != 1 {
		t.Errorf("%d zones assumed, want 1", f.report.Zoned)
	}
}

// TestReadTime reads what Python writes, and never guesses.
func TestReadTime(t *testing.T) {
	berlin, err := cohort.ParseZone("Europe/Berlin")
	if err != nil {
		t.Skip(err) // no time zone database
	}
	for text, want := range map[string]string{
		"2026-01-01T10:00:00Z":             "2026-01-01T10:00:00Z",
		"2026-01-01t10:00:00z":             "2026-01-01t10:00:00z",
		"2026-01-01 10:00:00+02:00":        "2026-01-01T10:00:00+02:00",
		"2026-01-01T10:00:00+0200":         "2026-01-01T10:00:00+02:00",
		"2026-01-01T10:00:00.5":            "2026-01-01T10:00:00.5+01:00 assumed",
		"2026-07-01 10:00:00":              "2026-07-01T10:00:00+02:00 assumed",
		"2026-07-01":                       "2026-07-01T00:00:00+02:00 assumed",
		"1767261600":                       "",
		"last tuesday":                     "",
		"":                                 "",
		"2026-10-25 02:30:00":              "error",
		"2026-03-29 02:30:00":              "error",
		"2026-01-01T10:00:00.123456789+01": "",
	} {
		got, zoned, err := readTime(text, berlin)
		if zoned {
			got += " assumed"
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("readTime(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
}

// TestReasons groups what was left out.
func TestReasons(t *testing.T) {
	var r reasons
	for i := range 1431 {
		r.add("names no cohort", fmt.Sprintf("row %d", i))
	}
	for i := range 100 {
		r.add(fmt.Sprintf("reason %d", i), fmt.Sprintf("row %d", i))
	}
	if got, want := r.list[0].String(), "row 0, row 1, row 2 and 1428 more left out: names no cohort"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	sum := 0
	for _, n := range r.list {
		sum += n.Count
	}
	if len(r.list) != mostReasons+1 || sum != 1531 || r.list[mostReasons].Reason != otherReasons {
		t.Errorf("%d reasons with %d rows, want %d with 1531", len(r.list), sum, mostReasons+1)
	}
}

// TestChangedRow imports a row twice, and then changed: one that says nothing of its time takes the place of what was imported
// before, and one that says an earlier time does not.
func TestChangedRow(t *testing.T) {
	root, _, err := journal.InitRoot(cohort.Root(filepath.Join(t.TempDir(), "runs")), cohort.Settings{}, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	take := func(snaps string) Report {
		t.Helper()
		src := Source{Snapshots: []SnapshotsFile{{Data: strings.NewReader(snaps)}}, Cohort: "c"}
		report, err := Import(context.Background(), compactor.Config{Root: root.Dir}, src)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	stands := func(what, want string) {
		t.Helper()
		for r, err := range compactor.Runs(context.Background(), compactor.Config{Root: root.Dir}, false) {
			if err != nil {
				t.Fatal(err)
			}
			row := snapshotOf(t, root.Dir, string(r.Key))
			if !strings.Contains(row, want) {
				t.Errorf("%s: %s stands, want %s", what, row, want)
			}
		}
	}
	const first = `{"a:S":{"v":1},"a:S::::2":{"v":2}}`
	take(first)
	stands("first", `"v":2`)
	if r := take(first); r.Taken != 0 || r.Known+r.Newer != 2 {
		t.Errorf("the same again: %+v", r)
	}
	if r := take(`{"x:S":{"v":9},"a:S":{"v":1},"a:S::::2":{"v":2}}`); r.Taken != 1 {
		t.Errorf("the same again, behind another one: %+v", r)
	}
	if r := take(`{"a:S":{"v":3}}`); r.Taken != 1 {
		t.Errorf("changed: %+v", r)
	}
	if r := take(`{"a:S":{"v":4,"timestamp":"2025-01-02T00:00:00Z"}}`); r.Taken != 1 {
		t.Errorf("changed, with a time: %+v", r)
	}
	if r := take(`{"a:S":{"v":5,"timestamp":"2025-01-01T00:00:00Z"}}`); r.Taken != 0 || r.Newer != 1 {
		t.Errorf("of an earlier time: %+v", r)
	}
	if row := snapshotOf(t, root.Dir, "a:S"); !strings.Contains(row, `"v":4`) {
		t.Errorf("at last %s stands", row)
	}
}

func snapshotOf(t *testing.T, root cohort.Root, key string) string {
	t.Helper()
	data, err := os.ReadFile(root.Snapshots())
	if err != nil {
		t.Fatal(err)
	}
	for s, err := range index.ForeignSnapshots(bytes.NewReader(data)) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Key == key {
			return string(s.Value)
		}
	}
	t.Fatalf("no snapshot %s", key)
	return ""
}

func TestNaming(t *testing.T) {
	n := naming{map[string]string{"step": "stage", "name": "run_id"}, map[string]bool{}}
	field := n.of([]byte(`{"step":1,"stage":2,"phase":3,"auc":4,"run_id":5}`))
	var got []string
	for _, name := range []string{"step", "stage", "phase", "auc", "run_id"} {
		got = append(got, field(name))
	}
	if want := []string{"stage", "imported_stage", "imported_phase", "auc", "run_id"}; !cmp.Equal(got, want) {
		t.Errorf("names %v, want %v: a field that no other name is keeps its own", got, want)
	}
	if !n.met["step"] || n.met["name"] {
		t.Errorf("met %v", n.met)
	}
}

// TestWriterOfRow leaves out who wrote a row of an index of ours, and keeps a column of that name which users had before there was ours:
// dynamic columns stand before the fixed ones.
func TestWriterOfRow(t *testing.T) {
	for row, want := range map[string]string{
		`{"run_id":"a","phase":"S","v":1,"_key":"a:S","_stream":"s","_writer":"ann@h:1"}`: ``,
		`{"run_id":"a","phase":"S","_writer":"mine","v":1,"_key":"a:S","_stream":"s"}`:    `mine`,
		`{"run_id":"a","phase":"S","_writer":"mine"}`:                                     `mine`,
	} {
		it, err := naming{}.rowItem([]byte(row))
		if got := it.field("_writer"); err != nil || got != want {
			t.Errorf("rowItem(%s) has the writer %q, %v, want %q", row, got, err, want)
		}
	}
}
