package cohort

import (
	"encoding/json"
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
				if got, want := valid([]byte(text)), json.Valid([]byte(text)); got != want {
					t.Fatalf("valid(%q) = %v, want %v", text, got, want)
				}
			}
		}
	}
	t.Logf("figure: %d documents, valid as encoding/json says", n)
}

func FuzzValid(f *testing.F) {
	for _, s := range []string{``, ` `, `{}`, `[]`, `"`, `"\`, `"\u12`, `-`, `01`, `1.`, `1e`, `{"a":1,}`, `[1,]`, `{"a"}`, `nul`, `"` + "\x01" + `"`,
		`"aaaaaaa\"b"`, `"aaaaaaaaaaaaaaaa` + "\x1f" + `"`, "\xff", `{"a":{"b":[{"c":1e-9}]}} `, strings.Repeat("[", 300) + strings.Repeat("]", 300)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if deeper(data, maxDepth) {
			return
		}
		if got, want := valid(data), json.Valid(data); got != want {
			t.Fatalf("valid(%q) = %v, want %v", data, got, want)
		}
	})
}
