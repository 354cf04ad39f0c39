package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// written is what an index and its snapshots say, by seq.
type written struct {
	rows  []Content
	lines []Snapshot
}

// bothOf reads all rows and lines.
func bothOf(t *testing.T, rows, lines []byte) (w written) {
	t.Helper()
	f := open(t, rows)
	var seqs []cohort.Seq
	for h, err := range f.Identities() {
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, h.Seq)
	}
	for c, err := range f.Contents(seqs) {
		if err != nil {
			t.Fatal(err)
		}
		w.rows = append(w.rows, c)
	}
	for l, err := range LinesOf(bytes.NewReader(lines), seqs) {
		if err != nil {
			t.Fatal(err)
		}
		w.lines = append(w.lines, l)
	}
	if len(w.rows) != len(seqs) || len(w.lines) != len(seqs) {
		t.Fatalf("%d rows, %d contents, %d lines", len(seqs), len(w.rows), len(w.lines))
	}
	return w
}

// again makes the records of all rows again, as an append would have them.
func (w written) again(t *testing.T, form cohort.KeyForm) (recs []cohort.Record) {
	t.Helper()
	for i := range w.rows {
		r, err := Remake(w.rows[i], w.lines[i], form, 0)
		if err != nil {
			t.Fatalf("row %v, line %s: %v", w.rows[i], w.lines[i].Value, err)
		}
		if r.Stamp, r.ID = 1<<60+cohort.Stamp(i), fmt.Sprint("again-", i); r.Timestamp != "" {
			r.Written = time.Unix(1, 0) // as any clock says
		}
		recs = append(recs, r)
	}
	return recs
}

// said are the rows and lines in one form.
func (w written) said() (out []string) {
	for i, c := range w.rows {
		text := fmt.Sprintf("%s %s %v %s\n", c.Key, c.Cohort, c.Time, w.lines[i].Value[bytes.Index(w.lines[i].Value, []byte(`"stage"`)):])
		for _, f := range inOneForm(c.Fields) {
			text += fmt.Sprintf("%q: %.200s\n", f.Name, f.Value)
		}
		_, before, _ := strings.Cut(text, `"snapshot_seq":`)
		_, members, _ := strings.Cut(before, ",")
		out = append(out, strings.Replace(text, before, members, 1))
	}
	return out
}

// remade folds records, makes them again from what the files say, and folds them once more: into nothing, and under the columns that the first
// file has. All say the same.
func remade(t *testing.T, form cohort.KeyForm, recs []cohort.Record) []cohort.Record {
	t.Helper()
	var puts []Put
	for i, r := range recs {
		puts = append(puts, Put{Key: form.Of(r), Seq: cohort.Seq(i + 1), Record: &r})
	}
	first, _ := merge(t, nil, puts)
	want := bothOf(t, first, snapshots(t, nil, puts, nil))
	made := want.again(t, form)
	var other []Put
	for i := range made {
		other = append(other, Put{Key: form.Of(made[i]), Seq: cohort.Seq(100 + 2*i), Record: &made[i]})
	}
	lines := snapshots(t, nil, other, nil)
	second, _ := merge(t, nil, other)
	var third bytes.Buffer
	if _, err := Merge(&third, nil, nil, open(t, first).Schema(), other, nil, meta(1)); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"in another root": second, "under the same columns": third.Bytes()} {
		got := bothOf(t, data, lines)
		if diff := cmp.Diff(want.said(), got.said()); diff != "" {
			t.Fatalf("%s (-first +again):\n%s", name, diff)
		}
		for i := range want.rows {
			if want.rows[i].Sum() != got.rows[i].Sum() || want.lines[i].Sum(want.rows[i].Identity) != got.lines[i].Sum(got.rows[i].Identity) {
				t.Errorf("%s: the sums of row %d differ", name, i)
			}
		}
		for i, r := range got.again(t, form) {
			if !bytes.Equal(r.JSON, made[i].JSON) && name == "under the same columns" {
				t.Errorf("made again from what was made again:\n%s\n%s", made[i].JSON, r.JSON)
			}
		}
	}
	return made
}

