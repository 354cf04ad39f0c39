package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/query"
)

// question is the flags of commands that list runs.
type question struct {
	cohort, stage, since, until, at, where, sort, columns string
	limit                                                 atMost
	unfolded                                              bool
}

func (q *question) flags(f *pflag.FlagSet) {
	f.StringVar(&q.cohort, "cohort", "", "only runs of this cohort")
	f.StringVar(&q.stage, "stage", "", "only runs of this stage")
	f.StringVar(&q.where, "where", "", "only runs for which this `EXPRESSION` is true")
	f.StringVar(&q.since, "since", "", "only runs with a timestamp of this `TIME` or later: 2d (so long ago), a date, or a time")
	f.StringVar(&q.until, "until", "", "only runs with a timestamp before this `TIME`, which is written as that of --since")
	f.StringVar(&q.columns, "columns", "", "these columns, with a comma between them: run_id,metrics.auc,params.*")
	f.Var(&q.limit, "limit", "so many runs at most")
	f.StringVar(&q.at, "at", "", "the runs of this `GENERATION|TIME`")
	f.BoolVar(&q.unfolded, "unfolded", false, "also what was appended and is not folded yet")
}

// atMost is a number from 1 on as the value of a flag; 0 where it is not given.
type atMost int64

func (c *atMost) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no number from 1 on", s)
	}
	*c = atMost(n)
	return nil
}

func (c *atMost) String() string {
	if *c == 0 {
		return "" // then the help shows no default
	}
	return strconv.FormatInt(int64(*c), 10)
}

func (*atMost) Type() string { return "n" }

// answer is an open root with a question about it.
type answer struct {
	moment *compactor.Moment
	src    query.Source
	query  query.Query // its Columns are those that were asked for, none if the command chooses
	at     bool        // the moment is that of --at
}

func (a *answer) close() { a.moment.Close() }

// found is where single runs are looked for.
func (a *answer) found() found.Root {
	return found.Root{Moment: a.moment, Source: a.src, Query: a.query, Earlier: a.at}
}

// rows yields what the query finds, with other columns.
func (a *answer) rows(ctx context.Context, columns []string, limit int64, do func(query.Row) error) error {
	q := a.query
	if q.Columns = columns; limit > 0 && (q.Limit == 0 || limit < q.Limit) {
		q.Limit = limit
	}
	for row, err := range q.Rows(ctx, a.src) {
		if err != nil {
			return a.wrong(err)
		}
		if err := do(row); err != nil {
			return err
		}
	}
	return nil
}

// wrong is an error of a query: a usage error if it is about a name.
func (a *answer) wrong(err error) error {
	if errors.As(err, new(*query.Error)) || errors.As(err, new(*query.NameError)) {
		return usageError{err}
	}
	return a.moment.Doubt(err)
}

// parse reads the flags, all of which may be wrong before a root is looked at.
func (q *question) parse(now time.Time) (out query.Query, err error) {
	if q.cohort != "" {
		if out.Cohort, err = cohort.ParseID(q.cohort); err != nil {
			return out, usageError{fmt.Errorf("--cohort: %w", err)}
		}
	}
	out.Stage, out.Limit = q.stage, int64(q.limit)
	for _, of := range []struct {
		flag, text string
		to         *time.Time
	}{{"--since", q.since, &out.Since}, {"--until", q.until, &out.Until}} {
		if of.text == "" {
			continue
		}
		if *of.to, err = query.ParseTime(of.text, now); err != nil {
			return out, usageError{fmt.Errorf("%s %w", of.flag, err)}
		}
	}
	if q.since != "" && q.until != "" && !out.Since.Before(out.Until) {
		return out, usageError{fmt.Errorf("--until %s is not after --since %s: no run can be between them", q.until, q.since)}
	}
	if q.where != "" {
		if out.Where, err = query.Parse(q.where); err != nil {
			return out, usageError{fmt.Errorf("--where: %w", err)}
		}
	}
	if q.sort != "" {
		if out.Sort, err = query.ParseOrder(q.sort); err != nil {
			return out, usageError{fmt.Errorf("--sort: %w", err)}
		}
	}
	if q.columns != "" {
		if out.Columns, err = query.ParseColumns(q.columns); err != nil {
			return out, usageError{fmt.Errorf("--columns: %w", err)}
		}
		for i, c := range out.Columns {
			if slices.Contains(out.Columns[:i], c) {
				return out, usageError{fmt.Errorf("--columns names %s twice", c)}
			}
		}
	}
	return out, nil
}

