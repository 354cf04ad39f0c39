// Package quantity reads sizes and durations as people write them, in flags and in configuration files: 32MiB, 1.5GB, 90s, 1d12h.
package quantity

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// units of sizes, in lower case. A single letter is a power of 1024, as for dd, the JVM and systemd.
var units = map[string]int64{
	"": 1, "b": 1, "byte": 1, "bytes": 1,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
}

// ParseBytes reads a size in bytes: a number, and a unit if it is no number of bytes. Letters of units may be small or large.
func ParseBytes(s string) (int64, error) {
	digits, unit := number(strings.TrimSpace(s))
	n, ok := new(big.Rat).SetString(digits)
	each, known := units[strings.ToLower(strings.TrimSpace(unit))]
	if digits == "" || !ok || !known {
		return 0, fmt.Errorf("%q is not a size: write bytes, or a number and a unit, such as 512KiB, 32MiB or 1.5GB", s)
	}
	n.Mul(n, new(big.Rat).SetInt64(each))
	switch {
	case n.Sign() < 0:
		return 0, fmt.Errorf("%q must not be negative", s)
	case !n.IsInt():
		return 0, fmt.Errorf("%q is not a whole number of bytes", s)
	case !n.Num().IsInt64():
		return 0, fmt.Errorf("%q is too large", s)
	}
	return n.Num().Int64(), nil
}

// times are the units of durations. Those of seconds and below have the names that Go gives them, too.
var times = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "µs": time.Microsecond, "μs": time.Microsecond, "ms": time.Millisecond,
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": day, "day": day, "days": day, "w": 7 * day, "week": 7 * day, "weeks": 7 * day,
}

const day = 24 * time.Hour

// ParseDuration reads numbers with units, one behind the other: 90s, 1h30m, 1d, 2 weeks. A day has 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration: write a number and a unit, such as 30s, 10m, 1h30m or 1d", s)
	rest := strings.TrimSpace(s)
	if strings.HasPrefix(rest, "-") {
		return 0, fmt.Errorf("%q must not be negative", s)
	}
	if rest == "0" {
		return 0, nil
	}
	if rest == "" {
		return 0, bad
	}
	sum := new(big.Rat)
	for rest != "" {
		digits, after := number(rest)
		n, ok := new(big.Rat).SetString(digits)
		after = strings.TrimLeft(after, " ")
		unit := after
		if end := strings.IndexAny(after, " .0123456789"); end >= 0 {
			unit = after[:end]
		}
		each, known := times[strings.ToLower(unit)]
		switch {
		case digits == "" || !ok || unit != "" && !known:
			return 0, bad
		case !known:
			return 0, fmt.Errorf("%q has no unit: write %ss for seconds, %sm for minutes", s, digits, digits)
		}
		sum.Add(sum, n.Mul(n, new(big.Rat).SetInt64(int64(each))))
		rest = strings.TrimLeft(after[len(unit):], " ")
	}
	whole := new(big.Int).Quo(sum.Num(), sum.Denom())
	if !whole.IsInt64() {
		return 0, fmt.Errorf("%q is too long: at most %d days", s, int64(math.MaxInt64/day))
	}
	return time.Duration(whole.Int64()), nil
}

// number cuts s behind the decimal number that it begins with. digits is empty if there is none.
func number(s string) (digits, rest string) {
	i := 0
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		i++
	}
	end := i + strings.IndexFunc(s[i:]+"x", func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if strings.Trim(s[i:end], ".") == "" {
		return "", s
	}
	return s[:end], s[end:]
}

// Bytes is a size as the value of a flag.
type Bytes int64

// Set reads what stands behind the flag.
func (b *Bytes) Set(s string) error {
	n, err := ParseBytes(s)
	*b = Bytes(n)
	return err
}

func (b *Bytes) String() string { return strconv.FormatInt(int64(*b), 10) }

// Type is what the help calls the value.
func (*Bytes) Type() string { return "size" }

// Duration is a time span as the value of a flag.
type Duration time.Duration

// Set reads what stands behind the flag.
func (d *Duration) Set(s string) error {
	v, err := ParseDuration(s)
	*d = Duration(v)
	return err
}

// String is 0 where a flag is not given: then the help shows no default.
func (d *Duration) String() string {
	if *d == 0 {
		return "0"
	}
	return time.Duration(*d).String()
}

// Type is what the help calls the value.
func (*Duration) Type() string { return "duration" }

// ParseShare reads a share of a whole, as a percentage: 1%, 0.5%, 100%. The result is from 0 to 1.
func ParseShare(s string) (float64, error) {
	digits, ok := strings.CutSuffix(strings.TrimSpace(s), "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !ok || err != nil || !(n >= 0 && n <= 100) {
		return 0, fmt.Errorf("%q is not a share: write a percentage from 0%% to 100%%, such as 1%%", s)
	}
	return n / 100, nil
}

// Share is a share as the value of a flag.
type Share float64

// Set reads what stands behind the flag.
func (p *Share) Set(text string) error {
	n, err := ParseShare(text)
	if err == nil {
		*p = Share(n)
	}
	return err
}

// String is the share as a percentage, or 0.
func (p *Share) String() string {
	if *p == 0 {
		return "0"
	}
	return strconv.FormatFloat(float64(*p)*100, 'f', -1, 64) + "%"
}

// Type is what the help calls the value.
func (*Share) Type() string { return "share" }