// TestRemake shows which record is made of a row and its line.
func TestRemake(t *testing.T) {
	wide, err := cohort.ParseKeyForm([]string{"run_id", "phase", "cohort_id", "target"})
	if err != nil {
		t.Fatal(err)
	}
	unknown := func(r cohort.Record) cohort.Record { r.Written = time.Time{}; return r }
	for _, test := range []struct {
		name string
		form cohort.KeyForm
		rec  cohort.Record
		want string
	}{
		{"a whole record keeps its numbers", cohort.KeyForm{}, record(t, `{"run_id":"r","phase":"S","timestamp":"2026-01-31T12:00:00+01:00","a":1.50,"metrics": {"auc":0.710}}`),
			`{"run_id":"r","timestamp":"2026-01-31T12:00:00+01:00","phase":"S","a":1.50,"metrics": {"auc":0.710}}`},
		{"the time of its append", cohort.KeyForm{}, record(t, `{"run_id":"r","stage":"S","a":null,"a":2}`),
			`{"run_id":"r","timestamp":"2023-11-14T22:13:20.000000Z","stage":"S","a":null,"a":2}`},
		{"no time", cohort.KeyForm{}, unknown(record(t, `{"run_id":"r","stage":"S","timestamp":null,"a":2}`)), `{"run_id":"r","stage":"S","timestamp":null,"a":2}`},
		{"a time that no row has", cohort.KeyForm{}, record(t, `{"run_id":"r","stage":"S","timestamp":"0001-01-01T00:00:00Z"}`), `{"run_id":"r","timestamp":"0001-01-01T00:00:00Z","stage":"S"}`},
		{"a snapshot", cohort.KeyForm{}, record(t, `{"run_id":"r","stage":"S","timestamp":"2026-01-31T12:00:00Z","lr":1.0,"n":3,"metrics":{"auc":0.710},"tags":{"t":7},"l":[1.0],"snapshot":{"w" : 1.50}}`),
			`{"run_id":"r","timestamp":"2026-01-31T12:00:00Z","stage":"S","metrics":{"auc":0.71},"tags":{"t":7},"lr":1.0,"n":3,"l":[1.0],"snapshot":{"w" : 1.50}}`},
		{"a snapshot with a time of its own", cohort.KeyForm{}, unknown(record(t, `{"run_id":"r","stage":"S","snapshot":{"timestamp":"2026-01-31T12:00:00Z"}}`)),
			`{"run_id":"r","stage":"S","snapshot":{"timestamp":"2026-01-31T12:00:00Z"}}`},
		{"a snapshot within a snapshot", cohort.KeyForm{}, unknown(record(t, `{"run_id":"r","stage":"S","snapshot":{"snapshot":{"a":1}}}`)), `{"run_id":"r","stage":"S","snapshot":{"snapshot":{"a":1}}}`},
		{"an empty snapshot", cohort.KeyForm{}, unknown(record(t, `{"run_id":"r","stage":"S","a":1,"snapshot":{}}`)), `{"run_id":"r","stage":"S","a":1,"snapshot":{}}`},
		{"a snapshot that says the same", cohort.KeyForm{}, unknown(record(t, `{"run_id":"r","stage":"S","a":1,"snapshot":{"a":1}}`)), `{"run_id":"r","stage":"S","a":1}`},
		{"a snapshot that is a text", cohort.KeyForm{}, unknown(record(t, `{"run_id":"r","stage":"S","snapshot":"f.bin"}`)), `{"run_id":"r","stage":"S","snapshot":"f.bin"}`},
		{"two values for one column", cohort.KeyForm{}, unknown(record(t, `{"run_id":"r","stage":"S","params.seed":1,"params":{"seed":2},"snapshot":{}}`)),
			`{"run_id":"r","stage":"S","params":{"seed":1},"params.seed":2,"snapshot":{}}`},
		{"a scalar named as a group", cohort.KeyForm{}, unknown(record(t, `{"run_id":"r","stage":"S","params":5,"params.seed":1,"metrics":{},"cohort_id":"x","_extra":1,"snapshot":{}}`)),
			`{"run_id":"r","stage":"S","params":5,"params.seed":1,"metrics":{},"cohort_id":"x","_extra":1,"snapshot":{}}`},
		{"a wide key", wide, unknown(record(t, `{"run_id":"r:1","stage":"S","target":7,"snapshot":{}}`)), `{"run_id":"r:1","stage":"S","target":7,"snapshot":{}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			made := remade(t, test.form, []cohort.Record{test.rec})
			if diff := cmp.Diff(test.want, string(made[0].JSON)); diff != "" {
				t.Errorf("record made again (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRemakeFits makes records again that are as large as a record may be, and had no timestamp.
func TestRemakeFits(t *testing.T) {
	r := record(t, `{"run_id":"r","phase":"S","note":"`+strings.Repeat("x", 1000)+`"}`)
	var puts = puts(1, r)
	data, _ := merge(t, nil, puts)
	both := bothOf(t, data, snapshots(t, nil, puts, nil))
	got, err := Remake(both.rows[0], both.lines[0], cohort.KeyForm{}, len(r.JSON))
	if err != nil || !got.Written.Equal(r.Written) || !bytes.Equal(got.JSON, r.JSON) {
		t.Errorf("Remake = %s at %v, %v, want the record itself", got.JSON, got.Written, err)
	}
	if got, err := Remake(both.rows[0], both.lines[0], cohort.KeyForm{}, len(r.JSON)-1); err == nil {
		t.Errorf("Remake within one byte less = %s, want an error", got.JSON)
	}
}

// TestRemakeAny makes random records again.
func TestRemakeAny(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	rnd := rand.New(rand.NewPCG(s, 11))
	rounds := 200 / fewer
	if testing.Short() {
		rounds = 20
	}
	for range rounds {
		var recs []cohort.Record
		for i := range 1 + rnd.IntN(20) {
			r := randomRecord(t, rnd)
			r.RunID = fmt.Sprint("k", i)
			r.JSON = append([]byte(`{"run_id":"`+r.RunID+`",`), bytes.SplitAfterN(r.JSON, []byte(","), 2)[1]...)
			r = record(t, string(r.JSON))
			if rnd.IntN(3) == 0 {
				r.Written = time.Time{}
			}
			recs = append(recs, r)
		}
		remade(t, cohort.KeyForm{}, recs)
	}
}

// TestRemakeKey has an integer of the key in a column of doubles: as a double it would be refused.
func TestRemakeKey(t *testing.T) {
	form, err := cohort.ParseKeyForm([]string{"run_id", "phase", "target"})
	if err != nil {
		t.Fatal(err)
	}
	r := record(t, `{"run_id":"r","stage":"S","target":7,"snapshot":{}}`)
	all := []Put{{Key: form.Of(r), Seq: 1, Record: &r}}
	var data bytes.Buffer
	if _, err := Merge(&data, nil, nil, Schema{{Name: "target", Kind: Double}}, all, nil, meta(1)); err != nil {
		t.Fatal(err)
	}
	both := bothOf(t, data.Bytes(), snapshots(t, nil, all, nil))
	if got := both.again(t, form)[0]; !strings.Contains(string(got.JSON), `"target":7,`) {
		t.Errorf("made again: %s", got.JSON)
	}
}
