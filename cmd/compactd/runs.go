package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) runsCommand() *cobra.Command {
	var q question
	var f format
	var withdrawn, protected bool
	var watch watched
	cmd := &cobra.Command{
		Use:   "runs --root DIR",
		Short: "List, filter and sort the runs, also those that no fold has read yet",
		Long: `List the runs of the newest generation, in snapshot_seq order.

On a terminal the list is a table that fits it: run, stage, the other fields of the key, cohort if there are several, time, then what --sort and --where name, then metrics, then
params, in the order in which they came. A column that is empty in the first 200 rows is left out, and so is one that has no room; how many had none is said below. A text of
more than 24 characters, and a number with more than 10, ends with an ellipsis; a run id of more than 40 has one in its middle. Times have no fraction of a second; NULL is -.

Elsewhere a line has the key, the snapshot_seq, the timestamp and the cohort, with a tab between them, and no line of names.

--columns chooses the columns. Then there is a line of names first, also where tabs are between the values: NULL is empty, an empty text is "", and a text that does not show as itself
is a JSON string, as is "0.7" in a column of numbers. Names are run_id, stage, cohort_id, snapshot_seq, timestamp, record_id, and those that "compactd columns" lists; metrics.* are all metrics, and * is
everything. A value that no column holds, such as a list, is there under its name, too, and * has all of them in the column _extra. --csv prints CSV, with all columns if --columns does not choose; a NULL is empty and
an empty text is "". --json prints a line of JSON for each run, with the fields of the plain lines if --columns does not choose: --columns '*' --json has everything. None of these
shortens anything.

A number is the shortest text that reads back as the same number, as the index keeps numbers and not their digits; "compactd show" has them as they were written.

--where selects runs by an expression: metrics.auc > 0.7 and params.lr = 0.01. A text stands in single quotes; =, !=, <, in (...), like 'churn-%', is null, and, or, not and
parentheses are as in SQL. --since and --until go by the timestamp of the run, so a run without one is left out: --since 2026-01-01 --until 2026-02-01 are
the runs of January.

--sort has names with a comma between them, each with a - before it for descending. Numbers come first, then texts, then false and true, then lists and objects, and runs without a
value last, in both directions: - turns around only what is of one kind.

With --unfolded the list is what a fold would make of the root now: who appends sees the own record at once. In a table, and elsewhere without --columns, runs that
are not folded yet end with the word unfolded, and with --json and no --columns they have the record that was appended. CSV, and what --columns
prints elsewhere than on a terminal, then have one more column at the end, _unfolded, which is true or false.

With --at the list is that of an earlier generation: of its number, or of a time: 2026-01-31T12:00:00Z, a date (its first moment,
UTC), or a time ago such as 2h. Of a time it is the newest generation that is kept and was committed at or before it, by the clock
of the machine that committed; which one that is, is said on standard error. "compactd history" lists what is kept.

With --withdrawn the list is that of the rows that were taken out, with the time of the withdrawal, who appended it, and its reason; with --protected
that of the rows that folds refuse to withdraw.

Where --cohort or --stage leave nothing, that is said on standard error; the exit code is 0.

With --watch the list is drawn again every two seconds, or as often as --watch=10s says, until Ctrl-C.

It reads only, takes no lock, and may run at any time.`,
		Example: `  compactd runs --root runs --cohort churn_eu --stage TRAINING
  compactd runs --root runs --where 'metrics.auc > 0.7 and params.lr = 0.01' --sort -metrics.auc --limit 20
  compactd runs --root runs --since 2d --columns 'run_id,metrics.*,params.lr'
  compactd runs --root runs --csv > runs.csv
  compactd runs --root runs --at 2h
  compactd runs --root runs --at 1234 --json
  compactd runs --root runs --unfolded --json | jq 'select(.unfolded_record) | .unfolded_record.metrics'
  compactd runs --root runs --withdrawn --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.validate(); err != nil {
				return err
			}
			if withdrawn && protected || (q.unfolded || q.at != "") && (withdrawn || protected) {
				return usageError{errors.New("--unfolded, --at, --withdrawn and --protected exclude each other: each is a list of its own")}
			}
			if withdrawn || protected {
				if f.csv || q.where != "" || q.sort != "" || q.columns != "" || q.since != "" || q.until != "" || q.limit != 0 || watch.every != 0 {
					return usageError{errors.New("--withdrawn and --protected go with --cohort, --stage and --json only")}
				}
				if _, err := q.parse(time.Now()); err != nil {
					return err
				}
				cfg, err := a.config()
				if err != nil {
					return err
				}
				return a.printActedOn(cmd.Context(), cfg, runsFilter{cohort: q.cohort, stage: q.stage}, withdrawn, f.json)
			}
			return a.watching(cmd.Context(), watch, func(ctx context.Context, a *app) error { return a.printRuns(ctx, &q, f) })
		},
	}
	flags := cmd.Flags()
	q.flags(flags)
	flags.StringVar(&q.sort, "sort", "", "sort by these `NAMES`, with a comma between them; -NAME for descending")
	flags.BoolVar(&withdrawn, "withdrawn", false, "the rows that were taken out")
	flags.BoolVar(&protected, "protected", false, "the rows that folds refuse to withdraw")
	flags.BoolVar(&f.json, "json", false, "print a line of JSON for each")
	flags.BoolVar(&f.csv, "csv", false, "print CSV")
	watch.flag(flags)
	return cmd
}

// printRuns prints the runs that are asked for.
func (a *app) printRuns(ctx context.Context, q *question, f format) error {
	ans, err := a.ask(ctx, q)
	if err != nil {
		return err
	}
	defer ans.close()
	if len(ans.query.Sort) > 0 && ans.query.Limit == 0 {
		unlimitMemory() // what is sorted is held
	}
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	width, onTerminal := a.screen()
	columns, n := ans.query.Columns, int64(0)
	switch {
	case !f.json && !f.csv && onTerminal:
		must, want := ans.tableColumns(q.columns != "")
		n, err = printTable(ctx, out, ans, width, must, want, q.columns != "")
	case q.columns == "" && !f.csv:
		n, err = printPlain(ctx, out, ans, f.json)
	default:
		if q.columns == "" {
			if columns, err = ans.src.Expand(ctx, []string{"*"}); err != nil {
				return err
			}
		}
		n, err = a.listRuns(ctx, out, ans, f, columns, q.unfolded)
	}
	if err == nil && n == 0 {
		err = a.missed(ctx, ans)
	}
	if err == nil {
		err = ans.moment.Damage
	}
	return errors.Join(err, out.Flush())
}

// listRuns prints rows with these columns. If marked, a last column tells which rows no fold has read yet.
func (a *app) listRuns(ctx context.Context, out *bufio.Writer, ans *answer, f format, columns []string, marked bool) (n int64, err error) {
	names := columns
	if marked && !slices.Contains(names, unfoldedColumn) {
		names = append(slices.Clip(names), unfoldedColumn)
	}
	l, err := a.newList(out, f, names, ans)
	if err != nil {
		return 0, err
	}
	err = ans.rows(ctx, columns, 0, func(r query.Row) error {
		n++
		if len(names) > len(columns) {
			r.Cells = append(r.Cells, query.Bool(r.Fresh >= 0))
		}
		return l.row(r.Cells)
	})
	if errors.As(err, new(usageError)) {
		out.Reset(a.stdout) // nothing is listed, and so it has no names
	}
	return n, err
}

// plainColumns are those of a Run.
var plainColumns = []string{"_key", "snapshot_seq", timestampColumn, "cohort_id", "run_id", "stage"}

const (
	timestampColumn = "timestamp"
	unfoldedColumn  = "_unfolded" // no column of the index: listRuns makes it
)

// printPlain prints the lines that scripts know.
func printPlain(ctx context.Context, out *bufio.Writer, ans *answer, asJSON bool) (n int64, err error) {
	columns := plainColumns[:4]
	if asJSON {
		columns = plainColumns
	}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	err = ans.rows(ctx, columns, 0, func(r query.Row) error {
		n++
		if asJSON {
			run, err := runOf(ans, r)
			if err != nil {
				return err
			}
			return e.Encode(run)
		}
		line := append(out.AvailableBuffer(), terminal.Field(r.Cells[0].Text())...) // by hand: of a million lines fmt takes a third of the time
		line = r.Cells[1].AppendText(append(line, '\t'))
		line = append(line, '\t')
		if r.Cells[2].IsNull() {
			line = append(line, '-')
		}
		line = r.Cells[2].AppendText(line)
		line = r.Cells[3].AppendText(append(line, '\t'))
		if r.Fresh >= 0 && ans.moment.Runs[r.Fresh].Record != nil {
			line = append(line, "\tunfolded"...)
		}
		_, err := out.Write(append(line, '\n'))
		return err
	})
	return n, err
}

// runOf is a row of plainColumns.
func runOf(ans *answer, r query.Row) (compactor.Run, error) {
	if r.Fresh >= 0 {
		return ans.moment.Runs[r.Fresh], nil
	}
	seq, err := strconv.ParseUint(r.Cells[1].Text(), 10, 64)
	t, _ := r.Cells[2].Time()
	return compactor.Run{
		Key: cohort.Key(r.Cells[0].Text()), Cohort: cohort.ID(r.Cells[3].Text()), RunID: r.Cells[4].Text(), Stage: r.Cells[5].Text(),
		Seq: cohort.Seq(seq), Timestamp: t,
	}, err
}

// tableColumns are those that a table has, and those that it has if they fit.
func (a *answer) tableColumns(chosen bool) (must, want []string) {
	if chosen {
		return a.query.Columns, nil
	}
	must = append(must, "run_id", "stage")
	for _, name := range a.moment.Key.More() {
		if name != "cohort_id" {
			must = append(must, name)
		}
	}
	used := a.src.Used()
	must = slices.DeleteFunc(must, func(name string) bool { return name != "run_id" && name != "stage" && !slices.Contains(used, name) })
	if a.query.Cohort == "" {
		must = append(must, "cohort_id")
	}
	want = append(want, timestampColumn)
	for _, o := range a.query.Sort {
		want = append(want, o.Column)
	}
	want = append(want, a.query.Where.Names()...)
	for _, prefix := range []string{"metrics.", "params."} {
		for _, name := range used {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}
	}
	aliases := map[string]bool{"phase": true}
	var once []string
	for _, name := range want {
		if !slices.Contains(once, name) && !slices.Contains(must, name) && !aliases[name] {
			once = append(once, name)
		}
	}
	return must, once
}

// printActedOn lists the rows that are withdrawn, or those that are protected.
func (a *app) printActedOn(ctx context.Context, cfg compactor.Config, only runsFilter, withdrawn, asJSON bool) (err error) {
	var rows []compactor.Standing
	if withdrawn {
		rows, err = compactor.Standings(ctx, cfg, nil, compactor.AllRows)
	} else {
		rows, err = compactor.Protected(ctx, cfg)
	}
	rows = slices.DeleteFunc(rows, func(s compactor.Standing) bool { return !only.passes(s.Run) })
	if what := only.missed("the list"); what != "" && err == nil {
		a.say("%s", what)
	}
	return errors.Join(a.printStandings(rows, true, asJSON), err)
}

// runsFilter passes runs of one cohort and stage, each empty for all, and notes why none passed.
type runsFilter struct {
	cohort, stage string
	passed        bool
	cohorts       []string // some of those there are
}

func (f *runsFilter) passes(r compactor.Run) bool {
	if len(f.cohorts) <= found.ManyNames && !slices.Contains(f.cohorts, string(r.Cohort)) {
		f.cohorts = append(f.cohorts, string(r.Cohort))
	}
	passes := (f.cohort == "" || f.cohort == string(r.Cohort)) && (f.stage == "" || f.stage == r.Stage)
	f.passed = f.passed || passes
	return passes
}

// missed says why nothing was printed, or nothing. among is what was looked through.
func (f *runsFilter) missed(among string) string {
	var of []string
	if f.cohort != "" {
		of = append(of, "cohort "+f.cohort)
	}
	if f.stage != "" {
		of = append(of, "stage "+f.stage)
	}
	switch {
	case f.passed || len(of) == 0:
		return ""
	case len(f.cohorts) == 0:
		return fmt.Sprintf("no run of %s: there is no run at all", strings.Join(of, ", "))
	case len(f.cohorts) > found.ManyNames:
		return fmt.Sprintf("no run of %s: %s has more than %d cohorts", strings.Join(of, ", "), among, found.ManyNames)
	}
	return fmt.Sprintf("no run of %s: the cohorts of %s are %s", strings.Join(of, ", "), among, strings.Join(f.cohorts, ", "))
}
