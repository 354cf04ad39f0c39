package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/quantity"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	var flags compactor.Config
	var views []string
	var watch watched
	cmd := &cobra.Command{
		Use:   "status --root DIR",
		Short: "Show what is folded, what waits, and who folds",
		Long: `Show the newest generation and, per cohort, streams and unfolded records.

It reads only, takes no lock, and may run at any time. It exits with 4 if it finds damage; it reads what is not folded yet, and of
all else looks at names and sizes: compactd check reads everything.

Of a stream without a seal it says when a fold moves it to reaped/ or deletes it there, if it has nothing new: its writer lives, or
was killed. It reckons with the defaults of --dead-after and --grace; give it what the compactor is given, if that is another.`,
		Example: `  compactd status --root runs
  compactd status --root runs --view sqlite:runs.db
  compactd status --root runs --watch
  compactd status --root runs --json | jq '.cohorts[] | select(.unfolded_records > 0)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.watching(cmd.Context(), watch, func(ctx context.Context, a *app) error {
				cfg, err := a.config()
				if err != nil {
					return err
				}
				cfg.DeadAfter, cfg.ReapGrace = flags.DeadAfter, flags.ReapGrace
				return a.showStatus(ctx, cfg, views, asJSON)
			})
		},
	}
	watch.flag(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringArrayVar(&views, "view", nil, "also say how far the view of this `URL` is behind; may be given more than once")
	cmd.Flags().Var(positive{(*quantity.Duration)(&flags.DeadAfter)}, "dead-after", "what the compactor is given (default 24h)")
	cmd.Flags().Var(positive{(*quantity.Duration)(&flags.ReapGrace)}, "grace", "what the compactor is given (default 10m)")
	return cmd
}

func (a *app) showStatus(ctx context.Context, cfg compactor.Config, views []string, asJSON bool) error {
	s, err := audit.ReadStatus(ctx, cfg)
	if err != nil {
		return err
	}
	shown, err := lookAtViews(ctx, views, s)
	if err != nil {
		return err
	}
	if asJSON {
		err = a.printJSON(shownStatus{s, shown})
	} else {
		err = a.printStatus(shownStatus{s, shown})
	}
	switch {
	case !s.Whole():
		err = errors.Join(err, errDamaged)
	case !s.Seen():
		err = errors.Join(err, errUnseen)
	}
	return err
}

func (a *app) printStatus(s shownStatus) error {
	out := a.stdout
	fmt.Fprintf(out, "root        %s\nroot id     %s\n", terminal.Line(string(s.Root)), s.RootID)
	switch {
	case s.Generation == 0:
		fmt.Fprintf(out, "generation  none: never folded\n")
	default:
		by := s.FoldedBy
		if s.Lock != nil {
			by += ", lock " + s.Lock.String()
		}
		fmt.Fprintf(out, "generation  %d: %d rows, folded at %s by %s\n", s.Generation, s.Rows, terminal.Line(s.FoldedAt), terminal.Line(by))
		if !s.Published && len(s.Damaged) == 0 && len(s.Unseen) == 0 {
			fmt.Fprintf(out, "published   an earlier generation, or not all files: the next fold publishes this one\n")
		}
	}
	if s.Generation > 0 {
		fmt.Fprintf(out, "history     generations kept: %d; only for those before the newest: %s\n", s.Generations, megabytes(s.HistoryBytes))
	}
	for _, p := range s.Damaged {
		fmt.Fprintf(out, "damage      %s\n", terminal.Line(p.String()))
	}
	for _, p := range s.Unseen {
		fmt.Fprintf(out, "not seen    %s\n", terminal.Line(p.String()))
	}
	if s.Generation > 0 {
		if s.Actions > 0 {
			fmt.Fprintf(out, "withdrawn   %d rows; %d actions were folded so far: compactd runs --withdrawn\n", s.Withdrawn, s.Actions)
		}
		fmt.Fprintf(out, "columns     %d, and %d values in _extra that no column holds\n", s.Columns, s.InExtra.Values())
	}
	if s.Narrow > 0 {
		fmt.Fprintf(out, "narrow key  %d records gave way to others of their key with another cohort, target, view, symbol or model_family\n", s.Narrow)
	}
	if m := s.Merged; m != nil {
		fmt.Fprintf(out, "row groups  %d, of which the last fold took over %d as they stood\n", m.GroupsCopied+m.GroupsWritten, m.GroupsCopied)
		if m.Bytes != (generation.Bytes{}) {
			fmt.Fprintf(out, "last fold   %v\n", amountsOf(m.Bytes))
		}
	}
	if s.Delta != nil {
		fmt.Fprintf(out, "delta       %s\n", terminal.Line(s.Delta.String()))
	}
	if s.Holder != "" {
		fmt.Fprintf(out, "lock        %s\n", terminal.Line(s.Holder))
	}
	for i, line := range s.InExtra.Lines() {
		label := "in _extra"
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(out, "%-10s  %s\n", label, line)
	}
	if s.Ahead != nil {
		fmt.Fprintf(out, "clock       a record of host %s has the time %s, which was ahead of the storage: stream %s\n",
			s.Ahead.Host, s.Ahead.Stamp.Time().UTC().Format(time.RFC3339), s.Ahead.Stream)
	}
	if s.Quarantine > 0 {
		fmt.Fprintf(out, "quarantine  %d damaged places and streams\n", s.Quarantine)
	}
	if n := len(s.SetAside); n > 0 {
		fmt.Fprintf(out, "set aside   %d files that other programs have saved over public ones, such as %s: take their rows in with compactd import, then delete them\n", n, terminal.Line(s.SetAside[n-1]))
	}
	if s.Stuck > 0 {
		fmt.Fprintf(out, "stuck       %d streams that are folded and that a fold had no right to move away: docs/operations.md, \"Shared groups\"\n", s.Stuck)
	}
	for _, v := range s.Views {
		fmt.Fprintf(out, "view        %s\n", terminal.Line(v.String()))
	}
	for _, c := range s.Cohorts {
		if c.Unseen > 0 {
			fmt.Fprintf(out, "not seen    %d streams of cohort %s: the storage does not answer or shows an old state\n", c.Unseen, c.Cohort)
		}
	}
	a.printUnsealed(s.Unsealed)
	if len(s.Cohorts) == 0 {
		_, err := fmt.Fprintf(out, "streams     none: everything is folded\n")
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nCOHORT\tSTREAMS\tSEALED\tREAPED\tUNFOLDED\tBYTES\tOLDEST\tTORN\tUNREADABLE\n")
	for _, c := range s.Cohorts {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%d\t%d\n", c.Cohort, c.Streams, c.Sealed, c.Reaped, c.UnfoldedRecords,
			c.UnfoldedBytes, age(c), c.TornBytes, c.Unreadable)
	}
	return t.Flush()
}

// shownUnsealed is how many streams without a seal are shown to people: the writers of most of them live.
const shownUnsealed = 10

// printUnsealed tells what becomes of streams without a seal, those that a fold moves or deletes next first.
func (a *app) printUnsealed(all []audit.Unsealed) {
	for i, u := range all {
		if i == shownUnsealed {
			fmt.Fprintf(a.stdout, "            and %d more: --json lists all\n", len(all)-i)
			return
		}
		fmt.Fprintf(a.stdout, "no seal     %s: %s\n", u.Stream, u.Text())
	}
}

func age(c audit.CohortStatus) string {
	if c.UnfoldedRecords == 0 {
		return "-"
	}
	return c.OldestUnfolded.Round(time.Second).String()
}
