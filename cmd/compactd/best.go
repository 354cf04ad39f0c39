package main

import (
	"bufio"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/query"
)

func (a *app) bestCommand() *cobra.Command {
	q := question{limit: 10}
	var f format
	var lowest bool
	cmd := &cobra.Command{
		Use:   "best METRIC --root DIR",
		Short: "Show the runs with the highest, or lowest, value of a metric",
		Long: `Show the ten runs, or --limit, with the highest value of a metric, the best one first; with --min those with the lowest. METRIC is the name of a column, or without its
"metrics.". Runs of equal value stand in snapshot_seq order. A run without the metric, or with something else than a number there, is left out.

On a terminal it is a table as of "compactd runs", in which the metric stands before the others. Elsewhere it has run_id, stage, cohort_id, snapshot_seq and the metric, or --columns,
with a tab between them, after a line of names.

It reads only, takes no lock, and may run at any time.`,
		Example: `  compactd best auc --root runs
  compactd best metrics.loss --min --root runs --where 'params.lr = 0.01' --limit 3
  compactd best auc --root runs --cohort churn_eu --columns 'run_id,metrics.auc,params.*' --csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.validate(); err != nil {
				return err
			}
			ans, err := a.ask(cmd.Context(), &q)
			if err != nil {
				return err
			}
			defer ans.close()
			return a.printBest(cmd.Context(), ans, args[0], lowest, f, &q)
		},
	}
	flags := cmd.Flags()
	q.flags(flags)
	flags.BoolVar(&lowest, "min", false, "the lowest value is the best")
	flags.BoolVar(&f.json, "json", false, "print a line of JSON for each")
	flags.BoolVar(&f.csv, "csv", false, "print CSV")
	return cmd
}

func (a *app) printBest(ctx context.Context, ans *answer, metric string, lowest bool, f format, q *question) error {
	metric = ans.metric(metric)
	ans.query.Sort, ans.query.Numbers = []query.Order{{Column: metric, Descending: !lowest}}, true
	out := bufio.NewWriter(a.stdout)
	var n int64
	var err error
	if width, shown := a.screen(); shown && !f.json && !f.csv {
		must, want := ans.tableColumns(q.columns != "")
		if q.columns == "" {
			must = append(must, metric)
			want = slices.DeleteFunc(want, func(name string) bool { return name == metric })
		}
		n, err = printTable(ctx, out, ans, width, must, want, q.columns != "")
	} else {
		columns := ans.query.Columns
		if q.columns == "" {
			columns = []string{"run_id", "stage", "cohort_id", "snapshot_seq", metric}
		}
		n, err = a.listRuns(ctx, out, ans, f, columns, q.unfolded)
	}
	if err == nil && n == 0 {
		out.Reset(a.stdout) // the names alone say nothing
		if err = a.missed(ctx, ans); err == nil {
			a.say("none of these runs has a number as %s", query.SpellName(metric))
		}
	}
	return errors.Join(err, ans.moment.Damage, out.Flush())
}

// metric is the column that a name means: itself, or one of the metrics.
func (a *answer) metric(name string) string {
	if strings.HasPrefix(name, "metrics.") || slices.Contains(a.src.Columns(), name) || slices.Contains(query.FixedColumns, name) {
		return name
	}
	if full := "metrics." + name; slices.Contains(a.src.Used(), full) {
		return full
	}
	return name
}
