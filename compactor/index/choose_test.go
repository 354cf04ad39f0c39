package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// chosen are the run_ids of the rows that a choice yields.
func chosen(t testing.TB, f *File, c Choice) (runs []string) {
	t.Helper()
	for h, err := range f.Choose(t.Context(), c) {
		if err != nil {
			t.Fatalf("Choose: %v", err)
		}
		runs = append(runs, h.RunID)
	}
	return runs
}

// TestChoose: each row is offered once, with its values, and those that are chosen come with the identity that Identities gives them.
func TestChoose(t *testing.T) {
	f := open(t, sample(t)) // three row groups
	var all, want []Identity
	for h, err := range f.Identities() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	row := 0
	c := Choice{Columns: []string{"s", "no such", "a", "metrics.m", "_extra", "snapshot_seq"}, Row: func(v []Value) (bool, error) {
		text := fmt.Sprintf("%s %v %d %v %s %d", v[0].Text(), v[1], v[2].Int(), v[3].Double(), v[4].Text(), v[5].Int())
		var m float64
		fmt.Sscan(fmt.Sprintf("0.%d", row), &m)
		if expect := fmt.Sprintf(`x%d %v %d %v {"list":[%d]} %d`, row%7, Value{}, row, m, row, row+1); text != expect {
			t.Errorf("row %d is %s, want %s", row, text, expect)
		}
		yes := row%10 == 3 || row > 245
		if yes {
			want = append(want, all[row])
		}
		row++
		return yes, nil
	}}
	var got []Identity
	for h, err := range f.Choose(t.Context(), c) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h)
	}
	if row != len(all) || !slices.Equal(got, want) {
		t.Errorf("%d rows were offered, %d chosen:\n%v\nwant:\n%v", row, len(got), got, want)
	}
	for range f.Choose(t.Context(), Choice{Row: func([]Value) (bool, error) { return true, nil }}) {
		break // the iterator must take that
	}
}

