package query

import (
	"cmp"
	"strconv"
	"strings"
)

// decimal is the number 0.DIGITS times ten to the power of point. The digits neither begin nor end with 0; those of zero are
// empty. So numbers of any size are compared without more memory than their text takes.
type decimal struct {
	negative bool
	digits   string
	point    int64
}

// mostPower bounds the exponents that are told apart. The numbers of larger ones differ from all that a double can hold, and no record
// has room for an integer of so many digits.
const mostPower = 1 << 40

// parseDecimal reads a number as the language or JSON spells it.
func parseDecimal(text string) decimal {
	unsigned := strings.TrimLeft(text, "+-")
	mantissa, power := unsigned, int64(0)
	if i := strings.IndexAny(unsigned, "eE"); i >= 0 {
		mantissa = unsigned[:i]
		n, err := strconv.ParseInt(unsigned[i+1:], 10, 64) // if it is too large, n is the largest or smallest that there is
		_ = err
		power = min(max(n, -mostPower), mostPower)
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	all := whole + fraction
	digits := strings.TrimLeft(all, "0")
	d := decimal{
		negative: strings.HasPrefix(text, "-"),
		point:    int64(len(whole)-(len(all)-len(digits))) + power,
		digits:   strings.TrimRight(digits, "0"),
	}
	if d.digits == "" {
		return decimal{}
	}
	return d
}

// compare is -1, 0 or 1.
func (d decimal) compare(e decimal) int {
	if c := cmp.Compare(d.sign(), e.sign()); c != 0 {
		return c
	}
	c := cmp.Or(cmp.Compare(d.point, e.point), strings.Compare(d.digits, e.digits))
	if d.negative {
		return -c
	}
	return c
}

func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// floor is the largest integer that is not above d, and whether d is above it. beyond is the sign of a number whose floor is no int64.
func (d decimal) floor() (n int64, above bool, beyond int) {
	const most = 19 // digits of an int64
	switch {
	case d.digits == "":
		return 0, false, 0
	case d.point > most:
		return 0, false, d.sign()
	case d.point <= 0 && d.negative:
		return -1, true, 0
	case d.point <= 0:
		return 0, true, 0
	}
	places := int(d.point)
	above = len(d.digits) > places
	whole := (d.digits + strings.Repeat("0", most))[:places]
	if d.negative {
		whole = "-" + whole
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err == nil && d.negative && above {
		n, err = strconv.ParseInt("-"+strconv.FormatUint(uint64(-n)+1, 10), 10, 64)
	}
	if err != nil {
		return 0, false, d.sign()
	}
	return n, above, 0
}
