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

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) runsCommand() *cobra.Command {
	var id, stage, at string
	var unfolded, withdrawn, protected, asJSON bool
	cmd := &cobra.Command{
		Use:   "runs --root DIR",
		Short: "List the runs, also those that no fold has read yet",
		Long: `List the runs of the newest generation in snapshot_seq order: key, snapshot_seq, timestamp and
cohort. With --unfolded the list is what a fold would make of the root now: who appends sees the
own record at once. Runs that are not folded yet end with the word unfolded, and with --json have
the record that was appended.

With --at the list is that of an earlier generation: of its number, or of a time: 2026-01-31T12:00:00Z, a date (its first moment,
UTC), or a time ago such as 2h. Of a time it is the newest generation that is kept and was committed at or before it, by the clock
of the machine that committed; which one that is, is said on standard error. "compactd history" lists what is kept.

With --withdrawn the list is that of the rows that were taken out, with the time of the withdrawal, who appended it, and its reason; with --protected
that of the rows that folds refuse to withdraw.

Where --cohort or --stage leave nothing, that is said on standard error; the exit code is 0.

It reads only, takes no lock, and may run at any time.`,
		Example: `  compactd runs --root runs --cohort churn_eu --stage TRAINING
  compactd runs --root runs --at 2h
  compactd runs --root runs --at 1234 --json
  compactd runs --root runs --unfolded --json | jq 'select(.unfolded_record) | .unfolded_record.metrics'
  compactd runs --root runs --withdrawn --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if id != "" {
				if _, err := cohort.ParseID(id); err != nil {
					return usageError{fmt.Errorf("--cohort: %w", err)}
				}
			}
			if withdrawn && protected || (unfolded || at != "") && (withdrawn || protected) {
				return usageError{errors.New("--unfolded, --at, --withdrawn and --protected exclude each other: each is a list of its own")}
			}
			if withdrawn || protected {
				return a.printActedOn(cmd.Context(), cfg, runsFilter{cohort: id, stage: stage}, withdrawn, asJSON)
			}
			all, err := a.runsAt(cmd.Context(), cfg, at, unfolded)
			if err != nil {
				return err
			}
			out := bufio.NewWriterSize(a.stdout, 64<<10)
			only := runsFilter{cohort: id, stage: stage}
			for r, err := range all {
				if err == nil && only.passes(r) {
					err = printRun(out, r, asJSON)
				}
				if err != nil {
					return errors.Join(err, out.Flush())
				}
			}
			if what := only.missed("the root"); what != "" {
				a.say("%s", what)
			}
			return out.Flush()
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "cohort", "", "only runs of this cohort")
	f.StringVar(&stage, "stage", "", "only runs of this stage")
	f.StringVar(&at, "at", "", "the runs of this `GENERATION|TIME`")
	f.BoolVar(&unfolded, "unfolded", false, "also what was appended and is not folded yet")
	f.BoolVar(&withdrawn, "withdrawn", false, "the rows that were taken out")
	f.BoolVar(&protected, "protected", false, "the rows that folds refuse to withdraw")
	f.BoolVar(&asJSON, "json", false, "print a line of JSON for each")
	return cmd
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
	if len(f.cohorts) <= manyCohorts && !slices.Contains(f.cohorts, string(r.Cohort)) {
		f.cohorts = append(f.cohorts, string(r.Cohort))
	}
	passes := (f.cohort == "" || f.cohort == string(r.Cohort)) && (f.stage == "" || f.stage == r.Stage)
	f.passed = f.passed || passes
	return passes
}

// manyCohorts is how many are named to somebody who misspelt one.
const manyCohorts = 10

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
	case len(f.cohorts) > manyCohorts:
		return fmt.Sprintf("no run of %s: %s has more than %d cohorts", strings.Join(of, ", "), among, manyCohorts)
	}
	return fmt.Sprintf("no run of %s: the cohorts of %s are %s", strings.Join(of, ", "), among, strings.Join(f.cohorts, ", "))
}

func printRun(out *bufio.Writer, r compactor.Run, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	line := append(out.AvailableBuffer(), terminal.Field(string(r.Key))...) // by hand: of a million lines fmt takes a third of the time
	line = strconv.AppendUint(append(line, '\t'), uint64(r.Seq), 10)
	line = append(append(line, '\t'), timeOf(r)...)
	line = append(append(line, '\t'), r.Cohort...)
	if r.Record != nil {
		line = append(line, "\tunfolded"...)
	}
	_, err := out.Write(append(line, '\n'))
	return err
}
