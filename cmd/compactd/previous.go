package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) previousCommand() *cobra.Command {
	var id, file string
	var where []string
	var q compactor.Query
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "previous --root DIR --cohort NAME --run-id ID --stage STAGE",
		Short: "Find the run before a given one",
		Long: `Find the run of the same cohort and stage with the highest snapshot_seq below that of the
given run. A run that is not in the index yet counts as newer than all, and that is said: it may be misspelt.

Where the root's key has more fields, the run before is one of the same target, view and so on as the run's own row.
If the run has several rows, --where says which is meant; without it that is an error. --where may also name other
top-level fields, which both runs must have.

The answer goes to standard output: key, snapshot_seq and timestamp, or nothing if there is no
such run (with --json: null), which is said on standard error and is exit code 0. With --snapshots it is looked up in any snapshot_index.json, also
in an old one whose snapshots have no snapshot_seq; those are placed by their timestamp. With --unfolded
it counts what was appended and no fold has read yet, as the next fold will.`,
		Example: `  compactd previous --root runs --cohort churn_eu --run-id r-17 --stage TRAINING
  compactd previous --root runs --cohort churn_eu --run-id r-17 --stage TRAINING --where target=churn_30d --where view=
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
			if q.Where, err = parseWhere(where); err == nil {
				err = q.Validate()
			}
			if err != nil {
				return usageError{fmt.Errorf("--%w", err)}
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
				_, err = fmt.Fprintf(a.stdout, "%s\t%d\t%s\n", terminal.Field(string(run.Key)), run.Seq, timeOf(run))
				return err
			}
			a.say("no run in %v before %s", q, q.RunID)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "cohort", "", "the cohort (required)")
	f.StringVar(&q.RunID, "run-id", "", "the run whose predecessor is wanted (required)")
	f.StringVar(&q.Stage, "stage", "", "the stage (required)")
	f.StringArrayVar(&where, "where", nil, "only runs with this `FIELD=VALUE`; may be repeated; an empty value is an absent field")
	f.StringVar(&file, "snapshots", "", "look in this snapshot_index.json instead of a root")
	f.BoolVar(&q.Unfolded, "unfolded", false, "also look at what was appended and is not folded yet")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// parseWhere reads FIELD=VALUE, each field once.
func parseWhere(pairs []string) (map[string]string, error) {
	where := map[string]string{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("where %q is not FIELD=VALUE, such as target=churn_30d", pair)
		}
		if _, twice := where[name]; twice {
			return nil, fmt.Errorf("where %s stands twice", name)
		}
		where[name] = value
	}
	return where, nil
}

// timeOf is a run's timestamp in text output.
func timeOf(r compactor.Run) string { return cmp.Or(r.TimeText(), "-") }

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
