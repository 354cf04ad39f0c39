package main

import (
	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/audit"
)

func (a *app) dumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dump FILE",
		Short: "Print a file of a root as text",
		Long: `Print a stream, a manifest, an index, a snapshots file or any other file of a root as JSON,
one value a line where it holds many. What is damaged is told on standard error, behind all that
could be read.`,
		Example: `  compactd dump runs/index.parquet | jq .run_id
  compactd dump runs/cohorts/churn_eu/01JE3Z5C7Q6V8W9X0Y1Z2A3B4C
  compactd dump runs/manifests/00000000000000000002.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return audit.Dump(args[0], a.stdout)
		},
	}
}