// TestChooseReads: of a group that may have no row nothing is read, and of the others only the columns that were asked for.
func TestChooseReads(t *testing.T) {
	data := sample(t)
	m := &metered{ReaderAt: bytes.NewReader(data)}
	f, err := Open(m, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	m.n = 0
	groups := 0
	none := Choice{Columns: []string{"s"}, Group: func(Group) (bool, error) { groups++; return false, nil }}
	if got := chosen(t, f, none); len(got) != 0 || m.n != 0 || groups != 3 {
		t.Errorf("%d rows of %d groups, %d bytes were read", len(got), groups, m.n)
	}
	one := Choice{Columns: []string{"a"}, Row: func([]Value) (bool, error) { return false, nil }}
	chosen(t, f, one)
	size := 0
	for _, g := range f.file.Metadata().RowGroups {
		size += int(g.Columns[f.layout.place["a"]].MetaData.TotalCompressedSize)
	}
	if m.n < size/2 || m.n > 2*size {
		t.Errorf("%d bytes were read, want about the %d of the column", m.n, size)
	}
}

// TestGroupBounds: what the footer says of each column is true of all rows.
func TestGroupBounds(t *testing.T) {
	f := open(t, mergeGroups(t))
	i := 0
	c := Choice{Group: func(g Group) (bool, error) {
		defer func() { i++ }()
		show := func(v Value) string {
			switch v.Kind {
			case Bool:
				return fmt.Sprint(v.Bool())
			case Int:
				return fmt.Sprint(v.Int())
			case Double:
				return fmt.Sprint(v.Double())
			case String:
				return string(v.Text())
			}
			return "NULL"
		}
		var got string
		for _, column := range []string{"run_id", "snapshot_seq", "b", "n", "metrics.d", "s", "none", "_extra"} {
			b := g.Bounds(column)
			got += fmt.Sprintf("%s %d of %d, %s to %s; ", column, b.Nulls, b.Rows, show(b.Min), show(b.Max))
		}
		want := []string{
			"run_id 0 of 3, r0 to r2; snapshot_seq 0 of 3, 1 to 3; b 0 of 3, false to true; n 0 of 3, -1 to 9007199254740993; metrics.d 1 of 3, -1.5 to 2; s 1 of 3, NULL to NULL; none 3 of 3, NULL to NULL; _extra 2 of 3, { to |; ",
			"run_id 0 of 2, r3 to r4; snapshot_seq 0 of 2, 4 to 5; b 2 of 2, NULL to NULL; n 2 of 2, NULL to NULL; metrics.d 2 of 2, NULL to NULL; s 0 of 2, a to b; none 2 of 2, NULL to NULL; _extra 2 of 2, NULL to NULL; ",
		}[i]
		if got != want {
			t.Errorf("group %d:\n%s\nwant:\n%s", i, got, want)
		}
		return false, nil
	}}
	if chosen(t, f, c); i != 2 {
		t.Fatalf("%d groups", i)
	}
	if k, ok := f.Kind("n"); k != Int || !ok {
		t.Errorf("n is %v, %v", k, ok)
	}
	if k, ok := f.Kind("none"); ok {
		t.Errorf("none is %v", k)
	}
}

// mergeGroups is an index of two groups, with an empty text, NULLs, and a column that one of them does not use.
func mergeGroups(t testing.TB) []byte {
	var recs []cohort.Record
	for i, members := range []string{
		`,"b":true,"n":-1,"metrics":{"d":2},"s":""`, `,"b":false,"n":9007199254740993,"metrics":{"d":-1.5},"s":"z"`, `,"b":true,"n":7,"metrics":{"d":"x"}`,
		`,"s":"b"`, `,"s":"a"`,
	} {
		recs = append(recs, runRecord(t, i, members))
	}
	data, _ := mergeWith(t, nil, puts(1, recs...), groupSize{3, 1 << 20})
	return data
}

// TestMayHold: the filter of run_id says what the bounds do not.
func TestMayHold(t *testing.T) {
	f := open(t, sample(t))
	c := Choice{Group: func(g Group) (bool, error) {
		for _, text := range []string{"r55x", "r77"} { // between the bounds
			may, err := g.MayHold("run_id", []string{text})
			if want := text == "r77" && g.number == 0; err != nil || may != want {
				t.Errorf("group %d: %s may be there: %v, %v", g.number, text, may, err)
			}
		}
		if may, err := g.MayHold("snapshot_seq", []string{"x"}); err != nil || !may {
			t.Errorf("a column of numbers: %v, %v", may, err)
		}
		return false, nil
	}}
	chosen(t, f, c)
}

// TestChooseEnds: an error of the choice and a context that is done end it, and so does damage.
func TestChooseEnds(t *testing.T) {
	data := sample(t)
	f := open(t, data)
	bad := errors.New("bad")
	for name, c := range map[string]Choice{
		"group": {Group: func(Group) (bool, error) { return false, bad }},
		"row":   {Row: func([]Value) (bool, error) { return true, bad }},
	} {
		n := 0
		for h, err := range f.Choose(t.Context(), c) {
			if n++; err != bad || h != (Identity{}) {
				t.Errorf("%s: %v, %v", name, h, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d rows and errors", name, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n, ended := 0, error(nil)
	for _, err := range f.Choose(ctx, Choice{Row: func([]Value) (bool, error) { return true, nil }}) {
		if n++; n == 100 { // the last row of the first group
			cancel()
		}
		ended = err
	}
	if n != 101 || !errors.Is(ended, context.Canceled) {
		t.Errorf("canceled: %d rows and %v", n, ended)
	}
	m := f.file.Metadata().RowGroups[1].Columns[f.layout.place["a"]].MetaData
	broken := bytes.Clone(data)
	broken[m.DataPageOffset+m.TotalCompressedSize-3] ^= 4
	for _, err := range open(t, broken).Choose(t.Context(), Choice{Columns: []string{"a"}, Row: func([]Value) (bool, error) { return false, nil }}) {
		ended = err
	}
	if !errors.Is(ended, ErrDamaged) {
		t.Errorf("a flipped bit: %v", ended)
	}
}
