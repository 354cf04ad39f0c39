package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/quantity"
)

// past is a generation, or a time, that --at means.
type past struct {
	generation cohort.Generation
	time       time.Time
}

// parseAt reads a generation, a time of RFC 3339, a date, or a duration before now.
func parseAt(text string, now time.Time) (past, error) {
	if g, err := strconv.ParseUint(text, 10, 64); err == nil && g > 0 {
		return past{generation: cohort.Generation(g)}, nil
	}
	if strings.Trim(text, "0") == "" {
		return past{}, fmt.Errorf("--at %q: the first generation is 1", text)
	}
	if t, ok := cohort.ParseTime(text); ok {
		return past{time: t}, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return past{time: t}, nil
	}
	if d, err := quantity.ParseDuration(text); err == nil {
		return past{time: now.Add(-d)}, nil
	}
	return past{}, fmt.Errorf("--at %q is no generation and no time: write a number such as 1234, a time such as 2026-01-31T12:00:00Z, a date such as 2026-01-31, or how long ago, such as 2h", text)
}

// generationOf is the newest kept generation of a time, and says which one that is.
func (a *app) generationOf(cfg compactor.Config, t time.Time) (cohort.Generation, error) {
	store, err := cfg.Store()
	if err != nil {
		return 0, err
	}
	m, next, err := store.At(t)
	if err != nil {
		return 0, store.Doubt(err, 0)
	}
	text := fmt.Sprintf("generation %d, committed at %s", m.Generation, m.CreatedAt)
	if next > m.Generation+1 {
		text += fmt.Sprintf("; the next one that is kept is %d", next)
	}
	a.say("%s", text)
	return m.Generation, nil
}
