package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake"
)

func (a *app) previousCommand() *cobra.Command {
	var id, file string
	var q compactor.Query
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "previous --root DIR --cohort NAME --run-id ID --stage STAGE",
		Short: "Find the run before a given one",
		Long: `Find the run of the same cohort and stage with the highest snapshot_seq below that of the
given run. A run that is not in the index yet counts as newer than all.

The answer goes to standard output: key, snapshot_seq and timestamp, or nothing if there is no
such run (with --json: null). With --snapshots it is looked up in any snapshot_index.json, also
in an old one whose snapshots have no snapshot_seq; those are placed by their timestamp. With --unfolded
it counts what was appended and no fold has read yet, as the next fold will.`,
		Example: `  compactd previous --root runs --cohort churn_eu --run-id r-17 --stage TRAINING
  compactd previous --root runs --cohort churn_eu --run-id r-17 --stage TRAINING --unfolded
  compactd previous --snapshots old/snapshot_index.json --cohort churn_eu --run-id r-17 --stage TRAINING`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if q.Cohort, err = cohort.ParseID(id); err != nil {
				return usageError{fmt.Errorf("--cohort: %w", err)}
			}
			if q.RunID == "" || q.Stage == "" {
				return usageError{errors.New("--run-id and --stage are required")}
			}
			run, ok, err := a.previous(cmd, file, q)
			if err != nil {
				return err
			}
			switch {
			case asJSON && ok:
				return a.printJSON(run)
			case asJSON:
				return a.printJSON(nil)
			case ok:
				_, err = fmt.Fprintf(a.stdout, "%s\t%d\t%s\n", run.Key, run.Seq, run.Timestamp.UTC().Format(microseconds))
				return err
			}
			a.say("no run of %s, stage %s, before %s", q.Cohort, q.Stage, q.RunID)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "cohort", "", "the cohort (required)")
	f.StringVar(&q.RunID, "run-id", "", "the run whose predecessor is wanted (required)")
	f.StringVar(&q.Stage, "stage", "", "the stage (required)")
	f.StringVar(&file, "snapshots", "", "look in this snapshot_index.json instead of a root")
	f.BoolVar(&q.Unfolded, "unfolded", false, "also look at what was appended and is not folded yet")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// microseconds is how timestamps of the index are printed.
const microseconds = "2006-01-02T15:04:05.999999Z"

func (a *app) previous(cmd *cobra.Command, file string, q compactor.Query) (compactor.Run, bool, error) {
	if file == "" {
		cfg, err := a.config()
		if err != nil {
			return compactor.Run{}, false, err
		}
		return compactor.Previous(cmd.Context(), cfg, q)
	}
	if a.root != "" {
		return compactor.Run{}, false, usageError{errors.New("--root and --snapshots exclude each other")}
	}
	if q.Unfolded {
		return compactor.Run{}, false, usageError{errors.New("--unfolded needs --root")}
	}
	f, err := os.Open(file)
	if err != nil {
		return compactor.Run{}, false, err
	}
	defer f.Close()
	run, ok, err := intake.PreviousInFile(f, q, func(n compactor.Notice) { a.say("%v", n) })
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return run, ok, err
}
