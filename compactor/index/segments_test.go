package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// foxmlSchema is what a root with the profile has at first.
func foxmlSchema() (Schema, Columns) { return ColumnsOf(cohort.Foxml).Apply(nil, nil) }

// foxmlRecord is a record of a cohort.
func foxmlRecord(t testing.TB, id cohort.ID, text string) cohort.Record {
	t.Helper()
	r := record(t, text)
	r.Cohort = id
	return r
}

// modelRow is a row as a naive reader of the whole index sees it.
type modelRow struct {
	seq     cohort.Seq
	cohort  cohort.ID
	commit  string
	segment int64
	out     bool
}

// numbered gives puts their segments as the rule says, going over all rows.
func numbered(all []modelRow, puts []modelRow) []modelRow {
	for i := range puts {
		p := &puts[i]
		var was *modelRow
		top := int64(-1)
		for j, r := range all {
			if r.cohort != p.cohort {
				continue
			}
			top = max(top, r.segment)
			if !r.out && (p.out || r.seq < p.seq) && (was == nil || was.seq < r.seq) {
				was = &all[j]
			}
		}
		if p.segment = top + 1; was != nil && was.commit == p.commit {
			p.segment = was.segment
		}
		all = append(all, *p)
	}
	return all
}

// TestNewSegments compares the lookup in small row groups with a naive one, for folds and for imports between old rows.
func TestNewSegments(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	rnd := rand.New(rand.NewPCG(*seed, 66))
	t.Logf("-seed %d", *seed)
	schema, _ := foxmlSchema()
	size := groupSize{rows: 16, bytes: 1 << 20}
	for range 20 / fewer {
		var files [2][]byte
		var all []modelRow
		next := cohort.Seq(1000)
		for fold := range 8 {
			var puts [2][]Put
			var model [2][]modelRow
			for range rnd.IntN(40) {
				seq := next
				next++
				if rnd.IntN(6) == 0 { // an import that finds a free one
					seq = cohort.Seq(1 + rnd.IntN(999))
				}
				out := rnd.IntN(5) == 0
				if slices.ContainsFunc(slices.Concat(all, model[0], model[1]), func(r modelRow) bool { return r.seq == seq }) || out && seq < 1000 {
					continue
				}
				m := modelRow{seq: seq, cohort: cohort.ID(fmt.Sprintf("c%d", rnd.IntN(4))), commit: fmt.Sprint(rnd.IntN(3)), out: out}
				r := foxmlRecord(t, m.cohort, fmt.Sprintf(`{"run_id":"r%d","stage":"S","git_commit":%q}`, seq, m.commit))
				side := 0
				if out {
					side = 1
				}
				model[side] = append(model[side], m)
				puts[side] = append(puts[side], Put{Key: cohort.Foxml.Key().Of(r), Seq: seq, Record: &r})
			}
			for i := range puts {
				slices.SortFunc(puts[i], func(a, b Put) int { return int(a.Seq) - int(b.Seq) })
				slices.SortFunc(model[i], func(a, b modelRow) int { return int(a.seq) - int(b.seq) })
			}
			segments, err := NewSegments(open(t, files[0]), open(t, files[1]), puts[0], puts[1], func(p Put) cohort.ID { return p.Record.Cohort })
			if err != nil {
				t.Fatal(err)
			}
			for i := range files {
				about := meta(cohort.Generation(fold + 1))
				about.Withdrawn = i == 1
				var to bytes.Buffer
				if _, err := mergeAll(&to, open(t, files[i]), nil, schema, puts[i], Moves{}, segments, nil, about, size); err != nil {
					t.Fatal(err)
				}
				files[i] = to.Bytes()
				all = numbered(all, model[i])
			}
			want, got := map[cohort.Seq]int64{}, map[cohort.Seq]int64{}
			for _, r := range all {
				want[r.seq] = r.segment
			}
			for _, file := range files {
				for row, err := range open(t, file).TypedFrom(0) {
					if err != nil {
						t.Fatal(err)
					}
					got[row.Seq], _ = row.Values[find(schema, columnSegment)].(int64)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("fold %d: segments (-naive +looked up):\n%s", fold, diff)
			}
		}
	}
}

// TestOwnSegment: a record's own segment_id is in _extra, told as a name that no column may have, stays there when columns change, and is
// a part of what the row says, unlike the column.
func TestOwnSegment(t *testing.T) {
	schema, columns := foxmlSchema()
	r := foxmlRecord(t, "c", `{"run_id":"r","stage":"S","cohort_id":"c","segment_id":99,"mode":"loso","n_effective":5,"metrics":{"auc":1}}`)
	put := Put{Key: cohort.Foxml.Key().Of(r), Seq: 1, Record: &r}
	segments, err := NewSegments(nil, nil, []Put{put}, nil, func(Put) cohort.ID { return "c" })
	if err != nil {
		t.Fatal(err)
	}
	var one, two bytes.Buffer
	stats, err := MergeMoved(&one, nil, nil, schema, []Put{put}, Moves{}, segments, nil, meta(1))
	if err != nil {
		t.Fatal(err)
	}
	want := Extras{{"metrics.auc", NoColumn, 1}, {"segment_id", BadName, 1}}
	if diff := cmp.Diff(want, stats.Extra); diff != "" {
		t.Errorf("in _extra (-want +got):\n%s", diff)
	}
	columns, err = columns.Declare(Column{Name: "metrics.auc", Kind: Double})
	if err != nil {
		t.Fatal(err)
	}
	wider, _ := columns.Apply(schema, nil)
	if _, err := Merge(&two, open(t, one.Bytes()), nil, wider, nil, nil, meta(2)); err != nil {
		t.Fatal(err)
	}
	var sums []Sum
	for _, data := range [][]byte{one.Bytes(), two.Bytes()} {
		f := open(t, data)
		for c, err := range f.Contents([]cohort.Seq{1}) {
			if err != nil {
				t.Fatal(err)
			}
			sums = append(sums, c.Sum(), Content{Identity: c.Identity, Fields: FieldsOf(r, cohort.Foxml.Key())}.Sum())
		}
		for row, err := range f.TypedFrom(0) {
			if err != nil {
				t.Fatal(err)
			}
			if got := row.Value(f.Schema(), columnSegment); got.Kind != Int || got.Int() != 0 {
				t.Errorf("segment_id is %v", got)
			}
			if got := row.Value(f.Schema(), columnMode); string(got.Text()) != "LOSO" {
				t.Errorf("mode is %q", got.Text())
			}
		}
		extras, err := f.Extras()
		if err != nil || len(extras) == 0 || extras[len(extras)-1] != (Extra{"segment_id", BadName, 1}) {
			t.Errorf("Extras = %v, %v", extras, err)
		}
	}
	for _, sum := range sums {
		if sum != sums[0] {
			t.Errorf("the row says something else after its columns changed, or than its record: %x", sums)
			break
		}
	}
}

func TestMadeColumns(t *testing.T) {
	schema, columns := foxmlSchema()
	if len(schema) != 45 || len(columns.Declared) != 45 {
		t.Errorf("%d columns, %d declared, want 45", len(schema), len(columns.Declared))
	}
	data, err := json.Marshal(schema[4])
	if err != nil || string(data) != `{"name":"segment_id","type":"int64","id":104,"made":true}` {
		t.Errorf("Marshal = %s, %v", data, err)
	}
	var back Column
	if err := json.Unmarshal(data, &back); err != nil || back != schema[4] {
		t.Errorf("Unmarshal = %v, %v", back, err)
	}
	for _, text := range []string{`{"name":"auc","type":"int64","made":true}`, `{"name":"segment_id","type":"double","made":true}`} {
		if err := json.Unmarshal([]byte(text), &back); err == nil {
			t.Errorf("Unmarshal(%s) = nil", text)
		}
	}
	plain, err := json.Marshal(Column{Name: "segment_id", Kind: Int, ID: 104})
	if err != nil || string(plain) != `{"name":"segment_id","type":"int64","id":104}` {
		t.Errorf("Marshal of a column of a record = %s, %v", plain, err)
	}
}
