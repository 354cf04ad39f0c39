package index

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// changed merges nothing into an index under another schema, and returns what users see of each row: columns, then _extra.
func changed(t *testing.T, data []byte, s Schema) (out []byte, seen []string) {
	t.Helper()
	var b bytes.Buffer
	f := open(t, data)
	if _, err := Merge(&b, f, nil, s, nil, nil, meta(9)); err != nil {
		t.Fatalf("Merge: %v", err)
	}
	for _, row := range rows(t, b.Bytes()) {
		_, columns, _ := strings.Cut(row, `22:13:20.000000Z",`)
		columns, _, _ = strings.Cut(columns, `"_key"`)
		_, extra, _ := strings.Cut(row, `"_extra":`)
		seen = append(seen, strings.TrimSuffix(columns, ",")+" "+strings.TrimSuffix(extra, "}"))
	}
	return b.Bytes(), seen
}

// TestRetype changes the type of a column there and back: values go where they can be held, none is lost, and exact tokens
// come back as they were.
func TestRetype(t *testing.T) {
	data, _ := merge(t, nil, puts(1,
		runRecord(t, 1, `,"commit":1234567,"note":"x"`),
		runRecord(t, 2, `,"commit":"abcdef1"`),
		runRecord(t, 3, `,"commit":1.50,"list":[1]`),
		runRecord(t, 4, `,"commit":true`),
		runRecord(t, 5, ``)))
	number := Schema{{Name: "commit", Kind: Double}, {Name: "note", Kind: String}}
	if got := plain(open(t, data).Schema()); !got.Equal(number) {
		t.Fatalf("schema %v, want %v", got, number)
	}
	first := []string{`"commit":1234567.0,"note":"x" `, ` {"commit":"abcdef1"}`, `"commit":1.5 {"list":[1]}`, ` {"commit":true}`, ` `}
	if _, seen := changed(t, data, number); !cmp.Equal(first, seen) {
		t.Errorf("as it was (-want +got):\n%s", cmp.Diff(first, seen))
	}
	text, seen := changed(t, data, Schema{{Name: "commit", Kind: String}, {Name: "note", Kind: String}})
	want := []string{`"commit":"1234567","note":"x" {"commit":1234567}`, `"commit":"abcdef1" `, `"commit":"1.5" {"list":[1],"commit":1.5}`,
		`"commit":"true" {"commit":true}`, ` `}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("as text (-want +got):\n%s", diff)
	}
	if extras, err := open(t, text).Extras(); err != nil || len(extras) != 0 {
		t.Errorf("Extras of a text column = %v, %v, want none: it takes every scalar", extras, err)
	}
	_, seen = changed(t, text, number)
	first[2] = `"commit":1.5 {"list":[1]}`
	if diff := cmp.Diff(first, seen); diff != "" {
		t.Errorf("as numbers again (-want +got):\n%s", diff)
	}
	extras, err := open(t, data).Extras()
	if diff := cmp.Diff(Extras{{"commit", OtherType, 2}}, extras); diff != "" || err != nil {
		t.Errorf("Extras: %v (-want +got):\n%s", err, diff)
	}
}

// TestDropAndAdd takes a column away and brings it back: its values wait in _extra.
func TestDropAndAdd(t *testing.T) {
	data, _ := merge(t, nil, puts(1, runRecord(t, 1, `,"a":1,"b":"x"`), runRecord(t, 2, `,"b":"y","l":[2]`), runRecord(t, 3, `,"a":3`)))
	without, seen := changed(t, data, Schema{{Name: "a", Kind: Int}})
	want := []string{`"a":1 {"b":"x"}`, ` {"l":[2],"b":"y"}`, `"a":3 `}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("without b (-want +got):\n%s", diff)
	}
	if extras, err := open(t, without).Extras(); err != nil || !cmp.Equal(extras, Extras{{"b", NoColumn, 2}}) {
		t.Errorf("Extras without b = %v, %v", extras, err)
	}
	_, seen = changed(t, without, Schema{{Name: "b", Kind: String}, {Name: "c", Kind: Bool}, {Name: "a", Kind: Int}})
	want = []string{`"b":"x","a":1 `, `"b":"y" {"l":[2]}`, `"a":3 `}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("with b again, in another order (-want +got):\n%s", diff)
	}
	uses := open(t, data).Uses()
	if diff := cmp.Diff([]Use{{Column{Name: "a", Kind: Int, ID: 100}, 2}, {Column{Name: "b", Kind: String, ID: 101}, 2}}, uses); diff != "" {
		t.Errorf("Uses (-want +got):\n%s", diff)
	}
}

