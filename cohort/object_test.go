package cohort_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
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
		for name, value := range cohort.Members([]byte(test.obj)) {
			got = append(got, member{name, string(value)})
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("Members(%s) (-want +got):\n%s", test.obj, diff)
		}
		compareMembers(t, []byte(test.obj))
	}
}

// The loop may stop early, and appending to a value does not write into the object.
func TestMembersAlias(t *testing.T) {
	obj := []byte(`{"a":1,"b":2}`)
	for name, value := range cohort.Members(obj) {
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
		want  cohort.Kind
		text  string
	}{
		{`null`, cohort.Null, "null"},
		{`true`, cohort.Bool, "bool"},
		{`false`, cohort.Bool, "bool"},
		{`0`, cohort.Int, "int64"},
		{`-0`, cohort.Int, "int64"},
		{`25000`, cohort.Int, "int64"},
		{`123456789012345678901234567890`, cohort.Int, "int64"},
		{`25000.0`, cohort.Double, "double"},
		{`-0.0`, cohort.Double, "double"},
		{`1e3`, cohort.Double, "double"},
		{`1E3`, cohort.Double, "double"},
		{`""`, cohort.String, "string"},
		{`"1.0"`, cohort.String, "string"},
		{`{}`, cohort.Object, "object"},
		{`[1.0]`, cohort.Array, "array"},
	}
	for _, test := range tests {
		got := cohort.KindOf([]byte(test.value))
		if got != test.want || got.String() != test.text {
			t.Errorf("KindOf(%s) = %v, want %v, %q", test.value, got, test.want, test.text)
		}
	}
	if got, want := cohort.Kind(0).String(), "?"; got != want {
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
		if got := string(cohort.Quote(test.text)); got != test.quoted {
			t.Errorf("Quote(%q) = %s, want %s", test.text, got, test.quoted)
		}
		if got := cohort.Text([]byte(test.quoted)); got != test.text {
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
		if got := cohort.Text([]byte(test.quoted)); got != test.text {
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
		quoted := cohort.Quote(s)
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
		if got := cohort.Text(quoted); got != want {
			t.Errorf("Text(Quote(%q)) = %q, want %q", s, got, want)
		}
	})
}
