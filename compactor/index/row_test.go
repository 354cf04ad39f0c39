package index

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// fixedPart is the end of every row of these tests, without _extra.
const fixedPart = `"_key":"r:T","_stamp":1700000000000000000,"_record_id":"id","_stream":"` + string(testStream) + `"`

// user is the part of a row between the first fixed columns and the last ones, and its _extra.
func user(t *testing.T, row string) (columns, extra string) {
	t.Helper()
	_, row, ok := strings.Cut(row, `"timestamp":"2023-11-14T22:13:20.000000Z",`)
	columns, rest, ok2 := strings.Cut(row, fixedPart)
	if !ok || !ok2 {
		t.Fatalf("row %s lacks fixed columns", row)
	}
	extra = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(rest, "}"), `,"_extra":`), "")
	return strings.TrimSuffix(columns, ","), extra
}

func TestRow(t *testing.T) {
	long := strings.Repeat("x", maxString)
	for _, tt := range []struct {
		name, members  string // of the record, besides run_id and stage
		columns, extra string
	}{
		{"nothing", ``, ``, ``},
		{"scalars", `"s":"a","i":1,"d":0.1,"b":false`, `"s":"a","i":1,"d":0.1,"b":false`, ``},
		{"zero is not null", `"s":"","i":0,"d":0.0,"b":false,"n":null`, `"s":"","i":0,"d":0.0,"b":false`, ``},
		{"minus zero", `"d":-0.0,"i":-0`, `"d":-0.0,"i":0`, ``},
		{"groups", `"metrics":{"auc":0.5,"x":{"y":1}},"params":{"lr":1e-3,"layers":[1,2]},"tags":{"a":"b"}`,
			`"metrics.auc":0.5,"params.lr":0.001,"tags.a":"b"`, `{"metrics.x":{"y":1},"params.layers":[1,2]}`},
		{"other objects", `"config":{"a":1.50},"list":[1.0]`, ``, `{"config":{"a":1.50},"list":[1.0]}`},
		{"empty group", `"metrics":{},"params":{"a":null}`, ``, `{"metrics":{}}`},
		{"group name as scalar", `"metrics":3`, `"metrics":3`, ``},
		{"snapshot object", `"a":1,"snapshot":{"b":2}`, `"a":1`, ``},
		{"snapshot scalar", `"snapshot":"path"`, `"snapshot":"path"`, ``},
		{"snapshot list", `"snapshot":[1]`, ``, `{"snapshot":[1]}`},
		{"owned", `"phase":"T","timestamp":null,"record_id":"id","snapshot_seq":null`, ``, ``},
		{"fixed names", `"cohort_id":"c","_key":1,"_stamp":2,"_record_id":"x","_stream":"s","_writer":"w","_extra":"e"`,
			``, `{"cohort_id":"c","_key":1,"_stamp":2,"_record_id":"x","_stream":"s","_writer":"w","_extra":"e"}`},
		{"last of a name counts", `"a":1,"b":2,"a":3,"metrics":{"m":1,"m":2}`, `"b":2,"a":3,"metrics.m":2.0`, ``},
		{"last is null", `"a":1,"a":null`, ``, ``},
		{"literal and nested", `"metrics.auc":1,"metrics":{"auc":2}`, `"metrics.auc":1.0`, `{"metrics.auc":2}`},
		{"nested and literal", `"metrics":{"auc":2},"metrics.auc":1`, `"metrics.auc":2.0`, `{"metrics.auc":1}`},
		{"int64 bounds", `"a":9223372036854775807,"b":-9223372036854775808`, `"a":9223372036854775807,"b":-9223372036854775808`, ``},
		{"beyond int64", `"a":9223372036854775808`, ``, `{"a":9223372036854775808}`},
		{"beyond double", `"a":1e400,"b":-1e400,"c":1e308`, `"c":` + appendString(1e308), `{"a":1e400,"b":-1e400}`},
		{"metrics are doubles", `"metrics":{"n":25000,"ok":true,"s":"failed","big":9007199254740993,"e":1e400}`, `"metrics.n":25000.0`,
			`{"metrics.ok":true,"metrics.s":"failed","metrics.big":9007199254740993,"metrics.e":1e400}`},
		{"tags are text", `"tags":{"a":"b","v":7,"ok":true,"f":1.50,"n":null,"o":{}}`, `"tags.a":"b","tags.v":"7","tags.ok":"true","tags.f":"1.50"`,
			`{"tags.v":7,"tags.ok":true,"tags.f":1.50,"tags.o":{}}`},
		{"unicode", `"näme":"\u00fc\ud83d\ude00","日本":"本"`, `"näme":"ü😀","日本":"本"`, ``},
		{"half a surrogate", `"a":"x\ud800y"`, ``, `{"a":"x\ud800y"}`},
		{"long strings", `"a":"` + long + `","b":"` + long + `y"`, `"a":"` + long + `"`, `{"b":"` + long + `y"}`},
		{"odd names", `"":1,"a\u0000b":2,"` + long[:256] + `":3,"a,b\"c.d":4`, `"a,b\"c.d":4`,
			`{"":1,"a\u0000b":2,"` + long[:256] + `":3}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := `{"run_id":"r","stage":"T"`
			if tt.members != "" {
				text += "," + tt.members
			}
			data, _ := merge(t, nil, puts(1, record(t, text+"}")))
			columns, extra := user(t, rows(t, data)[0])
			if columns != tt.columns || extra != tt.extra {
				t.Errorf("row of %s:\n got %s and %s\nwant %s and %s", tt.members, columns, extra, tt.columns, tt.extra)
			}
		})
	}
}

func appendString(f float64) string { return string(appendDouble(nil, f, 64)) }

func TestFixedColumns(t *testing.T) {
	r := record(t, `{"run_id":"a:b","stage":"EVAL","timestamp":"2026-01-31T12:00:00.1234567+02:00","a":1}`)
	r.Stream = "" // as of an import
	r.Writer = "ann@node-7:42"
	data, _ := merge(t, nil, puts(7, r))
	want := `{"run_id":"a:b","phase":"EVAL","cohort_id":"default","snapshot_seq":7,"timestamp":"2026-01-31T10:00:00.123456Z",` +
		`"a":1,"_key":"a:b:EVAL","_stamp":1700000000000000000,"_record_id":"id","_writer":"ann@node-7:42"}`
	if diff := cmp.Diff(want, rows(t, data)[0]); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	for h, err := range open(t, data).Identities() {
		if err != nil {
			t.Fatalf("Identities: %v", err)
		}
		want := Identity{"a:b:EVAL", "default", "a:b", "EVAL", 7, r.Time().UTC().Truncate(1000), r.Version(), "", r.Writer}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Errorf("identity (-want +got):\n%s", diff)
		}
	}
}

func TestWidening(t *testing.T) {
	old, _ := merge(t, nil, puts(1,
		runRecord(t, 1, `,"n":3`),
		runRecord(t, 2, `,"n":9007199254740993,"list":[1]`), // 2^53+1
		runRecord(t, 3, `,"n":9007199254740992`),
		runRecord(t, 4, `,"n":9223372036854775807`),
		runRecord(t, 5, ``)))
	split, stats := merge(t, old, puts(6, runRecord(t, 6, `,"n":0.5`), runRecord(t, 7, `,"n":-9007199254740993`), runRecord(t, 8, `,"n":"x"`)))
	if diff := cmp.Diff(Extras{{"n", OutOfRange, 1}, {"n", OtherType, 1}}, stats.Extra); diff != "" {
		t.Errorf("Merge says of _extra (-want +got):\n%s", diff)
	}
	var got []string
	for _, row := range rows(t, split) {
		_, n, _ := strings.Cut(row, `22:13:20.000000Z",`)
		n, _, _ = strings.Cut(n, `"_key"`)
		_, extra, _ := strings.Cut(row, `"_extra":`)
		got = append(got, n+extra)
	}
	want := []string{`"n":3.0,`, `{"list":[1],"n":9007199254740993}}`, `"n":9007199254740992.0,`,
		`{"n":9223372036854775807}}`, ``, `"n":0.5,`, `{"n":-9007199254740993}}`, `{"n":"x"}}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows after widening (-want +got):\n%s", diff)
	}
}

func TestManyColumns(t *testing.T) {
	var members bytes.Buffer
	for i := range DefaultColumns + 10 {
		fmt.Fprintf(&members, `,"c%03d":%d`, i, i)
	}
	once, stats := merge(t, nil, puts(1, runRecord(t, 1, members.String())))
	if got := len(open(t, once).Schema()); got != maxAdded || stats.Extra.Values() != DefaultColumns+10-maxAdded {
		t.Errorf("one record adds %d columns and %d values to _extra, want %d columns", got, stats.Extra.Values(), maxAdded)
	}
	data, stats := merge(t, once, puts(2, runRecord(t, 2, members.String()), runRecord(t, 3, members.String())))
	f := open(t, data)
	if got := len(f.Schema()); got != DefaultColumns {
		t.Errorf("schema has %d columns, want %d", got, DefaultColumns)
	}
	if want := (Extra{"c500", NoColumn, 2}); stats.Extra.Values() != 20 || stats.Extra[0] != want {
		t.Errorf("Merge says of _extra %v, want 20 values, first %v", stats.Extra, want)
	}
	if got, err := f.Extras(); err != nil || got.Values() != 30 {
		t.Errorf("Extras = %v, %v, want 10 values of each row", got, err)
	}
	if row := rows(t, data)[0]; !strings.Contains(row, `"c499":499,`) || !strings.HasSuffix(row, `"c509":509}}`) {
		t.Errorf("row of many columns is %s", row)
	}
	names := f.file.Schema().Columns()
	if names[0][0] != columnRunID || names[5][0] != "c000" || names[len(names)-1][0] != columnExtra {
		t.Errorf("columns stand in the order %v", names)
	}
}

func TestNoColumns(t *testing.T) {
	empty, stats := merge(t, nil, nil)
	if stats.Rows != 0 || len(rows(t, empty)) != 0 {
		t.Errorf("empty index has %d rows", stats.Rows)
	}
	if data, _ := merge(t, empty, puts(1, runRecord(t, 1, ""))); len(rows(t, data)) != 1 {
		t.Errorf("index made of an empty one has %d rows, want 1", len(rows(t, data)))
	}
}

// TestBounds: what stands in the footer is true and short.
func TestBounds(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	data, _ := merge(t, nil, puts(1, runRecord(t, 1, `,"l":["`+long+`"]`), runRecord(t, 2, `,"a":""`), runRecord(t, 3, `,"l":{},"a":"b"`)))
	empty, _ := merge(t, nil, puts(1, runRecord(t, 1, ``)))
	for _, tt := range []struct {
		data   []byte
		column string
		want   string
	}{
		{data, columnExtra, `"{" "|" 1`}, {empty, columnExtra, `"" "" 1`}, {data, "a", `"" "b" 1`}, {data, columnKey, `"r1:TRAINING" "r3:TRAINING" 0`},
	} {
		f := open(t, tt.data)
		s := f.file.Metadata().RowGroups[0].Columns[f.layout.place[tt.column]].MetaData.Statistics
		if got := fmt.Sprintf("%q %q %d", s.MinValue, s.MaxValue, s.NullCount); got != tt.want {
			t.Errorf("bounds and nulls of %s are %s, want %s", tt.column, got, tt.want)
		}
	}
	if again, stats := mergeWith(t, data, nil, groupSize{4, 1 << 20}); stats.GroupsCopied != 1 || !cmp.Equal(rows(t, again), rows(t, data)) {
		t.Errorf("a row group with short bounds is not copied: %+v", stats)
	}
	indexed, err := openParquet(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range indexed.ColumnIndexes() {
		t.Logf("%s %q %q", indexed.Schema().Columns()[i], c.MinValues, c.MaxValues)
	}
}

func TestSchemaJSON(t *testing.T) {
	s := Schema{{Name: "metrics.auc", Kind: Double}, {Name: "ok, \"", Kind: Bool}, {Name: "n", Kind: Int}, {Name: "s", Kind: String}}
	text := `[{"name":"metrics.auc","type":"double"},{"name":"ok, \"","type":"bool"},{"name":"n","type":"int64"},{"name":"s","type":"string"}]`
	got, err := marshalSchema(s)
	if err != nil || string(got) != text {
		t.Errorf("schema as JSON is %s, %v, want %s", got, err, text)
	}
	var back Schema
	if err := back.UnmarshalJSON([]byte(text)); err != nil || !back.Equal(s) {
		t.Errorf("schema from JSON is %v, %v, want %v", back, err, s)
	}
	for _, bad := range []string{
		`[{"name":"a","type":"float"}]`, `[{"name":"a"}]`, `[{"name":"","type":"bool"}]`, `[{"name":"_key","type":"string"}]`,
		`[{"name":"a","type":"bool","x":1}]`, `[{"name":"a","type":"bool"},{"name":"a","type":"int64"}]`, `{}`, `[1]`,
	} {
		if err := new(Schema).UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("schema %s is accepted", bad)
		}
	}
	if _, err := marshalSchema(Schema{{Name: "a", Kind: Kind(jsonscan.Object)}}); err == nil {
		t.Error("a column of kind object is written")
	}
}

func TestExtend(t *testing.T) {
	s := Schema{{Name: "n", Kind: Int}}
	got := s.Extend([]cohort.Record{
		runRecord(t, 1, `,"late":null,"big":1e400,"b":true`),
		runRecord(t, 1, `,"b":"no","n":1.5,"d":1.0,"huge":99999999999999999999`),
		runRecord(t, 1, `,"late":1,"d":2,"huge":1`),
	})
	want := Schema{{Name: "n", Kind: Double}, {Name: "b", Kind: Bool}, {Name: "d", Kind: Double}, {Name: "late", Kind: Int}, {Name: "huge", Kind: Int}}
	if diff := cmp.Diff(want, plain(got)); diff != "" {
		t.Errorf("Extend (-want +got):\n%s", diff)
	}
	if s[0].Kind != Int {
		t.Error("Extend changed its receiver")
	}
	if s.Equal(got) || !plain(got).Equal(want) {
		t.Error("Equal is wrong")
	}
}
