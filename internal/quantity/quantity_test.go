package quantity

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "33554432": 32 << 20, "32MiB": 32 << 20, "32mib": 32 << 20, "32 MiB": 32 << 20, " 32MiB ": 32 << 20, "32M": 32 << 20,
		"32m": 32 << 20, "32MB": 32e6, "32mb": 32e6, "1.5GiB": 3 << 29, ".5k": 512, "1.KiB": 1024, "+7": 7, "2TB": 2e12, "2t": 2 << 40,
		"100 bytes": 100, "9223372036854775807": math.MaxInt64,
	} {
		if got, err := ParseBytes(text); got != want || err != nil {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "not a size", " ": "not a size", "MiB": "not a size", ".": "not a size", "1.2.3": "not a size", "32XB": "not a size", "1e6": "not a size",
		"0x10": "not a size", "1_000": "not a size", "1,5GB": "not a size", "32MiB/s": "not a size", "٣": "not a size",
		"-1": "negative", "-.5k": "negative", "0.3": "whole number of bytes", "9223372036854775808": "too large", "9999999TiB": "too large",
	} {
		if got, err := ParseBytes(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseBytes(%q) = %d, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "30s": 30 * time.Second, "1d": 24 * time.Hour, "1D": 24 * time.Hour, "1d12h": 36 * time.Hour, "1d 12h": 36 * time.Hour,
		"2w": 336 * time.Hour, "2 weeks": 336 * time.Hour, "1 day 2 hours": 26 * time.Hour, "5min": 5 * time.Minute, "1.5h": 90 * time.Minute,
		".5s": 500 * time.Millisecond, "1h30m": 90 * time.Minute, "1h0m0s": time.Hour, "10ms": 10 * time.Millisecond, "1us": time.Microsecond,
		"3µs": 3 * time.Microsecond, "1ns": 1, "0.1ns": 0, "106751d": 106751 * 24 * time.Hour,
	} {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "not a duration", "soon": "not a duration", "1x": "not a duration", "d": "not a duration", "1d-2h": "not a duration", "1 d.": "not a duration",
		"1.2.3s": "not a duration", "30": "has no unit: write 30s for seconds, 30m for minutes", "1h30": "has no unit",
		"-1s": "negative", "-0s": "negative", "106752d": "too long", "99999999999999999999w": "too long",
	} {
		if got, err := ParseDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseDuration(%q) = %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

// TestDurationOfGo shows that whatever Go writes is read, such as the default of a flag.
func TestDurationOfGo(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 1500, 1500 * time.Microsecond, time.Second, 90 * time.Minute, 100*time.Hour + 1, math.MaxInt64} {
		if got, err := ParseDuration(d.String()); got != d || err != nil {
			t.Errorf("ParseDuration(%q) = %v, %v", d.String(), got, err)
		}
	}
}

func TestParseShare(t *testing.T) {
	for text, want := range map[string]float64{"1%": 0.01, "0.5%": 0.005, " 100 % ": 1, "0%": 0} {
		if got, err := ParseShare(text); err != nil || got != want {
			t.Errorf("ParseShare(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "%", "1", "0.01", "-1%", "101%", "NaN%", "1%%", "one%"} {
		if got, err := ParseShare(bad); err == nil {
			t.Errorf("ParseShare(%q) = %v, want an error", bad, got)
		}
	}
	share := Share(0.005)
	if got := share.String(); got != "0.5%" {
		t.Errorf("a share of 0.005 is %q", got)
	}
}
