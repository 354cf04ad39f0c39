package main

import (
	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
)

func (a *app) protectCommand() *cobra.Command {
	f := actFlags{action: cohort.Protect}
	cmd := &cobra.Command{
		Use:   "protect --root DIR (--run-id ID | --where EXPRESSION)",
		Short: "Refuse later withdrawals of runs",
		Long: `Protect runs: a withdrawal that is appended later, by anybody, has no effect, and the fold says so. Appending a run again replaces its
row, as ever. "compactd unprotect" ends it, and "compactd runs --protected" lists them.

` + whichRows + `

` + foldsTwice,
		Example: `  compactd protect --root runs --run-id r-17 --reason "in production"
  compactd protect --root runs --where "tags.released = 'yes'"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.act(cmd, f) },
	}
	f.add(cmd)
	return cmd
}

func (a *app) unprotectCommand() *cobra.Command {
	f := actFlags{action: cohort.Unprotect}
	cmd := &cobra.Command{
		Use:   "unprotect --root DIR (--run-id ID | --where EXPRESSION)",
		Short: "Let runs be withdrawn again",
		Long: `End the protection of runs. A withdrawal that was refused stays refused: withdraw again.

` + whichRows + `

` + foldsTwice,
		Example: `  compactd unprotect --root runs --run-id r-17
  compactd unprotect --root runs --where "cohort_id = 'churn_eu'"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.act(cmd, f) },
	}
	f.add(cmd)
	return cmd
}