// ask opens the root. The caller closes the answer.
func (a *app) ask(ctx context.Context, q *question) (*answer, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	asked, err := q.parse(time.Now())
	if err != nil {
		return nil, err
	}
	m, err := a.momentAt(ctx, cfg, q.at, q.unfolded)
	if err != nil {
		return nil, err
	}
	ans := &answer{m, found.SourceOf(m), asked, q.at != ""}
	if ans.query.Columns, err = ans.src.Expand(ctx, asked.Columns); err != nil {
		m.Close()
		return nil, ans.wrong(err)
	}
	return ans, nil
}

// momentAt opens the newest generation, or the one that --at means.
func (a *app) momentAt(ctx context.Context, cfg compactor.Config, at string, unfolded bool) (*compactor.Moment, error) {
	if at == "" {
		return compactor.Look(ctx, cfg, unfolded)
	}
	if unfolded {
		return nil, usageError{errors.New("--at and --unfolded exclude each other: what is not folded is of no generation")}
	}
	p, err := parseAt(at, time.Now())
	if err != nil {
		return nil, usageError{err}
	}
	g := p.generation
	if g == 0 {
		if g, err = a.generationOf(cfg, p.time); err != nil {
			return nil, err
		}
	}
	return compactor.LookAt(cfg, g)
}

// missed says why no run was found: where a cohort or a stage is the reason, of literals that no value can be equal to, and of a root that was never folded.
func (a *app) missed(ctx context.Context, ans *answer) error {
	if told, err := a.neverFolded(ctx, ans); told || err != nil {
		return err
	}
	why, err := found.Missed(ctx, ans.src, ans.query)
	switch {
	case err != nil:
		return ans.wrong(err)
	case why != "":
		a.say("%s", why)
	}
	if len(ans.src.Fresh) > 0 || ans.query.Where.String() == "" {
		return nil
	}
	hints, err := query.Hints(ctx, ans.query.Where, ans.src.Index)
	for _, h := range hints {
		a.say("hint: %s", h)
	}
	return err
}

// neverFolded says what waits for the first fold of a root, if something does.
func (a *app) neverFolded(ctx context.Context, ans *answer) (told bool, err error) {
	if ans.src.Index != nil || len(ans.src.Fresh) > 0 || ans.at {
		return false, nil
	}
	cfg, err := a.config()
	if err != nil {
		return false, err
	}
	waits, err := found.Waiting(ctx, cfg)
	if err != nil || waits == "" {
		return false, err
	}
	a.say("this root was never folded: %s", waits)
	a.say("hint: compactd once folds them; --unfolded lists what is not folded yet")
	return true, nil
}

// hasTexts tells whether a text is what a column holds, and not one that stands in _extra beside other values.
func (a *answer) hasTexts(column string) bool {
	if index.IsFixed(column) || slices.Contains(query.FixedColumns, column) {
		return true
	}
	if a.src.Index != nil {
		if k, ok := a.src.Index.Kind(column); ok {
			return k == index.String
		}
	}
	return slices.ContainsFunc(a.src.Schema, func(c index.Column) bool { return c.Name == column && c.Kind == index.String })
}

// oneFlags are those of commands that are about single runs.
func (q *question) oneFlags(f *pflag.FlagSet) {
	f.StringVar(&q.cohort, "cohort", "", "the row of this cohort")
	f.StringVar(&q.stage, "stage", "", "the row of this stage")
	f.StringVar(&q.at, "at", "", "as it was in this `GENERATION|TIME`")
	f.BoolVar(&q.unfolded, "unfolded", false, "also look at what was appended and is not folded yet")
}