// TestOldMetrics: an index in which one text made a metric's column text for ever gets its numbers back with the next rows.
func TestOldMetrics(t *testing.T) {
	recs := puts(1, runRecord(t, 1, `,"metrics":{"acc":"N/A"}`), runRecord(t, 2, `,"metrics":{"acc":0.25}`), runRecord(t, 3, `,"tags":{"v":7}`))
	var old bytes.Buffer
	if _, err := Merge(&old, nil, nil, Schema{{Name: "metrics.acc", Kind: String}, {Name: "tags.v", Kind: Int}}, recs, nil, meta(1)); err != nil {
		t.Fatal(err)
	}
	data, stats := merge(t, old.Bytes(), puts(4, runRecord(t, 4, `,"metrics":{"acc":1}`)))
	if got, want := plain(open(t, data).Schema()), (Schema{{Name: "metrics.acc", Kind: Double}, {Name: "tags.v", Kind: String}}); !got.Equal(want) {
		t.Errorf("schema %v, want %v", got, want)
	}
	_, seen := changed(t, data, open(t, data).Schema())
	want := []string{` {"metrics.acc":"N/A"}`, `"metrics.acc":0.25 `, `"tags.v":"7" {"tags.v":7}`, `"metrics.acc":1.0 `}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if len(stats.Extra) != 0 {
		t.Errorf("the new row has %v in _extra", stats.Extra)
	}
}

