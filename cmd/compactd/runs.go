package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor"
)

func (a *app) runsCommand() *cobra.Command {
	var id, stage string
	var unfolded, asJSON bool
	cmd := &cobra.Command{
		Use:   "runs --root DIR",
		Short: "List the runs, also those that no fold has read yet",
		Long: `List the runs of the newest generation in snapshot_seq order: key, snapshot_seq, timestamp and
cohort. With --unfolded the list is what a fold would make of the root now: who appends sees the
own record at once. Runs that are not folded yet end with the word unfolded, and with --json have
the record that was appended.

It reads only, takes no lock, and may run at any time.`,
		Example: `  compactd runs --root runs --cohort churn_eu --stage TRAINING
  compactd runs --root runs --unfolded --json | jq 'select(.unfolded_record) | .unfolded_record.metrics'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			out := bufio.NewWriterSize(a.stdout, 64<<10)
			for r, err := range compactor.Runs(cmd.Context(), cfg, unfolded) {
				if err == nil && (id == "" || id == string(r.Cohort)) && (stage == "" || stage == r.Stage) {
					err = printRun(out, r, asJSON)
				}
				if err != nil {
					return errors.Join(err, out.Flush())
				}
			}
			return out.Flush()
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "cohort", "", "only runs of this cohort")
	f.StringVar(&stage, "stage", "", "only runs of this stage")
	f.BoolVar(&unfolded, "unfolded", false, "also what was appended and is not folded yet")
	f.BoolVar(&asJSON, "json", false, "print a line of JSON for each")
	return cmd
}

func printRun(out *bufio.Writer, r compactor.Run, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	line := append(out.AvailableBuffer(), r.Key...) // by hand: of a million lines fmt takes a third of the time
	line = strconv.AppendUint(append(line, '\t'), uint64(r.Seq), 10)
	line = r.Timestamp.UTC().AppendFormat(append(line, '\t'), microseconds)
	line = append(append(line, '\t'), r.Cohort...)
	if r.Record != nil {
		line = append(line, "\tunfolded"...)
	}
	_, err := out.Write(append(line, '\n'))
	return err
}
