package index

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// moveText are the rows of a file without their seqs, which moves change.
func moveText(t *testing.T, f *File) []string {
	t.Helper()
	var out []string
	for row, err := range f.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		text := string(row)
		from := strings.Index(text, `"snapshot_seq":`)
		to := from + strings.IndexByte(text[from:], ',')
		out = append(out, text[:from]+text[to+1:])
	}
	return out
}

func openBytes(t *testing.T, b *bytes.Buffer) *File {
	t.Helper()
	f, err := Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestMoveAndBack takes rows out of an index, among them some whose columns the other file does not have, and brings them back: they
// are what they were.
func TestMoveAndBack(t *testing.T) {
	recs := []cohort.Record{
		record(t, `{"run_id":"a","stage":"S","metrics":{"auc":0.5},"n":7,"big":123456789012345678901}`),
		record(t, `{"run_id":"b","stage":"S","timestamp":"2026-01-01T00:00:00Z","note":[1],"flag":true}`),
		record(t, `{"run_id":"c","stage":"S","flag":false}`),
	}
	var schema Schema
	schema = schema.Extend(recs)
	all := puts(1, recs...)
	var first bytes.Buffer
	if _, err := Merge(&first, nil, nil, schema, all, nil, meta(1)); err != nil {
		t.Fatal(err)
	}
	old := openBytes(t, &first)
	want := moveText(t, old)
	keys := []cohort.Key{all[1].Key, all[0].Key}
	found, err := old.Find(keys)
	if err != nil {
		t.Fatal(err)
	}
	in := []Put{{Key: keys[0]}, {Key: keys[1]}}
	if next := SortMoves(in, found, 10); next != 12 || in[0].Key != all[0].Key || in[1].Seq != 11 {
		t.Fatalf("SortMoves = %v, next %d; want the order of the file, from 10", in, next)
	}
	var index, out bytes.Buffer
	if _, err := MergeMoved(&index, old, found, schema, nil, Moves{Out: keys}, nil, nil, meta(2)); err != nil {
		t.Fatal(err)
	}
	narrow := Schema{{Name: "n", Kind: Int}} // the other columns go to _extra, and come back
	if _, err := MergeMoved(&out, nil, found, narrow, nil, Moves{In: in, From: old, FromFound: found}, nil, nil, meta(2)); err != nil {
		t.Fatal(err)
	}
	left, withdrawn := openBytes(t, &index), openBytes(t, &out)
	if diff := cmp.Diff(want[2:], moveText(t, left)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	if n := withdrawn.NumRows(); n != 2 {
		t.Fatalf("%d rows moved, want 2", n)
	}
	foundOut, err := withdrawn.Find(keys)
	if err != nil {
		t.Fatal(err)
	}
	SortMoves(in, foundOut, 20)
	var again bytes.Buffer
	if _, err := MergeMoved(&again, left, foundOut, schema, nil, Moves{In: in, From: withdrawn, FromFound: foundOut}, nil, nil, meta(3)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{want[2], want[0], want[1]}, moveText(t, openBytes(t, &again))); diff != "" {
		t.Errorf("after the way back (-want +got):\n%s", diff)
	}
	for name, moves := range map[string]Moves{
		"a row that is not there":         {In: []Put{{Key: "x:S", Seq: 20}}, From: old, FromFound: map[cohort.Key]Found{"x:S": found[keys[0]]}},
		"a row that nobody looked for":    {In: []Put{{Key: "x:S", Seq: 20}}, From: old},
		"a seq that is below those there": {In: []Put{{Key: keys[0], Seq: 1}}, From: old, FromFound: found},
	} {
		if _, err := MergeMoved(new(bytes.Buffer), left, nil, schema, nil, moves, nil, nil, meta(4)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMoveLines(t *testing.T) {
	var old bytes.Buffer
	recs := puts(9, runRecord(t, 1, `,"snapshot_seq_of":9`), runRecord(t, 2, `,"note":"\"snapshot_seq\":9"`), runRecord(t, 3, ""))
	if _, err := MergeSnapshots(&old, nil, recs, nil, nil); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	seqs := map[cohort.Key]cohort.Seq{recs[0].Key: 100, recs[1].Key: 101}
	if _, err := MergeMovedSnapshots(&out, nil, nil, MovedLines{From: bytes.NewReader(old.Bytes()), Seqs: seqs}, nil, nil); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(old.String(), "\n")
	want := "{\n" + strings.Replace(lines[1], `"snapshot_seq":9,`, `"snapshot_seq":100,`, 1) + "\n" +
		strings.Replace(strings.TrimSuffix(lines[2], ","), `"snapshot_seq":10,`, `"snapshot_seq":101,`, 1) + "\n}\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("moved lines (-want +got):\n%s", diff)
	}
	seqs["x:S"] = 102
	if _, err := MergeMovedSnapshots(new(bytes.Buffer), nil, nil, MovedLines{From: bytes.NewReader(old.Bytes()), Seqs: seqs}, nil, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a line that is not there: %v, want ErrDamaged", err)
	}
}
