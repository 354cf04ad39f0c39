package index

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// smallGroups makes several row groups of few rows.
func smallGroups(t *testing.T, first cohort.Seq, old []byte, members ...string) []byte {
	t.Helper()
	var recs []cohort.Record
	for i, m := range members {
		recs = append(recs, runRecord(t, int(first)+i, m))
	}
	data, _ := mergeWith(t, old, puts(first, recs...), groupSize{rows: 2, bytes: 1 << 20})
	return data
}

func typedFrom(t *testing.T, f *File, seq cohort.Seq) (all []Typed) {
	t.Helper()
	for r, err := range f.TypedFrom(seq) {
		if err != nil {
			t.Fatalf("TypedFrom(%d): %v", seq, err)
		}
		r.Values, r.Extra = append([]any(nil), r.Values...), bytes.Clone(r.Extra)
		all = append(all, r)
	}
	return all
}

func TestTypedFrom(t *testing.T) {
	data := smallGroups(t, 1, nil, `,"ok":true,"n":7,"lr":0.5,"note":"x","list":[1, 2]`, `,"n":8`, `,"note":"é"`, ``, `,"ok":false,"note":5`)
	f := open(t, data)
	for seq := cohort.Seq(0); seq < 8; seq++ {
		got := typedFrom(t, f, seq)
		if want := 6 - max(int(seq), 1); len(got) != max(want, 0) || len(got) > 0 && got[0].Seq != max(seq, 1) {
			t.Errorf("TypedFrom(%d) yields %d rows, want %d", seq, len(got), want)
		}
	}
	all := typedFrom(t, f, 0)
	want := [][]any{{true, int64(7), 0.5, "x"}, {nil, int64(8), nil, nil}, {nil, nil, nil, "é"}, {nil, nil, nil, nil}, {false, nil, nil, "5"}}
	for i, row := range all {
		if diff := cmp.Diff(want[i], row.Values); diff != "" {
			t.Errorf("row %d (-want +got):\n%s", i, diff)
		}
	}
	if string(all[0].Extra) != `{"list":[1, 2]}` || all[1].Extra != nil || string(all[4].Extra) != `{"note":5}` {
		t.Errorf("_extra: %q, %q, %q", all[0].Extra, all[1].Extra, all[4].Extra)
	}
}

// TestContentOf makes contents of typed values: they say what Contents says, also where the values were in other places.
func TestContentOf(t *testing.T) {
	f := open(t, smallGroups(t, 1, nil, `,"ok":true,"n":7,"lr":0.5,"note":"x","list":[1, 2]`, `,"n":8.0`, `,"note":"é"`, `,"ok":false,"note":5`))
	seqs := []cohort.Seq{1, 2, 3, 4}
	rows := typedFrom(t, f, 0)
	for c, err := range f.Contents(seqs) {
		if err != nil {
			t.Fatal(err)
		}
		r := rows[0]
		rows = rows[1:]
		got, err := ContentOf(r.Identity, f.Schema(), r.Values, r.Extra, asItIs)
		if err != nil || got.Sum() != c.Sum() {
			t.Errorf("ContentOf(%v) = %v, %v, want the sum of %v", r, got, err, c)
		}
		// Without columns all stands in _extra.
		var members []string
		for _, field := range c.Fields {
			members = append(members, fmt.Sprintf("%q:%s", field.Name, field.Value))
		}
		got, err = ContentOf(r.Identity, nil, nil, []byte("{"+strings.Join(members, ",")+"}"), asItIs)
		if err != nil || got.Sum() != c.Sum() {
			t.Errorf("ContentOf(%v) with all in _extra = %v, %v", r, got, err)
		}
	}
	if _, err := ContentOf(Identity{}, nil, nil, []byte("[]"), asItIs); !errors.Is(err, ErrDamaged) {
		t.Errorf("an _extra that is no object: %v", err)
	}
}

func TestHasBelow(t *testing.T) {
	f := open(t, smallGroups(t, 1, nil, `,"a":1`, ``, `,"b":1`, `,"c":1`, `,"c":2`))
	for _, tt := range []struct {
		seq    cohort.Seq
		column string
		want   bool
	}{{1, "a", false}, {2, "a", true}, {9, "a", true}, {3, "b", false}, {4, "b", true}, {4, "c", false}, {5, "c", true}} {
		if got, err := f.HasBelow(tt.seq, []string{tt.column}); got != tt.want || err != nil {
			t.Errorf("HasBelow(%d, %s) = %v, %v, want %v", tt.seq, tt.column, got, err, tt.want)
		}
	}
}

// countedReader counts the bytes that are read.
type countedReader struct {
	*bytes.Reader
	n int64
}

func (c *countedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}

func TestLinesFrom(t *testing.T) {
	var recs []cohort.Record
	for i := range 300 {
		recs = append(recs, runRecord(t, i, fmt.Sprintf(`,"note":%q`, strings.Repeat("n", i*37%700))))
	}
	p := puts(1, recs...)
	for i := range p { // with gaps
		p[i].Seq = cohort.Seq(3*i + 2)
	}
	file := snapshots(t, nil, p, nil)
	var all []Snapshot
	for s, err := range Snapshots(bytes.NewReader(file)) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	for _, near := range []int64{1, 50, 5000, int64(len(file)) + 1} {
		for seq := cohort.Seq(0); seq < 3*300+5; seq += 7 {
			want := all
			for len(want) > 0 && want[0].Seq < seq {
				want = want[1:]
			}
			for s, err := range linesFrom(bytes.NewReader(file), int64(len(file)), seq, near) {
				if err != nil || len(want) == 0 || s.Seq != want[0].Seq || s.Key != want[0].Key || !bytes.Equal(s.Value, want[0].Value) {
					t.Fatalf("near %d, from %d: %v, %v", near, seq, s, err)
				}
				want = want[1:]
			}
			if len(want) > 0 {
				t.Fatalf("near %d, from %d: %d entries are missing", near, seq, len(want))
			}
		}
	}
	counted := &countedReader{Reader: bytes.NewReader(file)}
	for range linesFrom(counted, int64(len(file)), 3*299+2, 100) {
	}
	if counted.n > int64(len(file)) { // 10 probes of at most probeBytes each, most of them at the end of the file
		t.Errorf("for the last entry %d bytes were read of %d", counted.n, len(file))
	}
	for from := 0; from < len(file); from += 97 { // a file that is cut short is damage, or has all that is asked for
		for _, err := range linesFrom(bytes.NewReader(file[:from]), int64(from), 3*300, 100) {
			if err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatalf("cut at %d: %v", from, err)
			}
		}
	}
	for _, err := range linesFrom(strings.NewReader("{\n}\n"), 4, 1, 1) {
		t.Errorf("an empty file: %v", err)
	}
}
