package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) columnsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "columns --root DIR",
		Short: "List the columns, their types, and the values that no column holds",
		Long: `List the dynamic columns of index.parquet: the type of each, how many rows have a value in it, and how many values
of its name it does not hold, and why. No value is lost: what no column holds is in the column _extra, and in the snapshot.

A field gets its column from the first record that has it. Fields of metrics are doubles and fields of tags are text, whatever
comes first. A column of text takes every number and bool; its spelling stays in _extra beside it. All other columns keep their
type until "compactd columns set" changes it.

The list is that of the newest generation: fold first to see what was appended.`,
		Example: `  compactd columns --root runs
  compactd columns --root runs --json | jq '.columns[] | select(.in_extra != [])'
  compactd columns set --root runs symbol:string git_commit:string
  compactd columns drop --root runs tags.scratch
  compactd columns set --root runs --max 1000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			c, err := audit.ReadColumns(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(c)
			}
			return a.printColumns(c)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(a.setColumnsCommand(), a.dropColumnsCommand())
	return cmd
}

func (a *app) printColumns(c audit.Columns) error {
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "COLUMN\tTYPE\tDECLARED\tVALUES\tIN _EXTRA\n")
	for _, col := range c.Columns {
		declared := "no"
		if col.Declared {
			declared = "yes"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\n", terminal.Field(col.Name), col.Type, declared, col.Values, col.InExtra.Values())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var extras index.Extras
	for _, col := range c.Columns {
		extras = append(extras, col.InExtra...)
	}
	for _, line := range append(extras.Lines(), c.NoColumn.Lines()...) {
		if _, err := fmt.Fprintln(a.stdout, line); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(a.stdout, "%d of %d columns\n", len(c.Columns), c.Max)
	return err
}

func (a *app) setColumnsCommand() *cobra.Command {
	var most int
	cmd := &cobra.Command{
		Use:   "set --root DIR NAME:TYPE...",
		Short: "Declare columns: they exist and have this type, whatever is appended",
		Long: `Declare columns. A declared column exists even where no record has a value for it, it does not give way to others, and
it has the type that was given: bool, int64, double or string.

This is a commit, as a fold is one: it takes the lock, and all rows are written again. Values move between the column and _extra, and none
is lost. It may be cut off at any time, and repeated.`,
		Example: `  compactd columns set --root runs symbol:string metrics.auc:double
  compactd columns set --root runs --max 1000`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			change := compactor.ColumnChange{Max: most}
			var err error
			if change.Declare, err = parseColumns(args); err != nil {
				return usageError{err}
			}
			if len(args) == 0 && most == 0 {
				return usageError{fmt.Errorf("nothing to set: give columns such as symbol:string, or --max")}
			}
			return a.changeColumns(cmd, change)
		},
	}
	cmd.Flags().IntVar(&most, "max", 0, fmt.Sprintf("how many columns the root may have, at most %d (default %d)", index.MostColumns, index.DefaultColumns))
	return a.withWait(cmd)
}

func (a *app) dropColumnsCommand() *cobra.Command {
	return a.withWait(&cobra.Command{
		Use:   "drop --root DIR NAME...",
		Short: "Drop columns: their values move to _extra",
		Long: `Drop columns. Their values move to _extra, and stay in the snapshots. A column that a later record brings
again has the type that it had.

This is a commit, as a fold is one: it takes the lock, and all rows are written again. It may be cut off at any time, and repeated.`,
		Example: `  compactd columns drop --root runs tags.scratch metrics.step_17`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeColumns(cmd, compactor.ColumnChange{Drop: args})
		},
	})
}

func parseColumns(args []string) (columns []index.Column, err error) {
	for _, arg := range args {
		c, err := index.ParseColumn(arg)
		if err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	return columns, nil
}

func (a *app) changeColumns(cmd *cobra.Command, change compactor.ColumnChange) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	m, err := compactor.ChangeColumns(cmd.Context(), cfg, change)
	if err != nil {
		return err
	}
	a.say("%s: generation %d has %d columns, %d of them declared", cfg.Root, m.Generation, len(m.Schema), len(m.Columns.Declared))
	return nil
}
