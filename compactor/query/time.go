package query

import (
	"fmt"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/quantity"
)

// ParseTime reads a time, a date (its first moment, UTC), or how long before now, such as 2d. It is for Query.Since and Query.Until.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if t, ok := cohort.ParseTime(text); ok {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	if d, err := quantity.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: write how long ago, such as 2d or 90m, a date such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z", text)
}
