package terminal

import "testing"

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"},
		{"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
		{"🚀🚀", 3, "🚀…"},
		{"a\u200db", 2, "a\u200db"},
		{"", 0, ""},
	} {
		got := Cut(c.text, c.most)
		if got != c.want || Width(got) > c.most {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"0.752091195118", 8, "0.75209…"},
		{"0.7520911", 9, "0.7520911"},
		{"-1234567890123", 8, "-1234567890123"},
		{"1234567890.123", 8, "1234567890.1…"},
		{"1.2345678901e-07", 10, "1.234…e-07"},
		{"1e+300", 3, "1e+300"},
		{"1.5e+300", 3, "1.5e+300"},
	} {
		if got := CutNumber(c.text, c.most); got != c.want {
			t.Errorf("CutNumber(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "ab…efg"},
		{"abcdefg", 5, "ab…fg"},
		{"日本語日本語", 7, "日…本語"},
		{"abcdee\u0301", 3, "a…e\u0301"},
		{"abc", 1, "…"},
	} {
		got := CutMiddle(c.text, c.most)
		if got != c.want || Width(got) > c.most {
			t.Errorf("CutMiddle(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
	if got := Pad("日", 4, true) + "|" + Pad("日", 4, false) + "|" + Pad("abc", 2, true); got != "  日|日  |abc" {
		t.Errorf("Pad: %q", got)
	}
}
