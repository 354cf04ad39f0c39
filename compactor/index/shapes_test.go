package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// extended is what Extend says, done field by field.
func extended(s Schema, recs []cohort.Record) Schema {
	var all flattener
	s = append(Schema{}, s...)
	place := map[string]int{}
	for i, c := range s {
		place[c.Name] = i
	}
	for _, r := range recs {
		added := 0
		for _, f := range all.flatten(r) {
			kind := columnKind(f.column, f.is)
			i, known := place[f.column]
			switch {
			case kind == 0, !canHold(kind, f.is, f.value) && !isBeside(kind, f.is, f.value):
			case known && s[i].Kind == Int && kind == jsonscan.Double:
				s[i].Kind = Double
			case !known && len(s) < DefaultColumns && columnName(f.column) && added < maxAdded:
				place[f.column] = len(s)
				s = append(s, Column{Name: f.column, Kind: Kind(kind)})
				added++
			}
		}
	}
	return s
}

// TestColumnsThatKeepTheirType: a declared column has the type that was declared, whatever comes; one that comes again
// widens as any other does. The same schema comes out of one fold and of many.
func TestColumnsThatKeepTheirType(t *testing.T) {
	wish := Columns{Declared: Schema{{Name: "declared", Kind: Int}}, Gone: Schema{{Name: "again", Kind: Int, ID: 100}}, NextID: 101}
	want := Schema{{Name: "declared", Kind: Int, ID: 101}, {Name: "again", Kind: Double, ID: 100}}
	var recs []cohort.Record
	for n := range 3 {
		recs = append(recs, runRecord(t, n, `,"declared":0.5,"again":0.5`))
	}
	for _, atOnce := range []int{1, 2, 3} {
		var got Schema
		columns := wish
		for batch := range slices.Chunk(recs, atOnce) {
			shapes := NewShapes(got, columns, nil)
			shaper, e := shapes.Shaper(), shapes.Extender()
			for _, r := range batch {
				shape, _ := shaper.Of(r)
				e.Add(shape)
			}
			got, columns = e.Schema()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d records at once: schema (-want +got):\n%s", atOnce, diff)
			}
		}
	}
}

// TestExtendInPieces: a schema is the same however the records are split into calls, with few fields and with more than there
// may be columns. What a call leaves out of shapes, as it cannot change the schema that it began with, is missed by none.
func TestExtendInPieces(t *testing.T) {
	values := []string{"1", "2.5", "1e999", "99999999999999999999", `"s"`, "true", "null", "[1]", `{"x":1}`}
	names := []string{"run_id", "_extra", "", "a\\u0001"} // no columns
	for _, fields := range []int{20, 700} {
		rnd := rand.New(rand.NewPCG(1, uint64(fields)))
		names := names
		for n := range fields {
			names = append(names, fmt.Sprintf("f%d", n))
		}
		var recs []cohort.Record
		for n := range 300 {
			text := ""
			for range 12 {
				text += fmt.Sprintf(`,"%s":%s`, names[rnd.IntN(len(names)-1)+1], values[rnd.IntN(len(values))])
			}
			text += fmt.Sprintf(`,"metrics":{"%s":%s}`, names[rnd.IntN(len(names))], values[rnd.IntN(len(values))])
			text += fmt.Sprintf(`,"tags":{"%s":%s}`, names[rnd.IntN(len(names))], values[rnd.IntN(len(values))])
			if fields == 700 && n%50 == 0 { // more than one record may add, again and again
				for w := range 2 * maxAdded {
					text += fmt.Sprintf(`,"w%d":%d`, w+n, w)
				}
			}
			recs = append(recs, runRecord(t, n, text))
		}
		want := extended(nil, recs)
		var got Schema
		for rest := recs; len(rest) > 0; {
			n := min(rnd.IntN(40), len(rest))
			got, rest = got.Extend(rest[:n]), rest[n:]
		}
		if diff := cmp.Diff(want, plain(got)); diff != "" {
			t.Errorf("%d fields: schema in pieces (-want +got):\n%s", fields, diff)
		}
		if diff := cmp.Diff(want, plain(Schema(nil).Extend(recs))); diff != "" {
			t.Errorf("%d fields: schema (-want +got):\n%s", fields, diff)
		}
	}
}

// TestShapesThatMatter: a record that cannot change the schema has no shape of its own, and takes no memory.
func TestShapesThatMatter(t *testing.T) {
	full := Schema{{Name: "n", Kind: Int}}
	for i := len(full); i < DefaultColumns; i++ {
		full = append(full, Column{Name: fmt.Sprintf("c%d", i), Kind: String})
	}
	few := NewShapes(full[:2], Columns{}, nil).Shaper()
	all := NewShapes(full, Columns{}, nil).Shaper()
	for i, test := range []struct {
		text     string
		few, all bool // it has one
	}{
		{`,"n":1,"c1":2`, false, false},
		{`,"n":1.5`, true, true},
		{`,"n":1e999`, false, false},
		{`,"new":1`, true, false},
		{`,"new":[1],"old":null`, false, false},
		{`,"metrics":{"x":1}`, true, false},
	} {
		r := runRecord(t, i, test.text)
		for name, s := range map[string]struct {
			*Shaper
			want bool
		}{"2 columns": {few, test.few}, "all columns": {all, test.all}} {
			if shape, bytes := s.Of(r); (shape != noShape) != s.want || (bytes > 0) != s.want {
				t.Errorf("%s with %s: shape %d of %d bytes, want one: %v", test.text, name, shape, bytes, s.want)
			}
			if shape, bytes := s.Of(r); (shape != noShape) != s.want || bytes != 0 {
				t.Errorf("%s with %s again: shape %d of %d bytes", test.text, name, shape, bytes)
			}
		}
	}
}
