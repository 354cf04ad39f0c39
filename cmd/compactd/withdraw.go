package main

import (
	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
)

func (a *app) withdrawCommand() *cobra.Command {
	f := actFlags{action: cohort.Withdraw}
	var undo bool
	cmd := &cobra.Command{
		Use:   "withdraw --root DIR (--run-id ID | --where EXPRESSION)",
		Short: "Take runs out, or bring them back",
		Long: `Take runs out. Their rows leave index.parquet and snapshot_index.json, whatever older writes of them arrive later. Nothing is lost: the
rows stand aside with all that they hold, "compactd runs --withdrawn" lists them, and --undo, or a later append of the run, brings
them back.

` + whichRows + `

A protected run stays, and that is told: compactd unprotect first.

` + foldsTwice,
		Example: `  compactd withdraw --root runs --run-id r-17 --reason "trained on the test set"
  compactd withdraw --root runs --where "metrics.auc > 1 or metrics.auc = 'failed'" --dry-run
  compactd withdraw --root runs --where "tags.sweep = 'lr-3'" --cohort churn_eu
  compactd withdraw --root runs --run-id r-17 --undo`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if undo {
				f.action = cohort.Undo
			}
			return a.act(cmd, f)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&undo, "undo", false, "bring withdrawn rows back")
	return cmd
}
