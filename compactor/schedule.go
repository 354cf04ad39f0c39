package compactor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when to fold. [ParseSchedule] makes one of a cron expression of five fields in UTC, or of "@every 30s".
type Schedule struct {
	spec     string
	schedule cron.Schedule
}

// minEvery is the shortest interval. A fold takes about as long as copying the index, so with a shorter interval a daemon
// would only skip runs.
const minEvery = time.Second

// ParseSchedule reads a cron expression, "@every 30s", or "@hourly" and the like. It refuses schedules that would never run, or
// would run at other times than they say: intervals below a second, dates that do not exist, steps larger than their
// field, and time zones. Folds run in UTC, where no hour is skipped or comes twice.
func ParseSchedule(spec string) (s Schedule, err error) {
	defer func() { // robfig/cron panics on some specs: issues 470 and 554
		if p := recover(); p != nil {
			err = fmt.Errorf("schedule %q: %v", spec, p)
		}
	}()
	spec = strings.TrimSpace(spec)
	if err := checkSpec(spec); err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", spec, err)
	}
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", spec, err)
	}
	if parsed.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, fmt.Errorf("schedule %q never runs: no such date exists", spec)
	}
	return Schedule{spec, parsed}, nil
}

func checkSpec(spec string) error {
	switch {
	case spec == "":
		return errors.New("is empty: give a cron expression or @every 1m")
	case strings.HasPrefix(spec, "TZ="), strings.HasPrefix(spec, "CRON_TZ="):
		return errors.New("time zones are not supported: folds run in UTC")
	}
	if text, ok := strings.CutPrefix(spec, "@every "); ok {
		return checkEvery(strings.TrimSpace(text))
	}
	if strings.HasPrefix(spec, "@") {
		return nil
	}
	return checkFields(strings.Fields(spec))
}

func checkEvery(text string) error {
	every, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	if every < minEvery {
		return fmt.Errorf("%v is less than %v", every, minEvery)
	}
	return nil
}

// checkFields refuses a step that is longer than its field: "*/90" in minutes means every hour.
func checkFields(fields []string) error {
	sizes := [...]struct {
		name string
		size int
	}{{"minute", 60}, {"hour", 24}, {"day", 31}, {"month", 12}, {"weekday", 7}}
	if len(fields) != len(sizes) {
		return fmt.Errorf("has %d fields: it needs five (minute hour day month weekday)", len(fields))
	}
	for i, field := range fields {
		for _, part := range strings.Split(field, ",") {
			if part == "" {
				return fmt.Errorf("%s %q has an empty part", sizes[i].name, field)
			}
			_, step, _ := strings.Cut(part, "/")
			if n, err := strconv.Atoi(step); err == nil && n >= sizes[i].size {
				return fmt.Errorf("%s step %d is not below %d", sizes[i].name, n, sizes[i].size)
			}
		}
	}
	return nil
}

func (s Schedule) String() string { return s.spec }

// Next is the first time after t, in UTC.
func (s Schedule) Next(t time.Time) time.Time { return s.schedule.Next(t.UTC()) }

// Run calls job at once, and then on schedule until ctx ends. It returns after the last call has returned. Two
// calls never overlap: a call that would overlap is left out and told as Skipped. A panic in job is passed to
// failed as an error, like any error of job, and does not end the schedule.
//
// job gets ctx, so it ends when the daemon must end. failed and notify may be called from several
// goroutines at once. If one of them is nil, its calls are left out.
func (s Schedule) Run(ctx context.Context, job func(context.Context) error, failed func(error), notify func(Notice)) {
	r := &runner{schedule: s, job: job, failed: failed, tell: notify}
	r.run(ctx)
	c := cron.New(cron.WithLocation(time.UTC), cron.WithLogger(cron.DiscardLogger))
	steady := &steady{Schedule: s, due: s.Next(time.Now())}
	c.Schedule(steady, cron.FuncJob(func() {
		if steady.isDue(time.Now()) {
			r.run(ctx)
		}
	}))
	c.Start()
	<-ctx.Done()
	<-c.Stop().Done()
}

// runner guards one job. The guards of robfig/cron would not see the first call, which Run makes itself, and with one of them a
// job never runs again after a panic (issue 366 of robfig/cron).
type runner struct {
	schedule Schedule
	job      func(context.Context) error
	failed   func(error)
	tell     func(Notice)

	running sync.Mutex // held while job runs

	mu      sync.Mutex // guards skipped
	skipped int
}

func (r *runner) run(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	if !r.running.TryLock() {
		r.mu.Lock()
		r.skipped++
		n := Skipped{r.skipped}
		r.mu.Unlock()
		notify(r.tell, n)
		return
	}
	defer r.running.Unlock()
	if err := r.call(ctx); err != nil && r.failed != nil {
		r.failed(err)
	}
}

func (r *runner) call(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: the fold panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return r.job(ctx)
}

// maxSleep bounds how long one reading of the wall clock is used. Assume that the clock is two hours ahead and is then set
// right: a time that was computed before would come two hours late (issue 509 of robfig/cron).
const maxSleep = time.Minute

// steady wakes cron at least every maxSleep. At each wake-up it decides whether the job is due.
type steady struct {
	Schedule
	mu  sync.Mutex // guards due
	due time.Time
}

// Next is the time when cron wakes up: the time when the job is due, but not later than maxSleep from now.
func (s *steady) Next(t time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	wake := s.Schedule.Next(t)
	switch {
	case wake.Before(s.due): // the clock was set back
		s.due = wake
	case s.due.After(t): // if it is not after t, isDue sets the next time soon
		wake = s.due
	}
	if limit := t.Add(maxSleep); wake.After(limit) {
		return limit
	}
	return wake
}

// isDue tells whether the job is due. If so, it sets the next time.
func (s *steady) isDue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.due) {
		return false
	}
	s.due = s.Schedule.Next(now)
	return true
}
