package index

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDeclaredKindStays: a declared column keeps its type, whatever comes; only a column that nobody declared widens to double.
func TestDeclaredKindStays(t *testing.T) {
	for _, test := range []struct {
		declared Schema
		want     Kind
	}{
		{nil, Double},
		{Schema{{Name: "epochs", Kind: Int}}, Int},
		{Schema{{Name: "epochs", Kind: Bool}}, Bool},
		{Schema{{Name: "epochs", Kind: String}}, String},
	} {
		shapes := NewShapes(Schema{{Name: "epochs", Kind: Int}}, Columns{Declared: test.declared}, nil)
		shaper, e := shapes.Shaper(), shapes.Extender()
		for _, members := range []string{`,"epochs":3.5`, `,"more":1,"epochs":4`, `,"more":1,"epochs":3.5`} {
			shape, _ := shaper.Of(runRecord(t, 1, members))
			e.Add(shape)
		}
		schema, _ := e.Schema()
		want := Schema{{Name: "epochs", Kind: test.want}, {Name: "more", Kind: Int}}
		if diff := cmp.Diff(want, plain(schema)); diff != "" {
			t.Errorf("declared %v (-want +got):\n%s", test.declared, diff)
		}
	}
}

// TestComesAgain: whatever a column that comes again meets first, it has the type that it would have if it had stayed, however
// the records are split.
func TestComesAgain(t *testing.T) {
	gone := Columns{Gone: Schema{{Name: "n", Kind: Int, ID: 105}, {Name: "b", Kind: Bool, ID: 106}}, NextID: 107}
	want := Schema{{Name: "n", Kind: Double, ID: 105}, {Name: "b", Kind: Bool, ID: 106}}
	for _, split := range []bool{false, true} {
		schema, columns := Schema(nil), gone
		shapes := NewShapes(schema, columns, nil)
		e := shapes.Extender()
		for range 2 {
			shape, _ := shapes.Shaper().Of(runRecord(t, 1, `,"n":3.5,"b":1`))
			e.Add(shape)
			if schema, columns = e.Schema(); split {
				shapes = NewShapes(schema, columns, nil)
				e = shapes.Extender()
			}
		}
		if diff := cmp.Diff(want, schema); diff != "" {
			t.Errorf("split %v (-want +got):\n%s", split, diff)
		}
	}
}

// TestDropTwice: a drop that was cut off after its commit may be done again.
func TestDropTwice(t *testing.T) {
	schema, columns := Columns{}.Apply(Schema{{Name: "a", Kind: Int}, {Name: "b", Kind: Int}}, nil)
	once, after, err := columns.Drop(schema, "a")
	if err != nil {
		t.Fatal(err)
	}
	twice, again, err := after.Drop(once, "a")
	if diff := cmp.Diff(once, twice) + cmp.Diff(after, again); err != nil || diff != "" {
		t.Errorf("Drop of a dropped column: %v; it changes\n%s", err, diff)
	}
	if _, _, err := after.Drop(once, "never"); err == nil {
		t.Error("Drop of a column that never was: no error")
	}
}

// TestRetypeTwoValues: a record with two values for a text column keeps both tokens, whatever becomes of the column.
func TestRetypeTwoValues(t *testing.T) {
	text := Schema{{Name: "params.x", Kind: String}}
	for _, test := range []struct{ name, members, want string }{
		{"both beside", `,"params.x":true,"params":{"x":5}`, `"params.x":5 {"params.x":true}`},
		{"both beside, turned", `,"params.x":5,"params":{"x":true}`, `"params.x":5 {"params.x":true}`},
		{"text, then a number", `,"params.x":"t","params":{"x":5}`, `"params.x":5 {"params.x":"t"}`},
		{"number, then a text", `,"params.x":5,"params":{"x":"t"}`, `"params.x":5 {"params.x":"t"}`},
		{"the same twice", `,"params.x":5,"params":{"x":5}`, `"params.x":5 {"params.x":5}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			number := Schema{{Name: "params.x", Kind: Int}}
			data, _ := merge(t, nil, puts(1, runRecord(t, 1, test.members)))
			data, _ = changed(t, data, text)
			for range 2 {
				var seen []string
				if data, seen = changed(t, data, number); seen[0] != test.want {
					t.Errorf("as numbers: %s, want %s", seen[0], test.want)
				}
				data, _ = changed(t, data, text)
			}
		})
	}
}

// TestRetypeGreatIntegers: an integer that stood in a column of doubles is told with all its digits afterwards.
func TestRetypeGreatIntegers(t *testing.T) {
	for _, n := range []string{
		"0", "-1", "9007199254740992", "-9007199254740992", "9007199254740994", "4611686018427387904", "9223372036854774784", "-9223372036854775808",
		"9007199254740993", "9223372036854775807", // which no double is: they wait in _extra
	} {
		data, _ := merge(t, nil, puts(1, runRecord(t, 1, `,"n":`+n)))
		for _, to := range []Schema{{{Name: "n", Kind: Double}}, {{Name: "n", Kind: Int}}} {
			var seen []string
			if data, seen = changed(t, data, to); to[0].Kind == Int && seen[0] != `"n":`+n+" " {
				t.Errorf("%s, as a double and as an integer again: %s", n, seen[0])
			}
		}
		data, _ = changed(t, data, Schema{{Name: "n", Kind: Double}})
		if _, seen := changed(t, data, nil); seen[0] != ` {"n":`+n+"}" {
			t.Errorf("%s, as a double that is dropped: %s", n, seen[0])
		}
	}
}