// TestWriterColumnStays keeps what stands in _writer through all that rewrites a row: a new column, a raised stamp, a copy.
func TestWriterColumnStays(t *testing.T) {
	a, b := runRecord(t, 1, `,"v":1`), runRecord(t, 2, `,"v":1`)
	a.Writer = "ann@node-7:42"
	data, _ := merge(t, nil, puts(1, a, b))
	writers := func(data []byte) (out []string) {
		for h, err := range open(t, data).Identities() {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, h.Writer)
		}
		return out
	}
	want := []string{"ann@node-7:42", ""}
	raise := a
	raise.Stamp += 10
	for name, merged := range map[string][]byte{
		"as written":           data,
		"with a column more":   first(changed(t, data, Schema{{Name: "v", Kind: Int}, {Name: "w", Kind: String}})),
		"with a raised stamp":  first(merge(t, data, []Put{{Key: "r1:TRAINING", Seq: 1, Record: &raise, Raise: true}})),
		"after nothing at all": first(merge(t, data, nil)),
	} {
		if diff := cmp.Diff(want, writers(merged)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func first[A, B any](a A, _ B) A { return a }

// TestTakenName takes away what a root of version 2 had under a name that is a fixed column's since.
func TestTakenName(t *testing.T) {
	taken := Column{Name: "_writer", Kind: String, ID: 100}
	var read Column
	if err := read.UnmarshalJSON([]byte(`{"name":"_writer","type":"string","id":100}`)); err != nil || read != taken {
		t.Errorf("a column of version 2 is read as %v, %v", read, err)
	}
	if err := read.UnmarshalJSON([]byte(`{"name":"_stream","type":"string","id":100}`)); err == nil {
		t.Error("a column with the name of a fixed one of version 2 is read")
	}
	columns := Columns{Declared: Schema{{Name: "_writer", Kind: String}, {Name: "n", Kind: Int}}, Gone: Schema{taken}}
	if err := columns.Validate(); err != nil {
		t.Errorf("Validate of what version 2 allowed: %v", err)
	}
	s, after := columns.Apply(Schema{taken, {Name: "v", Kind: Int, ID: 101}}, nil)
	if diff := cmp.Diff(Schema{{Name: "v", Kind: Int, ID: 101}, {Name: "n", Kind: Int, ID: 102}}, s); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Columns{Declared: Schema{{Name: "n", Kind: Int}}, NextID: 103}, after); diff != "" {
		t.Errorf("what the root wants (-want +got):\n%s", diff)
	}
	if _, err := (Columns{}).Declare(Column{Name: "_writer", Kind: String}); err == nil {
		t.Error("Declare takes the name of a fixed column")
	}
	if _, err := newWriter(&bytes.Buffer{}, newLayout(Schema{taken}), fullGroup, meta(1)); err == nil {
		t.Error("an index is written with two columns of one name")
	}
}

// TestTwoOfOneText has records with two values for one column, of which one may be the text of the other: both are in the row, under each type that
// the column may have, on the way between any two, and in the record that is made of the row.
func TestTwoOfOneText(t *testing.T) {
	values := []string{`"true"`, `true`, `"7"`, `7`, `"x"`, `false`, `"7.5"`, `7.5`}
	var recs []cohort.Record
	var want []string
	for _, a := range values {
		for _, b := range values {
			recs = append(recs, runRecord(t, len(recs)+1, `,"params.n":`+a+`,"params":{"n":`+b+`},"snapshot":{}`))
			both := []string{a, b}
			slices.Sort(both)
			want = append(want, strings.Join(both, " "))
		}
	}
	said := func(data []byte) (said []string) {
		f := open(t, data)
		told, err := f.Extras()
		if err != nil || told.Values() < int64(len(recs)) {
			t.Errorf("Extras = %v, %v, of %d records with two values for one column", told, err, len(recs))
		}
		rows := bothOf(t, data, snapshots(t, nil, puts(1, recs...), nil)).rows
		for i, c := range rows {
			var both []string
			for _, f := range c.Fields {
				both = append(both, strings.TrimSuffix(string(f.Value), ".0"))
			}
			slices.Sort(both)
			said = append(said, strings.Join(both, " "))
			if rec := (Content{Fields: FieldsOf(recs[i], cohort.KeyForm{})}); rec.Sum() != (Content{Fields: c.Fields}).Sum() {
				t.Errorf("row of %s says %v", recs[i].JSON, said[i])
			}
		}
		return said
	}
	kinds := []Schema{{}, {{Name: "params.n", Kind: String}}, {{Name: "params.n", Kind: Int}}, {{Name: "params.n", Kind: Double}}, {{Name: "params.n", Kind: Bool}}}
	for _, from := range kinds {
		var b bytes.Buffer
		stats, err := Merge(&b, nil, nil, from, puts(1, recs...), nil, meta(1))
		if err != nil {
			t.Fatal(err)
		}
		if told, err := open(t, b.Bytes()).Extras(); err != nil || !cmp.Equal(stats.Extra, told) {
			t.Errorf("columns %v: the merge told of %v, and Extras = %v, %v", from, stats.Extra, told, err)
		}
		if diff := cmp.Diff(want, said(b.Bytes())); diff != "" {
			t.Errorf("columns %v (-want +got):\n%s", from, diff)
		}
		for _, to := range kinds {
			data, _ := changed(t, b.Bytes(), to)
			if diff := cmp.Diff(want, said(data)); diff != "" {
				t.Errorf("columns %v, then %v (-want +got):\n%s", from, to, diff)
			}
		}
	}
	for i := range recs {
		remade(t, cohort.KeyForm{}, []cohort.Record{recs[i], runRecord(t, 500, `,"params.n":"a text"`)})
	}
}
