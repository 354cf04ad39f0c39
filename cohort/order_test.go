package cohort_test

import (
	"math"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
)

func TestParseGeneration(t *testing.T) {
	for _, want := range []cohort.Generation{1, 9, 10, 1 << 32, lastGen} {
		if got, err := cohort.ParseGeneration(want.String()); got != want || err != nil {
			t.Errorf("ParseGeneration(%q) = %d, %v, want %d", want.String(), got, err, want)
		}
	}
	tests := []struct{ text, want string }{
		{"", `generation "" is not 20 digits`},
		{"1", `generation "1" is not 20 digits`},
		{"0000000000000000001", `generation "0000000000000000001" is not 20 digits`},
		{"000000000000000000001", `generation "000000000000000000001" is not 20 digits`},
		{"+0000000000000000001", `generation "+0000000000000000001" is not 20 digits`},
		{"-0000000000000000001", `generation "-0000000000000000001" is not 20 digits`},
		{"0000_000000000000001", `generation "0000_000000000000001" is not 20 digits`},
		{" 0000000000000000001", `generation " 0000000000000000001" is not 20 digits`},
		{"0000000000000000000a", `generation "0000000000000000000a" is not 20 digits`},
		{"00000000000000000٣", `generation "00000000000000000٣" is not 20 digits`},
		{"00000000000000000000", `generation "00000000000000000000" is out of range`},
		{"18446744073709551616", `generation "18446744073709551616" is out of range`},
		{"99999999999999999999", `generation "99999999999999999999" is out of range`},
	}
	for _, test := range tests {
		g, err := cohort.ParseGeneration(test.text)
		if got := message(err); got != test.want || g != 0 {
			t.Errorf("ParseGeneration(%q) = %d, %q, want 0, %q", test.text, g, got, test.want)
		}
	}
}

// Names of generations sort as their numbers do.
func TestGenerationSorts(t *testing.T) {
	gens := []cohort.Generation{0, 1, 2, 9, 10, 99, 100, 1 << 53, lastGen}
	for i := 1; i < len(gens); i++ {
		if a, b := gens[i-1].String(), gens[i].String(); a >= b {
			t.Errorf("Generation.String: %q is not before %q", a, b)
		}
	}
}

// Compare is a total order: the list is in order, and each pair says so from both sides.
func TestVersionCompare(t *testing.T) {
	order := []cohort.Version{
		{Stamp: math.MinInt64},
		{Stamp: -1, RecordID: "z"},
		{},
		{RecordID: "\x00"},
		{RecordID: "A"},
		{RecordID: "AA"},
		{RecordID: "B"},
		{RecordID: "a"},
		{RecordID: "é"},
		{Stamp: 1},
		{Stamp: 1, RecordID: "01JQ4Z8E7N3V5T0X9YABCDEFGH"},
		{Stamp: 1, RecordID: "01JQ4Z8E7N3V5T0X9YABCDEFGJ"},
		{Stamp: 1, RecordID: "01JQ4Z8E7N3V5T0X9YABCDEFGJ", Digest: 1},
		{Stamp: 1, RecordID: "01JQ4Z8E7N3V5T0X9YABCDEFGJ", Digest: math.MaxUint64},
		{Stamp: 2, RecordID: "0"},
		{Stamp: math.MaxInt64},
		{Stamp: math.MaxInt64, RecordID: "a"},
	}
	for i, a := range order {
		for j, b := range order {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%v.Compare(%v) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestTexts(t *testing.T) {
	stamp := cohort.Stamp(time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC).UnixNano())
	tests := []struct{ call, got, want string }{
		{"Stamp.String", stamp.String(), "1772366400123456789"},
		{"Stamp.Time", stamp.Time().Format(time.RFC3339Nano), "2026-03-01T12:00:00.123456789Z"},
		{"Stamp(0).String", cohort.Stamp(0).String(), "0"},
		{"Stamp(0).Time", cohort.Stamp(0).Time().Format(time.RFC3339Nano), "1970-01-01T00:00:00Z"},
		{"Stamp(-1).String", cohort.Stamp(-1).String(), "-1"},
		{"Seq(0).String", cohort.Seq(0).String(), "0"},
		{"Seq.String", cohort.Seq(math.MaxUint64).String(), "18446744073709551615"},
		{"Generation.String", cohort.Generation(7).String(), "00000000000000000007"},
		{"Generation.String", lastGen.String(), "18446744073709551615"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s = %q, want %q", test.call, test.got, test.want)
		}
	}
}

func TestRecordVersion(t *testing.T) {
	got := cohort.Record{Stamp: 7, ID: "k", RunID: "r", JSON: []byte("abc")}.Version()
	if want := (cohort.Version{Stamp: 7, RecordID: "k", Digest: 0x44bc2cf5ad770999}); got != want {
		t.Errorf("Version = %v, want %v", got, want)
	}
}

// The digest is part of the format of the index: these are the values that the authors of XXH64 give.
func TestDigest(t *testing.T) {
	for text, want := range map[string]cohort.Digest{
		"": 0xef46db3751d8e999, "a": 0xd24ec4f1a98c6e5b, "abc": 0x44bc2cf5ad770999,
		"The quick brown fox jumps over the lazy dog": 0x0b242d361fda71bc, // more than 32 bytes
	} {
		if got := (cohort.Record{RunID: "r", Written: time.Now(), JSON: []byte(text)}).Digest(); got != want {
			t.Errorf("Digest of %q = %x, want %x", text, got, want)
		}
	}
}

func TestSameWrite(t *testing.T) {
	tests := []struct {
		a, b cohort.Version
		want bool
	}{
		{cohort.Version{Stamp: 1, RecordID: "k", Digest: 5}, cohort.Version{Stamp: 9, RecordID: "k", Digest: 5}, true},
		{cohort.Version{Stamp: 1, RecordID: "k", Digest: 5}, cohort.Version{Stamp: 1, RecordID: "k", Digest: 6}, false},
		{cohort.Version{Stamp: 1, RecordID: "k", Digest: 5}, cohort.Version{Stamp: 1, RecordID: "l", Digest: 5}, false},
		{cohort.Version{Stamp: 1, RecordID: "k", Digest: 5}, cohort.Version{Stamp: 9, RecordID: "k"}, true},
		{cohort.Version{Stamp: 1, RecordID: "k"}, cohort.Version{Stamp: 9, RecordID: "l"}, false},
	}
	for _, test := range tests {
		if got, back := test.a.SameWrite(test.b), test.b.SameWrite(test.a); got != test.want || back != test.want {
			t.Errorf("%v.SameWrite(%v) = %t, the other way round %t, want %t", test.a, test.b, got, back, test.want)
		}
	}
}
