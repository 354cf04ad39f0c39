package compactor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseScheduleRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		"":                 "is empty",
		"@every 100ms":     "less than 1s",
		"@every 0s":        "less than 1s",
		"@every -5m":       "less than 1s",
		"@every soon":      "invalid duration",
		"0 0 31 2 *":       "never runs: no such date exists",
		", * * * *":        "empty part",
		"1, * * * *":       "empty part",
		"*/90 * * * *":     "minute step 90 is not below 60",
		"0 */25 * * *":     "hour step 25 is not below 24",
		"TZ=UTC":           "time zones are not supported",
		"CRON_TZ=UTC":      "time zones are not supported",
		"TZ=":              "time zones are not supported",
		"TZ=UTC 0 * * * *": "time zones are not supported",
		"* * * * * *":      "it needs five",
		"* * *":            "it needs five",
		"0 0 * * 7":        "above maximum",
		"a b c d e":        "failed to parse",
		"@fortnightly":     "unrecognized descriptor",
		"\x00":             "it needs five",
	} {
		_, err := ParseSchedule(spec)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSchedule(%q) = %v, want an error with %q", spec, err, want)
		}
	}
}

func TestParseScheduleAccepts(t *testing.T) {
	from := time.Date(2026, 3, 29, 1, 30, 30, 0, time.UTC)
	for spec, want := range map[string]string{
		"@every 1s":      "2026-03-29T01:30:31Z",
		" @every 90s ":   "2026-03-29T01:32:00Z",
		"*/15 * * * *":   "2026-03-29T01:45:00Z",
		"30 2 * * *":     "2026-03-29T02:30:00Z", // does not exist that day in Berlin
		"0 0 29 2 *":     "2028-02-29T00:00:00Z",
		"@hourly":        "2026-03-29T02:00:00Z",
		"0,30 8-9 * * 1": "2026-03-30T08:00:00Z",
	} {
		s, err := ParseSchedule(spec)
		if err != nil {
			t.Errorf("ParseSchedule(%q): %v", spec, err)
			continue
		}
		if got := s.Next(from).Format(time.RFC3339); got != want {
			t.Errorf("%q comes at %s, want %s", spec, got, want)
		}
	}
}

func every(t *testing.T, spec string) Schedule {
	t.Helper()
	s, err := ParseSchedule(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runFor runs a schedule for so long in the time of a bubble.
func runFor(s Schedule, d time.Duration, job func(context.Context) error, failed func(error), notify func(Notice)) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	s.Run(ctx, job, failed, notify)
}

func TestScheduleRunsAtOnceAndThenOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []string
		runFor(every(t, "@every 10s"), 35*time.Second, func(context.Context) error {
			at = append(at, time.Since(start).String())
			return nil
		}, nil, nil)
		if diff := cmp.Diff([]string{"0s", "10s", "20s", "30s"}, at); diff != "" {
			t.Errorf("runs (-want +got):\n%s", diff)
		}
	})
}

// TestScheduleOfHours wakes more often than it runs, so that a wrong clock cannot keep it asleep.
func TestScheduleOfHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []string
		runFor(every(t, "0 */6 * * *"), 25*time.Hour, func(context.Context) error {
			at = append(at, time.Now().UTC().Format("15:04"))
			return nil
		}, nil, nil)
		if diff := cmp.Diff([]string{"00:00", "06:00", "12:00", "18:00", "00:00"}, at); diff != "" { // a bubble begins at midnight
			t.Errorf("runs (-want +got):\n%s", diff)
		}
	})
}

// TestSteadyClockSetBack shows that a clock which was hours ahead does not keep the schedule asleep once
// it is set right.
func TestSteadyClockSetBack(t *testing.T) {
	s := every(t, "0 * * * *")
	right := time.Date(2026, 3, 1, 10, 30, 0, 0, time.UTC)
	wrong := right.Add(48 * time.Hour)
	st := &steady{Schedule: s, due: s.Next(wrong)}
	if wake := st.Next(wrong); wake.Sub(wrong) > maxSleep {
		t.Errorf("sleeps for %v while the clock is wrong", wake.Sub(wrong))
	}
	st.Next(right)
	if st.isDue(right.Add(29*time.Minute)) || !st.isDue(right.Add(30*time.Minute)) {
		t.Errorf("due at %v after the clock was set right, want 11:00", st.due)
	}
	if st.isDue(right.Add(31 * time.Minute)) {
		t.Error("due twice in one hour")
	}
}

func TestScheduleSkipsOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards said
		var said []Notice
		runs := 0
		runFor(every(t, "@every 1s"), 9500*time.Millisecond, func(_ context.Context) error {
			if runs++; runs == 2 { // at 1s, until 4.5s: the runs at 2s, 3s and 4s are left out
				<-time.After(3500 * time.Millisecond)
			}
			return nil
		}, nil, func(n Notice) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, n)
		})
		want := "a scheduled fold was skipped: the one before still runs (3 skipped so far)"
		if len(said) != 3 || said[2].String() != want {
			t.Errorf("notices: %v", said)
		}
		if runs != 7 { // 0s, 1s, 5s, 6s, 7s, 8s, 9s
			t.Errorf("%d runs, want 7", runs)
		}
	})
}

func TestSchedulePanicEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		var errs []string
		runFor(every(t, "@every 1s"), 3500*time.Millisecond, func(context.Context) error {
			switch runs++; runs {
			case 1:
				panic("at the start")
			case 2:
				return errors.New("disk full")
			case 3:
				panic(fmt.Errorf("on schedule"))
			}
			return nil
		}, func(err error) {
			first, _, _ := strings.Cut(err.Error(), "\n")
			errs = append(errs, first)
		}, nil)
		want := []string{"internal error: the fold panicked: at the start", "disk full", "internal error: the fold panicked: on schedule"}
		if diff := cmp.Diff(want, errs); diff != "" || runs != 4 {
			t.Errorf("%d runs, want 4; errors (-want +got):\n%s", runs, diff)
		}
	})
}

// TestScheduleEndsWithItsContext waits for the job that is under way.
func TestScheduleEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		start := time.Now()
		runFor(every(t, "@every 1s"), 1500*time.Millisecond, func(ctx context.Context) error {
			if time.Since(start) == 0 {
				return nil
			}
			<-ctx.Done()
			<-time.After(5 * time.Second) // the rest of its phase
			ended.Store(true)
			return ctx.Err()
		}, nil, nil)
		if !ended.Load() || time.Since(start) != 6500*time.Millisecond {
			t.Errorf("returned after %v, job ended: %v", time.Since(start), ended.Load())
		}
	})
}
