package found

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/query"
)

// ManyNames is how many cohorts, or stages, are named to somebody who misspelt one.
const ManyNames = 10

// Missed says why a query finds no run, where its cohort or its stage is the reason; else nothing.
func Missed(ctx context.Context, src query.Source, q query.Query) (why string, err error) {
	for _, of := range []struct{ column, what, want string }{{"cohort_id", "cohort", string(q.Cohort)}, {"stage", "stage", q.Stage}} {
		if of.want == "" {
			continue
		}
		there, more, err := src.Distinct(ctx, of.column, ManyNames)
		if err != nil {
			return "", err
		}
		if more {
			alone := query.Query{Cohort: q.Cohort}
			if of.column == "stage" {
				alone = query.Query{Stage: q.Stage}
			}
			n, err := alone.Count(ctx, src)
			if err != nil {
				return "", err
			}
			if n > 0 {
				continue
			}
		}
		if more || !slices.Contains(there, of.want) {
			return noneOf(q, of.what, there, more), nil
		}
	}
	if q.Cohort != "" && q.Stage != "" && q.Where.String() == "" && q.Since.IsZero() && q.Until.IsZero() {
		return fmt.Sprintf("no run of cohort %s, stage %s, though there are runs of each", q.Cohort, q.Stage), nil
	}
	return "", nil
}

// noneOf says which cohorts, or stages, there are instead.
func noneOf(q query.Query, what string, there []string, more bool) string {
	var of []string
	if q.Cohort != "" {
		of = append(of, "cohort "+string(q.Cohort))
	}
	if q.Stage != "" {
		of = append(of, "stage "+q.Stage)
	}
	text := "no run of " + strings.Join(of, ", ")
	switch {
	case len(there) == 0:
		return text + ": there is no run at all"
	case more:
		return fmt.Sprintf("%s: the root has more than %d %ss, and not this one", text, ManyNames, what)
	}
	return fmt.Sprintf("%s: the %ss of the root are %s", text, what, strings.Join(there, ", "))
}

// countWithin is how long records are counted for somebody who sees an empty list.
const countWithin = 2 * time.Second

// Waiting says how many records wait for the first fold of a root, "1 record waits" or "7 records wait"; nothing if none does. Of so many that
// they take a while to count, it does not say the number.
func Waiting(ctx context.Context, cfg compactor.Config) (string, error) {
	within, stop := context.WithTimeout(ctx, countWithin)
	defer stop()
	s, err := audit.ReadStatus(within, cfg)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return "many records wait", nil
	case err != nil:
		return "", err
	}
	n := int64(0)
	for _, c := range s.Cohorts {
		n += c.UnfoldedRecords
	}
	switch n {
	case 0:
		return "", nil
	case 1:
		return "1 record waits", nil
	}
	return strconv.FormatInt(n, 10) + " records wait", nil
}
