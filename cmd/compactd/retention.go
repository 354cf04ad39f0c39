package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/quantity"
)

func (a *app) retentionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retention",
		Short: "Show or set how long generations stay",
		Long: `Show or set how long generations stay after they are no longer the newest. All of them stay for a while, then the first of each
hour, then the first of each day of UTC. It is a setting of the root, which stands in its manifests and changes by a commit. Whatever it
is, those stay that --keep-generations and --keep-age of a fold keep, and always two whole ones.`,
		Example: `  compactd retention show --root runs
  compactd retention set --root runs --daily 90d`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), usageError{errors.New("a subcommand is missing: show or set")})
		},
	}
	cmd.AddCommand(a.showRetentionCommand(), a.setRetentionCommand())
	return cmd
}

func (a *app) showRetentionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show --root DIR",
		Short: "Show how long generations stay",
		Long: `Show how long generations stay. It reads only, takes no lock, and may run at any time. "compactd status" tells how many are kept,
and what they cost.`,
		Example: `  compactd retention show --root runs
  compactd retention show --root runs --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			store, err := cfg.Store()
			if err != nil {
				return err
			}
			newest, err := store.Newest()
			if err != nil {
				return store.Doubt(err, 0)
			}
			if asJSON {
				return a.printJSON(newest.Keeps())
			}
			_, err = fmt.Fprint(a.stdout, retentionText(newest.Keeps()))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func retentionText(r generation.Retention) string {
	return fmt.Sprintf("all      %v\nhourly   %v\ndaily    %v\nreserve  %s\n", r.All, r.Hourly, r.Daily, reserveText(r))
}

func reserveText(r generation.Retention) string {
	if r.Reserve > 0 {
		return fmt.Sprintf("%d bytes", r.Reserve)
	}
	return "a twentieth of the disk, at most 4 GiB, and twice what the next fold may need"
}

func (a *app) setRetentionCommand() *cobra.Command {
	var all, hourly, daily time.Duration
	var reserve int64
	cmd := &cobra.Command{
		Use:   "set --root DIR",
		Short: "Set how long generations stay",
		Long: `Set how long generations stay; what is not given stays as it is. 0 turns one of the three off, and with all three 0 only those stay
that --keep-generations and --keep-age of a fold keep.

When less of the disk is free than --reserve says, the oldest of these generations go before their time.

This is a commit, as a fold is one: it takes the lock. No row is written, and the next fold sweeps by it. What was swept before does not
come back.`,
		Example: `  compactd retention set --root runs --all 1h --hourly 24h --daily 720h
  compactd retention set --root runs --daily 0
  compactd retention set --root runs --reserve 50GiB`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var change compactor.RetentionChange
			for name, to := range map[string]func(){
				"all": func() { change.All = &all }, "hourly": func() { change.Hourly = &hourly }, "daily": func() { change.Daily = &daily },
				"reserve": func() { change.Reserve = &reserve },
			} {
				if cmd.Flags().Changed(name) {
					to()
				}
			}
			if change == (compactor.RetentionChange{}) {
				return usageError{errors.New("nothing to set: give --all, --hourly, --daily or --reserve")}
			}
			if err := (generation.Retention{All: all, Hourly: hourly, Daily: daily, Reserve: reserve}).Validate(); err != nil {
				return usageError{err}
			}
			return a.changeRetention(cmd, change)
		},
	}
	f := cmd.Flags()
	f.Var((*quantity.Duration)(&all), "all", "keep all generations for so long (default 1h)")
	f.Var((*quantity.Duration)(&hourly), "hourly", "keep the first of each hour for so long (default 24h)")
	f.Var((*quantity.Duration)(&daily), "daily", "keep the first of each day for so long (default 720h)")
	f.Var((*quantity.Bytes)(&reserve), "reserve", "leave so much of the disk free; 0: a twentieth of it, at most 4GiB, and twice what the next fold may need (default 0)")
	return a.withWait(cmd)
}

func (a *app) changeRetention(cmd *cobra.Command, change compactor.RetentionChange) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	m, err := compactor.ChangeRetention(cmd.Context(), cfg, change)
	if err != nil {
		return err
	}
	keeps := m.Keeps()
	a.say("%s: generation %d keeps all generations for %v, the first of each hour for %v, the first of each day for %v", cfg.Root, m.Generation,
		keeps.All, keeps.Hourly, keeps.Daily)
	if change.Reserve != nil {
		a.say("%s: reserve of the disk: %s", cfg.Root, reserveText(keeps))
	}
	return nil
}
