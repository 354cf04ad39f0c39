package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) historyCommand() *cobra.Command {
	var asJSON bool
	var limit int
	cmd := &cobra.Command{
		Use:   "history --root DIR",
		Short: "List the generations that are kept: when, by whom, and what changed",
		Long: `List the generations that are kept, newest first: number, time (by the wall clock of the machine that committed), what the
commit was (fold, import, columns, retention, repair, erase), user@host, process and the lock that it held, program, rows, and how many rows were added,
replaced, withdrawn, returned, imported or erased.

A generation is void where a repair went back before it, or where a compactor that slept made it too late: it is not of the history
of the newest one. What nobody knows is said so: older programs did not say what they did.

A manifest that cannot be read is a line with the reason, and the exit code is 4. The command reads manifests and nothing
else, takes no lock, and may run at any time. "compactd retention show" tells how long generations stay.`,
		Example: `  compactd history --root runs --limit 20
  compactd history --root runs --json | jq 'select(.verb == "import")'
  compactd runs --root runs --at 1234`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if limit < 0 {
				return usageError{fmt.Errorf("--limit %d must not be negative", limit)}
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			store, err := cfg.Store()
			if err != nil {
				return err
			}
			return store.Doubt(a.printHistory(store, limit, asJSON), 0)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many (default all)")
	return cmd
}

func (a *app) printHistory(store *generation.Store, limit int, asJSON bool) error {
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	n, damaged := 0, error(nil)
	for c, err := range store.History() {
		if err == nil {
			err = printCommit(out, c, asJSON)
		}
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		switch {
		case c.Err == nil:
		case durable.IsAway(store.Doubt(c.Err, 0)):
			damaged = cmp.Or(damaged, error(errUnseen))
		case generation.IsDamage(c.Err), isSettings(c.Err):
			damaged = errDamaged
		default:
			damaged = cmp.Or(damaged, c.Err)
		}
		if n++; n == limit {
			break
		}
	}
	if n == 0 {
		a.say("%s: no generation: never folded", store.Root)
	}
	return errors.Join(out.Flush(), damaged)
}

func printCommit(out *bufio.Writer, c generation.Commit, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		return e.Encode(c)
	}
	if c.Err != nil {
		_, err := fmt.Fprintf(out, "%d\tnot readable: %s\n", c.Generation, terminal.Field(c.Unreadable))
		return err
	}
	by := fmt.Sprintf("%s@%s pid %d", cmp.Or(c.User, "?"), c.Host, c.PID)
	if c.Lock != nil {
		by += ", lock " + c.Lock.String()
	}
	_, err := fmt.Fprintf(out, "%d\t%s\t%s\t%s\t%s\t%d rows\t%s\n", c.Generation, terminal.Field(c.CreatedAt), terminal.Field(string(cmp.Or(c.Verb, "not known"))),
		terminal.Field(by), terminal.Field(c.Program), c.Rows, c.WhatChanged())
	return err
}
