package jsonscan

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestValid cuts and changes a document at every byte, in every way that means something in JSON.
func TestValid(t *testing.T) {
	doc := `{"a":[1,-2.50e+3,0,-0.1E-2,true,false,null,"\u00e9\"\\\/\b\f\n\r\t"],"b" : { } ,"c":[ ], "long enough for eight bytes":"ünïcode"}`
	n := 0
	for i := range len(doc) {
		for _, s := range []string{"", "0", "-", ".", "e", "\"", "\\", "{", "}", "[", "]", ",", ":", " ", "\n", "\x00", "\x1f", "u", "t", "\x7f", "é"} {
			for _, text := range []string{doc[:i] + s, doc[:i] + s + doc[i:], doc[:i] + s + doc[i+1:]} {
				n++
				checkValid(t, []byte(text))
			}
		}
	}
	t.Logf("figure: %d documents, valid as encoding/json says", n)
}

// checkValid compares Valid with encoding/json, and ValidSpans with Valid and Spans.
func checkValid(t *testing.T, data []byte) {
	t.Helper()
	want := json.Valid(data)
	if got := Valid(data); got != want {
		t.Fatalf("Valid(%q) = %v, want %v", data, got, want)
	}
	spans, ok := ValidSpans(nil, data)
	if isObject := want && data[0] == '{'; ok != isObject {
		t.Fatalf("ValidSpans(%q) = %v, want %v", data, ok, isObject)
	}
	if ok && !slices.Equal(spans, Spans(nil, data)) {
		t.Fatalf("ValidSpans(%q) = %v, Spans says %v", data, spans, Spans(nil, data))
	}
}

func FuzzValid(f *testing.F) {
	for _, s := range []string{``, ` `, `{}`, `[]`, `"`, `"\`, `"\u12`, `-`, `01`, `1.`, `1e`, `{"a":1,}`, `[1,]`, `{"a"}`, `nul`, `"` + "\x01" + `"`,
		`"aaaaaaa\"b"`, `"aaaaaaaaaaaaaaaa` + "\x1f" + `"`, "\xff", `{"a":{"b":[{"c":1e-9}]}} `, strings.Repeat("[", 300) + strings.Repeat("]", 300)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if Deeper(data, 500) {
			return
		}
		checkValid(t, data)
	})
}
