package terminal

import (
	"encoding/json"
	"testing"
)

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "run-1": "run-1", "größe 東京 👍": "größe 東京 👍", `a "b" \n`: `a "b" \n`, "a\u200cb": "a\u200cb",
		"a\tb\nc\rd": `a\tb\nc\rd`, "\x1b[31mred": `\u001b[31mred`, "\x00\x7f\u009b": `\u0000\u007f\u009b`,
		"\u202eevil": `\u202eevil`, "a\u2028b": `a\u2028b`, "\U000e0001": `\udb40\udc01`, "a\xffb": "a\ufffdb", "\ufffd": "\ufffd",
	} {
		if got := Line(text); got != want {
			t.Errorf("Line(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestField shows that a column is the text itself, or JSON that gives it back.
func TestField(t *testing.T) {
	for _, text := range []string{"", "run-1", `a\tb`, `a"b`, "größe"} {
		if got := Field(text); got != text || Unfield(got) != text {
			t.Errorf("Field(%q) = %q, want it unchanged", text, got)
		}
	}
	for _, text := range []string{"a\tb", "a\n\\\"b", `"quoted"`, "\x1b]0;title\x07", "\U000e0001\u202e"} {
		var back string
		if got := Field(text); json.Unmarshal([]byte(got), &back) != nil || back != text {
			t.Errorf("Field(%q) = %q, which is %q", text, got, back)
		}
		if back := Unfield(Field(text)); back != text {
			t.Errorf("Unfield(Field(%q)) = %q", text, back)
		}
	}
	for _, text := range []string{`"`, `"open`, `"a" b`, `"a":S`} {
		if got := Unfield(text); got != text {
			t.Errorf("Unfield(%q) = %q, want it unchanged", text, got)
		}
	}
}
