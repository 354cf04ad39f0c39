package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view/delta"
)

func (a *app) deltaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delta",
		Short: "Publish the index as a Delta table, for Spark, DuckDB, Polars and others",
		Long: `Publish the index as a Delta table in ROOT/delta, which Spark, DuckDB, Polars, ClickHouse and other engines read, also as it was
earlier. It is a setting of the root, which stands in its manifests and changes by a commit. Each fold brings the table up to date after
its own commit; a table that cannot be brought up to date never holds up a fold.

The table is only a view: engines read it, and only folds write it. It can be dropped and made again at any time.`,
		Example: `  compactd delta set on --root runs
  compactd delta show --root runs`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), usageError{errors.New("a subcommand is missing: show, set, sync or drop")})
		},
	}
	cmd.AddCommand(a.showDeltaCommand(), a.setDeltaCommand(), a.syncDeltaCommand(), a.dropDeltaCommand())
	return cmd
}

// openDelta opens the root for a command of the table.
func (a *app) openDelta() (*generation.Store, generation.Manifest, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, generation.Manifest{}, err
	}
	store, err := cfg.Store()
	if err != nil {
		return nil, generation.Manifest{}, err
	}
	newest, err := store.Newest()
	return store, newest, store.Doubt(err, 0)
}

func (a *app) showDeltaCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show --root DIR",
		Short: "Show what the Delta table shows",
		Long:  `Show which version the Delta table has and which generation that is. It reads only, takes no lock, and may run at any time.`,
		Example: `  compactd delta show --root runs
  compactd delta show --root runs --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			store, newest, err := a.openDelta()
			if err != nil {
				return err
			}
			d, err := audit.ReadDelta(store, newest)
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(d)
			} else {
				_, err = fmt.Fprintf(a.stdout, "delta  %s\n", d.String())
			}
			if d.Problem != "" {
				err = errors.Join(err, errDamaged)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) setDeltaCommand() *cobra.Command {
	return a.withWait(&cobra.Command{
		Use:   "set on|off --root DIR",
		Short: "Say whether folds publish a Delta table",
		Long: `Say whether folds publish a Delta table. "on" publishes it at once. "off" leaves the table as it is, for those who read it, and
with it the room of its files on the disk: "compactd delta drop" removes it.

This is a commit, as a fold is one: it takes the lock. No row is written.`,
		Example: `  compactd delta set on --root runs
  compactd delta set off --root runs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "on" && args[0] != "off" {
				return usageError{fmt.Errorf("%q is neither on nor off", args[0])}
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			m, err := compactor.ChangeDelta(cmd.Context(), cfg, args[0] == "on")
			if err != nil {
				return err
			}
			a.say("%s: generation %d: the Delta table is %s", cfg.Root, m.Generation, args[0])
			return nil
		},
	})
}

func (a *app) syncDeltaCommand() *cobra.Command {
	var reassert bool
	cmd := &cobra.Command{
		Use:   "sync --root DIR",
		Short: "Bring the Delta table up to date now",
		Long: `Bring the Delta table up to date now. Folds do it by themselves, so this is for what they report: with --reassert it takes back a table
into which another program has written, or links its file again if somebody has removed that (a VACUUM does). What that program has
written stays in the log, below a version that shows the newest generation and nothing else.

It takes no lock, and any number may run at the same time.`,
		Example: `  compactd delta sync --root runs
  compactd delta sync --root runs --reassert`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			store, newest, err := a.openDelta()
			if err != nil {
				return err
			}
			if !newest.Delta {
				return usageError{errors.New("the root has no Delta table: compactd delta set on")}
			}
			sync := delta.Publish
			if reassert {
				sync = delta.Reassert
			}
			done, err := sync(store)
			if err != nil {
				return store.Doubt(err, 0)
			}
			a.say("%s: version %d of the Delta table shows generation %d", store.Root, done.Version, done.Generation)
			return nil
		},
	}
	cmd.Flags().BoolVar(&reassert, "reassert", false, "take the table back from another program, or link its file again")
	return cmd
}

func (a *app) dropDeltaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "drop --root DIR",
		Short: "Remove the Delta table",
		Long: `Remove the Delta table: its log in one step, then its files. Nothing else of the root is touched. If the table is on, the next fold makes it
anew from version 0; a reader that knows the old one must open it again. Files that other programs have put into delta/ stay.`,
		Example: `  compactd delta drop --root runs`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			store, _, err := a.openDelta()
			if err != nil {
				return err
			}
			if err := delta.Drop(store); err != nil {
				return store.Doubt(err, 0)
			}
			a.say("%s: the Delta table is gone", store.Root)
			return nil
		},
	}
}
