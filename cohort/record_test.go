package cohort_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/runfold/runfold/cohort"
)

// valid is ParseRecord and Validate: the road of every record that is appended.
func valid(data string) (cohort.Record, error) {
	r, err := cohort.ParseRecord([]byte(data), 0)
	if err != nil {
		return r, err
	}
	return r, r.Validate()
}

func mustRecord(t testing.TB, data string) cohort.Record {
	t.Helper()
	r, err := valid(data)
	if err != nil {
		t.Fatalf("ParseRecord(%.200q): %v", data, err)
	}
	return r
}

// with is a valid record with more members.
func with(members string) string { return `{"run_id":"r","stage":"S",` + members + `}` }

// nested is a record that nests depth levels deep, itself included.
func nested(depth int) string {
	return with(`"x":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1))
}

func utf16Bytes(s string, bigEndian, mark bool) string {
	if mark {
		s = "\ufeff" + s
	}
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if bigEndian {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

// fields compares what a record says, not what is remembered of how it was parsed.
var fields = cmpopts.IgnoreUnexported(cohort.Record{})

func TestParseRecord(t *testing.T) {
	got := mustRecord(t, `  {"run_id":"日次:北","phase":"TRAINING","timestamp":"2026-03-01T12:00:00+09:00",`+
		`"record_id":"k-1","target":"ret5","view":7,"symbol":true,"snapshot_seq":null,"metrics":{"auc":NaN}}`+"\r\n")
	want := cohort.Record{
		RunID: "日次:北", Stage: "TRAINING", Timestamp: "2026-03-01T12:00:00+09:00", ID: "k-1",
		Target: "ret5", View: "7", Symbol: "true", NonFinite: 1,
		JSON: []byte(`{"run_id":"日次:北","phase":"TRAINING","timestamp":"2026-03-01T12:00:00+09:00",` +
			`"record_id":"k-1","target":"ret5","view":7,"symbol":true,"snapshot_seq":null,"metrics":{"auc":null}}`),
	}
	if !got.Unchanged() {
		t.Error("what ParseRecord returns is not unchanged")
	}
	if diff := cmp.Diff(want, got, fields); diff != "" {
		t.Errorf("ParseRecord (-want +got):\n%s", diff)
	}
	if want.Unchanged() {
		t.Error("a record that was put together by hand is unchanged")
	}
}

// TestUnchanged: every change after ParseRecord is noticed, except in the fields that only the journal sets.
func TestUnchanged(t *testing.T) {
	data := []byte(`{"run_id":"r","stage":"S","timestamp":"2026-03-01T12:00:00Z","target":"t","view":"v","symbol":"s","x":1}`)
	parsed := mustRecord(t, string(data))
	for name, change := range map[string]func(r *cohort.Record){
		"run_id": func(r *cohort.Record) { r.RunID = "q" }, "stage": func(r *cohort.Record) { r.Stage = "" },
		"timestamp": func(r *cohort.Record) { r.Timestamp += "Z" }, "target": func(r *cohort.Record) { r.Target = "" },
		"view": func(r *cohort.Record) { r.View = "s" }, "symbol": func(r *cohort.Record) { r.Symbol = "v" },
		"stage and run_id": func(r *cohort.Record) { r.RunID, r.Stage = "rS", "" },
		"JSON":             func(r *cohort.Record) { r.JSON = append([]byte(nil), data[:len(data)-1]...) },
		"no JSON":          func(r *cohort.Record) { r.JSON = nil },
	} {
		r := parsed
		if change(&r); r.Unchanged() {
			t.Errorf("%s changed and nobody noticed", name)
		}
	}
	r := parsed
	r.Cohort, r.Stream, r.Stamp, r.ID = "c", "01JE0000000000000000000001", 7, "id"
	if !r.Unchanged() {
		t.Error("a record that was appended is not unchanged")
	}
	alias, err := cohort.ParseRecord(data, 0)
	if err != nil || !alias.Unchanged() {
		t.Fatal(err)
	}
	data[len(data)-2] = '2' // as a program does that reads lines into one buffer
	if alias.Unchanged() {
		t.Error("the bytes below a record changed and nobody noticed")
	}
}

// A user sees these messages after the number of the line. Each says what to change.
func TestParseRecordRefuses(t *testing.T) {
	const whole = `{"run_id":"r","stage":"S"}`
	tests := []struct{ name, data, want string }{
		{"empty", "", `record is empty`},
		{"space", " \t\r\n", `record is empty`},
		{"only a byte order mark", "\ufeff", `record is empty`},

		{"not JSON", `run_id=r`, `record is not JSON at byte 1: invalid character 'r' looking for beginning of value`},
		{"single quotes", `{'run_id':'r'}`,
			`record is not JSON at byte 2: invalid character '\'' looking for beginning of object key string`},
		{"truncated", `{"run_id":"r","sta`, `record is not JSON at byte 18: unexpected end of JSON input`},
		{"two objects", whole + whole, `record is not JSON at byte 27: invalid character '{' after top-level value`},
		{"comma at the end", `{"run_id":"r",}`,
			`record is not JSON at byte 15: invalid character '}' looking for beginning of object key string`},
		{"line break in a string", "{\"run_id\":\"r\ns\"}",
			`record is not JSON at byte 13: invalid character '\n' in string literal`},
		{"NUL", "{\"run_id\":\"r\x00\"}", `record is not JSON at byte 13: invalid character '\x00' in string literal`},
		{"two byte order marks", "\ufeff\ufeff" + whole,
			`record is not JSON at byte 1: invalid character 'ï' looking for beginning of value`},
		{"space is not counted", "\ufeff \n {,}",
			`record is not JSON at byte 2: invalid character ',' looking for beginning of object key string`},
		// Tokens before the error were replaced, so its place is not known.
		{"NaN before the error", `{"run_id":NaN,,}`,
			`record is not JSON: invalid character ',' looking for beginning of object key string`},

		{"array", `[` + whole + `]`, `record is a JSON array: it must be an object`},
		{"string", `"r"`, `record is a JSON string: it must be an object`},
		{"integer", `1`, `record is a JSON int64: it must be an object`},
		{"double", `1e3`, `record is a JSON double: it must be an object`},
		{"bool", `true`, `record is a JSON bool: it must be an object`},
		{"null", `null`, `record is a JSON null: it must be an object`},
		{"NaN", `NaN`, `record is a JSON null: it must be an object`},

		{"UTF-16LE", utf16Bytes(whole, false, false), `record is UTF-16: write it as UTF-8`},
		{"UTF-16BE", utf16Bytes(whole, true, false), `record is UTF-16: write it as UTF-8`},
		{"UTF-16LE with mark", utf16Bytes(whole, false, true), `record is UTF-16: write it as UTF-8`},
		{"UTF-16BE with mark", utf16Bytes(whole, true, true), `record is UTF-16: write it as UTF-8`},
		{"Latin-1", "{\"run_id\":\"gr\xf6\xdfe\"}", `record is not UTF-8 at byte 14`},
		{"cut in a character", "{\"run_id\":\"\xe6\x97\"}", `record is not UTF-8 at byte 12`},
		{"surrogates in UTF-8", "{\"run_id\":\"\xed\xa0\x80\"}", `record is not UTF-8 at byte 12`},

		{"deep", nested(501), `record is nested deeper than 500 levels`},
		{"deeper than encoding/json goes", nested(10001), `record is nested deeper than 500 levels`},
		{"deep objects", strings.Repeat(`{"a":`, 10001), `record is nested deeper than 500 levels`},

		{"no run_id", `{"stage":"S"}`, `run_id is missing`},
		{"empty run_id", `{"run_id":"","stage":"S"}`, `run_id is missing`},
		{"null run_id", `{"run_id":null,"stage":"S"}`, `run_id is missing`},
		{"NaN run_id", `{"run_id":NaN,"stage":"S"}`, `run_id is missing`},
		{"null run_id after another", with(`"run_id":null`), `run_id is missing`},
		{"run_id of another case", `{"RUN_ID":"r","stage":"S"}`, `run_id is missing`},
		{"run_id number", `{"run_id":17,"stage":"S"}`, `run_id must be a string, is an int64`},
		{"run_id double", `{"run_id":1.5,"stage":"S"}`, `run_id must be a string, is a double`},
		{"run_id bool", `{"run_id":true,"stage":"S"}`, `run_id must be a string, is a bool`},
		{"run_id object", `{"run_id":{},"stage":"S"}`, `run_id must be a string, is an object`},
		{"run_id array", `{"run_id":["r"],"stage":"S"}`, `run_id must be a string, is an array`},
		{"run_id long", `{"run_id":"` + strings.Repeat("r", 1025) + `","stage":"S"}`,
			`run_id of 1025 bytes is too long: at most 1024`},
		{"run_id long in bytes", `{"run_id":"` + strings.Repeat("ß", 513) + `","stage":"S"}`,
			`run_id of 1026 bytes is too long: at most 1024`},
		{"run_id with half a pair", `{"run_id":"\ud800","stage":"S"}`, `run_id has an escape that is not a character`},
		{"run_id with the other half", `{"run_id":"a\uDC00b","stage":"S"}`, `run_id has an escape that is not a character`},
		{"run_id with two first halves", `{"run_id":"\ud83d\ud83d\ude00","stage":"S"}`, `run_id has an escape that is not a character`},
		{"run_id with half a pair and U+FFFD", `{"run_id":"` + "\ufffd" + `\ud800","stage":"S"}`,
			`run_id has an escape that is not a character`},

		{"no stage", `{"run_id":"r"}`, `stage is missing`},
		{"null stage", `{"run_id":"r","stage":null,"phase":null}`, `stage is missing`},
		{"stage number", `{"run_id":"r","stage":1}`, `stage must be a string, is an int64`},
		{"phase number", `{"run_id":"r","phase":1}`, `phase must be a string, is an int64`},
		{"stage with ':'", `{"run_id":"r","stage":"A:B"}`,
			`stage "A:B" has a ':', which separates run_id and stage in keys`},
		{"phase with ':'", `{"run_id":"r","phase":"A:B"}`,
			`stage "A:B" has a ':', which separates run_id and stage in keys`},
		{"stage and phase differ", `{"run_id":"r","stage":"A","phase":"B"}`, `stage "A" and its synonym phase "B" differ`},
		{"stage long", `{"run_id":"r","stage":"` + strings.Repeat("s", 1025) + `"}`,
			`stage of 1025 bytes is too long: at most 1024`},

		{"snapshot_seq", with(`"snapshot_seq":1`), `snapshot_seq must be absent or null: the compactor assigns it`},
		{"snapshot_seq 0", with(`"snapshot_seq":0`), `snapshot_seq must be absent or null: the compactor assigns it`},
		{"snapshot_seq text", with(`"snapshot_seq":""`), `snapshot_seq must be absent or null: the compactor assigns it`},

		{"record_id number", with(`"record_id":1`), `record_id must be a string, is an int64`},
		{"record_id long", with(`"record_id":"` + strings.Repeat("k", 256) + `"`),
			`record_id of 256 bytes is too long: at most 255`},
		{"target long", with(`"target":"` + strings.Repeat("t", 1025) + `"`),
			`target of 1025 bytes is too long: at most 1024`},
		{"view long", with(`"view":1` + strings.Repeat("0", 1024)), `view of 1025 bytes is too long: at most 1024`},
		{"symbol long", with(`"symbol":"` + strings.Repeat("s", 1025) + `"`),
			`symbol of 1025 bytes is too long: at most 1024`},
		{"target with half a pair", with(`"target":"\ud800"`), `target has an escape that is not a character`},

		{"timestamp number", with(`"timestamp":1772366400`), `timestamp must be a string, is an int64`},
	}
	for _, test := range tests {
		_, err := valid(test.data)
		if got := message(err); got != test.want {
			t.Errorf("%s: ParseRecord(%.100q) = %q, want %q", test.name, test.data, got, test.want)
		}
	}
}

func TestParseRecordAccepts(t *testing.T) {
	tests := []struct {
		name, data string
		run, stage string
	}{
		{"byte order mark", "\ufeff" + `{"run_id":"r","stage":"S"}`, "r", "S"},
		{"byte order mark amid space", " \ufeff\r\n" + `{"run_id":"r","stage":"S"}`, "r", "S"},
		{"phase alone", `{"run_id":"r","phase":"S"}`, "r", "S"},
		{"equal synonyms", `{"run_id":"r","phase":"S","stage":"S"}`, "r", "S"},
		{"null synonym", `{"run_id":"r","phase":"S","stage":null}`, "r", "S"},
		{"empty synonym", `{"run_id":"r","phase":"","stage":"S"}`, "r", "S"},
		{"the last of two", `{"run_id":"a","stage":"A","run_id":"r","stage":"S"}`, "r", "S"},
		{"the last of two, escaped", `{"run_id":"a","stage":"S","run\u005fid":"r"}`, "r", "S"},
		{"escaped names", `{"run\u005fid":"r","\u0073\u0074age":"S"}`, "r", "S"},
		{"escaped values", `{"run_id":"\u65e5\n\"\\\/","stage":"\u0053"}`, "日\n\"\\/", "S"},
		{"run_id with ':'", `{"run_id":":a:b:","stage":"S"}`, ":a:b:", "S"},
		{"not ASCII", `{"run_id":"größe","stage":"学習"}`, "größe", "学習"},
		{"pair of surrogates", `{"run_id":"\ud83d\ude00","stage":"S"}`, "😀", "S"},
		{"escaped backslash before u", `{"run_id":"\\ud800","stage":"S"}`, `\ud800`, "S"},
		{"U+FFFD itself", `{"run_id":"` + "\ufffd" + `","stage":"\ufffd\uFFFD"}`, "\ufffd", "\ufffd\ufffd"},
		{"1024 bytes", `{"run_id":"` + strings.Repeat("r", 1024) + `","stage":"S"}`, strings.Repeat("r", 1024), "S"},
		{"names within other objects", `{"params":{"run_id":1,"stage":[],"snapshot_seq":4},"run_id":"r","stage":"S"}`, "r", "S"},
		{"names as values", `{"a":"run_id","b":"stage","run_id":"r","stage":"S"}`, "r", "S"},
		{"half a pair elsewhere", `{"run_id":"r","stage":"S","note":"\ud800"}`, "r", "S"},
		{"500 levels", nested(500), "r", "S"},
		{"brackets in strings", with(`"x":"` + strings.Repeat(`[{\"`, 1000) + `"`), "r", "S"},
		{"brackets side by side", with(`"x":[` + strings.Repeat(`[{}],`, 1000) + `[]]`), "r", "S"},
	}
	for _, test := range tests {
		r, err := valid(test.data)
		if err != nil {
			t.Errorf("%s: ParseRecord(%.100q): %v", test.name, test.data, err)
			continue
		}
		if r.RunID != test.run || r.Stage != test.stage {
			t.Errorf("%s: ParseRecord(%.100q) = %q, %q, want %q, %q", test.name, test.data, r.RunID, r.Stage, test.run, test.stage)
		}
	}
}

// Scalars that are not strings widen the key by their token; null and values that are not scalars do not.
func TestParseRecordTarget(t *testing.T) {
	for value, want := range map[string]string{
		`"ret5"`: "ret5", `"\u0041"`: "A", `""`: "", `null`: "", `5`: "5", `5.0`: "5.0", `1e3`: "1e3", `-0`: "-0",
		`true`: "true", `false`: "false", `{}`: "", `["a"]`: "", `NaN`: "",
	} {
		r := mustRecord(t, with(`"target":`+value+`,"view":`+value+`,"symbol":`+value))
		if r.Target != want || r.View != want || r.Symbol != want {
			t.Errorf("ParseRecord with target %s = %q, %q, %q, want %q", value, r.Target, r.View, r.Symbol, want)
		}
	}
}

func TestParseRecordLimit(t *testing.T) {
	data := with(`"x":"` + strings.Repeat("x", 100) + `"`)
	tests := []struct {
		name, data string
		limit      int
		want       string
	}{
		{"at the limit", data, len(data), ``},
		{"space does not count", "\ufeff " + data + " \r\n", len(data), ``},
		{"over the limit", data, len(data) - 1, `record of 133 bytes is over the limit of 132`},
		{"default limit", with(`"x":"` + strings.Repeat("x", 16<<20) + `"`), 0, `record of 16777249 bytes is over the limit of 16777216`},
		{"NaN grows", with(`"x":[NaN,NaN]`), 40, `record of 42 bytes is over the limit of 40`},
		{"-Infinity shrinks too late", with(`"x":-Infinity`), 36, `record of 40 bytes is over the limit of 36`},
	}
	for _, test := range tests {
		_, err := cohort.ParseRecord([]byte(test.data), test.limit)
		if got := message(err); got != test.want {
			t.Errorf("%s: ParseRecord(%d bytes, %d) = %q, want %q", test.name, len(test.data), test.limit, got, test.want)
		}
	}
}

func TestTimestamp(t *testing.T) {
	good := map[string]string{
		"2026-03-01T12:00:00Z":                "2026-03-01T12:00:00Z",
		"2026-03-01T12:00:00.5Z":              "2026-03-01T12:00:00.5Z",
		"2026-03-01T12:00:00.123456+00:00":    "2026-03-01T12:00:00.123456Z",
		"2026-03-01T12:00:00+09:00":           "2026-03-01T03:00:00Z",
		"2026-03-01T12:00:00-03:30":           "2026-03-01T15:30:00Z",
		"2026-03-01T12:00:00.123456789+23:59": "2026-02-28T12:01:00.123456789Z",
		"2024-02-29T23:59:59Z":                "2024-02-29T23:59:59Z",
		"2026-03-01t12:00:00z":                "2026-03-01T12:00:00Z",
		"2026-03-01t12:00:00.5+09:00":         "2026-03-01T03:00:00.5Z",
		"2026-03-01T12:00:00z":                "2026-03-01T12:00:00Z",
	}
	for text, want := range good {
		r, err := valid(with(`"timestamp":"` + text + `"`))
		if err != nil {
			t.Errorf("Validate with timestamp %q: %v", text, err)
			continue
		}
		if got := r.Time().UTC().Format(time.RFC3339Nano); got != want {
			t.Errorf("Time of %q = %s, want %s", text, got, want)
		}
		if got := r.TimeText(); got != text {
			t.Errorf("TimeText of %q = %q, want the same text", text, got)
		}
	}
	for _, text := range []string{
		"2026-03-01T12:00:00.123456", // datetime.now().isoformat() in Python
		"2026-03-01T12:00:00",
		"2026-03-01t12:00:00",
	} {
		_, err := valid(with(`"timestamp":"` + text + `"`))
		want := `timestamp "` + text + `" has no zone: add one, such as Z or +02:00, or use journal-append --assume-zone UTC`
		if got := message(err); got != want {
			t.Errorf("Validate with timestamp %q = %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{
		"2026-03-01 12:00:00+00:00", // str(datetime) in Python
		"2026-03-01",
		"20260301T120000Z",
		"2026-03-01T12:00Z",
		"2026-03-01T12:00:00+0900",
		"2026-03-01T12:00:00+09",
		"2026-03-01T9:00:00Z",
		"2026-03-01T12:00:00,5Z",
		"2026-03-01T12:00:00.Z",
		"2026-03-01T12:00:00+24:00",
		"2026-03-01T12:00:00+12:60",
		"2026-02-30T12:00:00Z",
		"2026-03-01T24:00:00Z",
		"2026-03-01t12:00:00y",
		"2026-03-01T12:00:00zz",
		"2026-03-01T12:00:00Zz",
		"2026-03-01T12:00:61Z",
		"2026-03-01T12:00:60.Z",
		"2026-03-01T9:00:60Z",
		"12026-03-01T12:00:00Z",
		"1772366400",
		"now",
		" 2026-03-01T12:00:00Z",
	} {
		_, err := valid(with(`"timestamp":"` + text + `"`))
		want := `timestamp "` + text + `" is not RFC 3339, such as 2026-01-31T12:00:00Z`
		if got := message(err); got != want {
			t.Errorf("Validate with timestamp %q = %q, want %q", text, got, want)
		}
	}
}

// A record without a timestamp has the time of its append, whatever its stamp says, with six digits; where nobody knows that, it
// has none.
func TestTimeOfAppend(t *testing.T) {
	for _, data := range []string{with(`"timestamp":null`), with(`"timestamp":""`), with(`"x":0`)} {
		r := mustRecord(t, data)
		r.Stamp = 1772366400120000000
		for _, test := range []struct {
			written time.Time
			text    string
		}{
			{time.Date(2026, 3, 1, 11, 0, 0, 120000000, time.UTC), "2026-03-01T11:00:00.120000Z"},
			{time.Date(2026, 3, 1, 20, 0, 0, 0, time.FixedZone("", 9*3600)), "2026-03-01T11:00:00.000000Z"},
			{time.Date(2026, 3, 1, 11, 0, 0, 999999999, time.UTC), "2026-03-01T11:00:00.999999Z"},
			{time.Time{}, ""},
		} {
			r.Written = test.written
			if got := r.Time(); !got.Equal(test.written) {
				t.Errorf("Time of %s, written at %s = %s", data, test.written, got)
			}
			if got := r.TimeText(); got != test.text {
				t.Errorf("TimeText of %s, written at %s = %q, want %q", data, test.written, got, test.text)
			}
		}
	}
	given := mustRecord(t, with(`"timestamp":"2026-03-01T12:00:00+09:00"`))
	given.Written = time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)
	if got, want := given.TimeText(), "2026-03-01T12:00:00+09:00"; got != want {
		t.Errorf("TimeText of a record with a timestamp = %q, want %q", got, want)
	}
}

func TestNonFinite(t *testing.T) {
	tests := []struct {
		in, out string
		n       int
	}{
		{`{"x":NaN}`, `{"x":null}`, 1},
		{`{"x":Infinity}`, `{"x":null}`, 1},
		{`{"x":-Infinity}`, `{"x":null}`, 1},
		{`{"x":[NaN,Infinity, -Infinity ,1]}`, `{"x":[null,null, null ,1]}`, 3},
		{`{"NaN":NaN}`, `{"NaN":null}`, 1},
		{`{"NaN":1,"Infinity":2,"-Infinity":3}`, `{"NaN":1,"Infinity":2,"-Infinity":3}`, 0},
		{`{"x":"NaN, Infinity and -Infinity"}`, `{"x":"NaN, Infinity and -Infinity"}`, 0},
		{`{"x":"\"NaN","y":NaN}`, `{"x":"\"NaN","y":null}`, 1},
		{`{"x":"\\","y":NaN}`, `{"x":"\\","y":null}`, 1},
		{`{"x":"日NaN","日":NaN}`, `{"x":"日NaN","日":null}`, 1},
		{`{"x":null}`, `{"x":null}`, 0},
	}
	for _, test := range tests {
		r, err := cohort.ParseRecord([]byte(test.in), 0)
		if err != nil || string(r.JSON) != test.out || r.NonFinite != test.n {
			t.Errorf("ParseRecord(%s) = %s, %d, %v, want %s, %d", test.in, r.JSON, r.NonFinite, err, test.out, test.n)
		}
	}
	for _, in := range []string{
		`{NaN:1}`, `{Infinity:1}`, `{"x":-NaN}`, `{"x":+Infinity}`, `{"x":--Infinity}`, `{"x":nan}`, `{"x":inf}`,
		`{"x":1NaN}`, `{"x":NaN1}`, `{"x":NaNNaN}`, `{"x":NaNInfinity}`, `{"x":-1Infinity}`, `{"x":Inf}`,
		`{"x":"NaN}`, `{"x":NaN`, `NaN{}`, `{}NaN`, `{"x"NaN:1}`, `{"x":NaN"y"}`, `{"x":"NaN\`,
	} {
		if r, err := cohort.ParseRecord([]byte(in), 0); err == nil {
			t.Errorf("ParseRecord(%s) = %s, want an error", in, r.JSON)
		}
	}
}

// What is the user's survives byte for byte: number tokens, escapes, spaces, order, unknown fields.
func TestParseRecordKeepsBytes(t *testing.T) {
	for _, data := range []string{
		with(`"n":[25000,25000.0,2.5e4,2.5E+4,-0,-0.0,0.10,1e400,9007199254740993,123456789012345678901234567890]`),
		with(`"s":["\u0041","A","\/","/","\u00e9","é","\ud800","<&>","\u2028",""]`),
		with(`"z":1,"a":2,"z":3,"":4,"unknown":{"b" : [ ] , "a":{ }}`),
		`{ "stage" : "S" ,	"run_id":"r"   }`,
		with(`"timestamp":"2026-03-01T12:00:00.500000+09:00","phase":"S","snapshot_seq":null`),
	} {
		r := mustRecord(t, data)
		if got := string(r.JSON); got != data {
			t.Errorf("ParseRecord(%s).JSON = %s, want the same bytes", data, got)
		}
		in := []byte(data)
		if r, err := cohort.ParseRecord(in, 0); err != nil || &r.JSON[0] != &in[0] {
			t.Errorf("ParseRecord(%s) copies the data, want it aliased", data)
		}
	}
	// "NaN" in a string alone is no reason to copy.
	in := []byte(with(`"x":"NaN"`))
	if r, err := cohort.ParseRecord(in, 0); err != nil || &r.JSON[0] != &in[0] {
		t.Errorf("ParseRecord(%s) copies the data, want it aliased", in)
	}
}

// A pretty-printed record becomes one line; escaped line breaks in its strings stay what they are.
func TestParseRecordOneLine(t *testing.T) {
	in := "{\r\n  \"run_id\": \"r\",\r\n\t\"stage\":\n\"S\",\r  \"note\": \"a\\r\\nb\\u000a \u2028\ufffd日\"\n}\n"
	want := "{    \"run_id\": \"r\",  \t\"stage\": \"S\",   \"note\": \"a\\r\\nb\\u000a \u2028\ufffd日\" }"
	data := []byte(in)
	r, err := cohort.ParseRecord(data, 0)
	if err != nil || string(r.JSON) != want {
		t.Errorf("ParseRecord(%q) = %q, %v, want %q", in, r.JSON, err, want)
	}
	if string(data) != in {
		t.Errorf("ParseRecord(%q) changes the data to %q", in, data)
	}
}

// No record makes the files that it becomes a part of too deep for a reader.
func TestDepthWithinSnapshots(t *testing.T) {
	r := mustRecord(t, nested(500))
	file := append(append([]byte(`{"r:S":`), r.JSON...), '}')
	if !json.Valid(file) {
		t.Errorf("json.Valid of a snapshots file with a record of 500 levels = false")
	}
}
