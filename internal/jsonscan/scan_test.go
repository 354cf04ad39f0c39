package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/internal/jsonscan"
)

func TestMembers(t *testing.T) {
	type member struct{ Name, Value string }
	tests := []struct {
		obj  string
		want []member
	}{
		{`{}`, nil},
		{` { } `, nil},
		{`{"a":1}`, []member{{"a", "1"}}},
		{"\t{ \"a\"\r\n:\t1.50 ,\n\"b\" : \"x\" } ", []member{{"a", "1.50"}, {"b", `"x"`}}},
		{`{"b":1,"a":2,"b":3}`, []member{{"b", "1"}, {"a", "2"}, {"b", "3"}}},
		{`{"":null,"\u0061\"":true,"日":false}`, []member{{"", "null"}, {`a"`, "true"}, {"日", "false"}}},
		{`{"a":{"b":[{"c":"}]"}, "]"]} ,"d":[[],{}]}`, []member{{"a", `{"b":[{"c":"}]"}, "]"]}`}, {"d", `[[],{}]`}}},
		{`{"a":"\\","b":"\"","c":"\\\""}`, []member{{"a", `"\\"`}, {"b", `"\""`}, {"c", `"\\\""`}}},
		{`{"a":-0.0e-1}`, []member{{"a", "-0.0e-1"}}},
	}
	for _, test := range tests {
		var got []member
		for name, value := range jsonscan.Members([]byte(test.obj)) {
			got = append(got, member{name, string(value)})
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("Members(%s) (-want +got):\n%s", test.obj, diff)
		}
		compareMembers(t, []byte(test.obj))
	}
}

func TestEachElement(t *testing.T) {
	for array, want := range map[string][]string{
		`[]`: nil, " [ ] ": nil, `[1]`: {"1"}, "[ 1.50 ,\n\"]\" , [ [] ,2], {\"a\":[1]} ,null]": {"1.50", `"]"`, "[ [] ,2]", `{"a":[1]}`, "null"},
	} {
		var got []string
		for v := range jsonscan.EachElement([]byte(array)) {
			got = append(got, string(v))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("EachElement(%s) (-want +got):\n%s", array, diff)
		}
		for range jsonscan.EachElement([]byte(array)) {
			break // the loop may stop early
		}
	}
}

// The loop may stop early, and appending to a value does not write into the object.
func TestMembersAlias(t *testing.T) {
	obj := []byte(`{"a":1,"b":2}`)
	for name, value := range jsonscan.Members(obj) {
		if &value[0] != &obj[5] || name != "a" {
			t.Errorf("Members(%s): first value is %q = %s, want a, aliasing the object", obj, name, value)
		}
		_ = append(value, '9')
		break
	}
	if got, want := string(obj), `{"a":1,"b":2}`; got != want {
		t.Errorf("object after append to a value = %s, want %s", got, want)
	}
}

func TestKindOf(t *testing.T) {
	tests := []struct {
		value string
		want  jsonscan.Kind
		text  string
	}{
		{`null`, jsonscan.Null, "null"},
		{`true`, jsonscan.Bool, "bool"},
		{`false`, jsonscan.Bool, "bool"},
		{`0`, jsonscan.Int, "int64"},
		{`-0`, jsonscan.Int, "int64"},
		{`25000`, jsonscan.Int, "int64"},
		{`123456789012345678901234567890`, jsonscan.Int, "int64"},
		{`25000.0`, jsonscan.Double, "double"},
		{`-0.0`, jsonscan.Double, "double"},
		{`1e3`, jsonscan.Double, "double"},
		{`1E3`, jsonscan.Double, "double"},
		{`""`, jsonscan.String, "string"},
		{`"1.0"`, jsonscan.String, "string"},
		{`{}`, jsonscan.Object, "object"},
		{`[1.0]`, jsonscan.Array, "array"},
	}
	for _, test := range tests {
		got := jsonscan.KindOf([]byte(test.value))
		if got != test.want || got.String() != test.text {
			t.Errorf("KindOf(%s) = %v, want %v, %q", test.value, got, test.want, test.text)
		}
	}
	if got, want := jsonscan.Kind(0).String(), "?"; got != want {
		t.Errorf("Kind(0).String = %q, want %q", got, want)
	}
}

func TestTextAndQuote(t *testing.T) {
	tests := []struct{ text, quoted string }{
		{``, `""`},
		{`a b`, `"a b"`},
		{`größe 日次:北 😀`, `"größe 日次:北 😀"`},
		{`<a href="x">&</a>`, `"<a href=\"x\">&</a>"`},
		{`a\b/c`, `"a\\b/c"`},
		{"\n\r\t\b\f", `"\n\r\t\b\f"`},
		{"\x00\x1f\x7f", "\"\\u0000\\u001f\x7f\""},
		{"\u2028\u2029", `"\u2028\u2029"`},
		{"\ufffd", "\"\ufffd\""},
	}
	for _, test := range tests {
		if got := string(jsonscan.Quote(test.text)); got != test.quoted {
			t.Errorf("Quote(%q) = %s, want %s", test.text, got, test.quoted)
		}
		if got := jsonscan.Text([]byte(test.quoted)); got != test.text {
			t.Errorf("Text(%s) = %q, want %q", test.quoted, got, test.text)
		}
	}
	others := []struct{ quoted, text string }{ // spellings that Quote does not write
		{`"\u0061\/\u00DF"`, "a/ß"},
		{`"\ud83d\ude00"`, "😀"},
		{`"\ud800"`, "\ufffd"},
		{`"\u003c"`, "<"},
	}
	for _, test := range others {
		if got := jsonscan.Text([]byte(test.quoted)); got != test.text {
			t.Errorf("Text(%s) = %q, want %q", test.quoted, got, test.text)
		}
	}
}

// Quote writes what every JSON reader takes, and Text reads it back.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "a", "\\\"\x00", "日\u2028", "<>&"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := jsonscan.Quote(s)
		var std bytes.Buffer
		e := json.NewEncoder(&std)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil || std.String() != string(quoted)+"\n" {
			t.Fatalf("Quote(%q) = %s, encoding/json writes %s, %v", s, quoted, std.Bytes(), err)
		}
		var want string
		if err := json.Unmarshal(quoted, &want); err != nil {
			t.Fatalf("Unmarshal(Quote(%q)): %v", s, err)
		}
		if got := jsonscan.Text(quoted); got != want {
			t.Errorf("Text(Quote(%q)) = %q, want %q", s, got, want)
		}
	})
}

// compareMembers compares Members with what encoding/json makes of the same object.
func compareMembers(t testing.TB, obj []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	if err := json.Unmarshal(obj, &want); err != nil {
		t.Fatalf("Unmarshal(%q): %v", obj, err)
	}
	got := make(map[string]json.RawMessage)
	for name, value := range jsonscan.Members(obj) {
		got[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Members(%q) (-want +got):\n%s", obj, diff)
	}
}
