package index

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
)

// foreignRows reads a foreign file into text.
func foreignRows(t *testing.T, data []byte) []string {
	t.Helper()
	var out []string
	for r, err := range ForeignRows(bytes.NewReader(data), int64(len(data))) {
		if err != nil {
			t.Fatalf("ForeignRows: %v", err)
		}
		if !json.Valid(r.JSON) {
			t.Fatalf("row %s is not JSON", r.JSON)
		}
		out = append(out, string(r.JSON))
	}
	return out
}

func writeForeign[T any](t *testing.T, rows []T, options ...parquet.WriterOption) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := parquet.Write(&out, rows, options...); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func ptr[T any](v T) *T { return &v }

func TestForeignScalars(t *testing.T) {
	type row struct {
		RunID   *string  `parquet:"run_id,optional"`
		Auc     *float64 `parquet:"auc,optional"`
		F32     *float32 `parquet:"f32,optional"`
		I32     *int32   `parquet:"i32,optional"`
		U64     *uint64  `parquet:"u64,optional"`
		U8      *uint8   `parquet:"u8,optional"`
		Ok      *bool    `parquet:"ok,optional,dict"`
		Raw     []byte   `parquet:"raw,optional"`
		Word    string   `parquet:"word,dict"`
		Index   *int64   `parquet:"__index_level_0__,optional"`
		Zstd    string   `parquet:"zstd,zstd"`
		Snappy  string   `parquet:"snappy,snappy"`
		Gzip    string   `parquet:"gzip,gzip"`
		Brotli  string   `parquet:"brotli,brotli"`
		Lz4     string   `parquet:"lz4,lz4"`
		Default string   `parquet:"delta,delta"`
	}
	got := foreignRows(t, writeForeign(t, []row{
		{},
		{RunID: ptr("ü"), Auc: ptr(0.1), F32: ptr(float32(0.1)), I32: ptr(int32(-5)), U64: ptr(uint64(math.MaxUint64)), U8: ptr(uint8(255)),
			Ok: ptr(false), Raw: []byte("text"), Word: "w", Index: ptr(int64(1)), Zstd: "z", Snappy: "s", Gzip: "g", Brotli: "b", Lz4: "l", Default: "d"},
		{Auc: ptr(math.NaN()), F32: ptr(float32(math.Inf(-1))), Raw: []byte{0xff, 0}},
		{RunID: ptr(""), Auc: ptr(3.0), F32: ptr(float32(1e30)), I32: ptr(int32(0))},
	}))
	rest := `"zstd":"","snappy":"","gzip":"","brotli":"","lz4":"","delta":""}`
	want := []string{
		`{"word":"",` + rest,
		`{"run_id":"ü","auc":0.1,"f32":0.1,"i32":-5,"u64":18446744073709551615,"u8":255,"ok":false,"raw":"text","word":"w",` +
			`"zstd":"z","snappy":"s","gzip":"g","brotli":"b","lz4":"l","delta":"d"}`,
		`{"raw":"/wA=","word":"",` + rest,
		`{"run_id":"","auc":3.0,"f32":1e+30,"i32":0,"word":"",` + rest,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// int96 has the words in the order in which a file has them: the library writes them as this machine has them.
func int96(words ...uint32) deprecated.Int96 {
	var b [12]byte
	for i, w := range words {
		binary.LittleEndian.PutUint32(b[4*i:], w)
	}
	n := binary.NativeEndian
	return deprecated.Int96{n.Uint32(b[:]), n.Uint32(b[4:]), n.Uint32(b[8:])}
}

func TestForeignTimes(t *testing.T) {
	type row struct {
		Ms    int64            `parquet:"ms,timestamp(millisecond)"`
		Us    int64            `parquet:"us,timestamp(microsecond:local)"`
		Ns    int64            `parquet:"ns,timestamp(nanosecond:local)"`
		Day   int32            `parquet:"day,date"`
		Clock int32            `parquet:"clock,time(millisecond)"`
		Old   deprecated.Int96 `parquet:"old"`
		Null  *time.Time       `parquet:"null,optional,timestamp(microsecond)"`
		ID    [16]byte         `parquet:"id,uuid"`
	}
	at := time.Date(2026, 1, 31, 12, 0, 0, 123456789, time.UTC)
	noon := uint64(12*time.Hour + 123456789)
	old := int96(uint32(noon), uint32(noon>>32), uint32(2440588+at.Unix()/86400))
	got := foreignRows(t, writeForeign(t, []row{
		{at.UnixMilli(), at.UnixMicro(), at.UnixNano(), int32(at.Unix() / 86400), 43200123, old, nil, [16]byte{0xab, 15: 1}},
		{-1, -1, -1, -1, 0, int96(0, 0, 2440588), nil, [16]byte{}},
	}))
	want := []string{
		`{"ms":"2026-01-31T12:00:00.123Z","us":"2026-01-31T12:00:00.123456","ns":"2026-01-31T12:00:00.123456789","day":"2026-01-31",` +
			`"clock":"12:00:00.123","old":"2026-01-31T12:00:00.123456789Z","id":"ab000000-0000-0000-0000-000000000001"}`,
		`{"ms":"1969-12-31T23:59:59.999Z","us":"1969-12-31T23:59:59.999999","ns":"1969-12-31T23:59:59.999999999","day":"1969-12-31",` +
			`"clock":"00:00:00","old":"1970-01-01T00:00:00Z","id":"00000000-0000-0000-0000-000000000000"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestForeignNested(t *testing.T) {
	type point struct {
		X *float64 `parquet:"x,optional"`
		Y []int64  `parquet:"y,list"`
	}
	type inner struct {
		In []string `parquet:"in,list"`
	}
	type row struct {
		A      string             `parquet:"a"`
		Point  *point             `parquet:"point,optional"`
		List   []*float64         `parquet:"list,list,optional"`
		Points []point            `parquet:"points,list"`
		Deep   []inner            `parquet:"deep,list"`
		Bare   []int64            `parquet:"bare"`
		Map    map[string]float64 `parquet:"map"`
		Codes  map[int64]string   `parquet:"codes"`
		Z      string             `parquet:"z"`
	}
	got := foreignRows(t, writeForeign(t, []row{
		{A: "1", Z: "1"},
		{
			A: "2", Z: "2", Point: &point{ptr(1.0), []int64{1, 2}}, List: []*float64{ptr(1.5), ptr(math.NaN())},
			Points: []point{{}, {ptr(2.0), nil}, {nil, []int64{3}}}, Deep: []inner{{[]string{"a", "b"}}, {}, {[]string{"c"}}}, Bare: []int64{7, 8},
			Map: map[string]float64{"k": 0.5}, Codes: map[int64]string{5: "five"},
		},
		{A: "3", Z: "3", Point: &point{}},
	}))
	want := []string{
		`{"a":"1","points":[],"deep":[],"bare":[],"map":{},"codes":{},"z":"1"}`,
		`{"a":"2","point":{"x":1.0,"y":[1,2]},"list":[1.5,null],"points":[{"y":[]},{"x":2.0,"y":[]},{"y":[3]}],"deep":[{"in":["a","b"]},{"in":[]},{"in":["c"]}],"bare":[7,8],` +
			`"map":{"k":0.5},"codes":{"5":"five"},"z":"2"}`,
		`{"a":"3","point":{"y":[]},"points":[],"deep":[],"bare":[],"map":{},"codes":{},"z":"3"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestForeignTypes writes what Go structs cannot say.
func TestForeignTypes(t *testing.T) {
	nodes := []struct {
		name  string
		node  parquet.Node
		value parquet.Value
		want  string
	}{
		{"dec32", parquet.Decimal(2, 9, parquet.Int32Type), parquet.Int32Value(-5), `-0.05`},
		{"dec64", parquet.Decimal(3, 18, parquet.Int64Type), parquet.Int64Value(1234567), `1234.567`},
		{"dec0", parquet.Decimal(0, 18, parquet.Int64Type), parquet.Int64Value(7), `7`},
		{"decfix", parquet.Decimal(1, 20, parquet.FixedLenByteArrayType(9)), parquet.FixedLenByteArrayValue(append([]byte{0xff}, bigBytes(-12345)...)), `-1234.5`},
		{"json", parquet.JSON(), parquet.ByteArrayValue([]byte(`{"a":[1]}`)), `{"a":[1]}`},
		{"badjson", parquet.JSON(), parquet.ByteArrayValue([]byte(`{`)), `"{"`},
		{"enum", parquet.Enum(), parquet.ByteArrayValue([]byte(`E`)), `"E"`},
		{"fixed", parquet.Leaf(parquet.FixedLenByteArrayType(3)), parquet.FixedLenByteArrayValue([]byte{1, 2, 0xff}), `"AQL/"`},
		{"null", parquet.Leaf(parquet.NullType), parquet.NullValue(), ``},
		{"with,comma \"q\"", parquet.String(), parquet.ByteArrayValue([]byte("x")), `"x"`},
	}
	root := row{}
	var one, none parquet.Row
	want := "{"
	for i, n := range nodes {
		root.fields = append(root.fields, column{parquet.Optional(n.node), n.name})
		level := 1
		if n.value.IsNull() {
			level = 0
		}
		one = append(one, n.value.Level(0, level, i))
		none = append(none, parquet.NullValue().Level(0, 0, i))
		if n.want != "" {
			name, _ := json.Marshal(n.name)
			want += string(name) + ":" + n.want + ","
		}
	}
	want = want[:len(want)-1] + "}"
	var out bytes.Buffer
	w := parquet.NewGenericWriter[any](&out, parquet.NewSchema("foreign", root), parquet.DataPageVersion(1))
	if _, err := w.WriteRows([]parquet.Row{none, one, none}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"{}", want, "{}"}, foreignRows(t, out.Bytes())); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func bigBytes(n int64) []byte {
	b := new(big.Int).SetUint64(uint64(n)).Bytes()
	return append(make([]byte, 8-len(b)), b...)
}

// TestForeignOurs: our own index is a foreign file like any other.
func TestForeignOurs(t *testing.T) {
	data := sample(t)
	got := foreignRows(t, data)
	if len(got) != 250 {
		t.Fatalf("%d rows, want 250", len(got))
	}
	want := `{"run_id":"r1","phase":"TRAINING","cohort_id":"default","snapshot_seq":2,"timestamp":"2023-11-14T22:13:20Z","a":1,"s":"x1","metrics.m":0.1,` +
		`"_key":"r1:TRAINING","_stamp":1700000000000000000,"_record_id":"id","_digest":` + digestOf(t, data, 1) + `,"_stream":"` + string(testStream) + `","_extra":"{\"list\":[1]}"}`
	if diff := cmp.Diff(want, got[1]); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

// TestForeignNonFinite counts NaN and infinities, in columns and in lists. NULL does not count, and neither does the JSON value null.
func TestForeignNonFinite(t *testing.T) {
	type row struct {
		D    float64   `parquet:"d"`
		F    float32   `parquet:"f"`
		O    *float64  `parquet:"o,optional"`
		List []float64 `parquet:"list,list"`
		J    string    `parquet:"j,json"`
	}
	nan, inf := math.NaN(), math.Inf(-1)
	data := writeForeign(t, []row{
		{1, 2, ptr(3.0), []float64{4}, "null"},
		{nan, float32(inf), nil, []float64{nan, 1, inf}, "null"},
		{0, 0, ptr(nan), nil, "1"},
	})
	var got []int
	for r, err := range ForeignRows(bytes.NewReader(data), int64(len(data))) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.NonFinite)
	}
	if want := []int{0, 4, 1}; !cmp.Equal(got, want) {
		t.Errorf("values that are no numbers: %v, want %v", got, want)
	}
}
