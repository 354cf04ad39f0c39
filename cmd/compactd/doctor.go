package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/doctor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/quantity"
	"github.com/runfold/runfold/journal"
)

// probeName is the hidden subcommand that the processes run that doctor measures with.
const probeName = "doctor-probe"

func (a *app) doctorCommand() *cobra.Command {
	var dir string
	timeout := quantity.Duration(30 * time.Second)
	var asJSON, noSave bool
	cmd := &cobra.Command{
		Use:   "doctor --root DIR",
		Short: "Measure whether the file system gives what runfold needs",
		Long: `Measure the file system of a root: who wins a race for a name, whether locks work between
processes, when a change is seen, and more. It prints what was found and what runfold does about it,
and keeps that in the root as doctor.json: only then, on a local file system, is a stream whose lock
is free taken for one whose writer has ended, without waiting for a day.

It measures in a directory of its own inside DIR, in processes that it kills after --timeout: a network
file system that is away hangs where nothing helps. With --dir it measures any directory, before you
make a root there.

With --lock it measures a service of locks instead: who wins of 16 at once, whether a lease is renewed, how long others wait when its holder
was killed, and what its clock does. It takes locks of a root that is not there, for some ten seconds.

Exit code 1 means that runfold cannot keep its promises there, or that the lock does not do what a lock promises; 75 that there was no answer.`,
		Example: `  compactd doctor --root runs
  compactd doctor --dir /mnt/shared --json
  compactd doctor --lock redis://cache.example`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout == 0 {
				return usageError{errors.New("--timeout must be above zero")}
			}
			switch {
			case a.hasFlag("lock") && a.root == "" && dir == "":
				ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(timeout))
				defer cancel()
				return a.measureLock(ctx, asJSON)
			case a.hasFlag("lock"), (a.root == "") == (dir == ""):
				return usageError{errors.New("give one of --root, --dir and --lock")}
			}
			var root cohort.Root
			var id string
			if dir == "" {
				var err error
				if root, id, err = a.wantedRoot(); err != nil {
					return err
				}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(timeout))
			defer cancel()
			end := a.progress.begin("measuring", nil)
			v, err := doctor.Measure(ctx, a.root+dir, again)
			end()
			var r journal.Root
			if dir == "" && (err == nil || ctx.Err() == nil) {
				// Only now that it has answered: a file system that is away would hold us for ever.
				var rerr error
				if r, rerr = journal.OpenRoot(root, journal.RootOptions{ID: id}); rerr != nil {
					return rerr
				}
			}
			if err != nil {
				return err
			}
			if err := a.printVerdict(v, asJSON); err != nil {
				return err
			}
			if dir == "" && !noSave {
				if err := doctor.Save(durable.OS, root, v, r.Settings.FileMode); err != nil {
					return err
				}
			}
			if !v.Supported {
				return fmt.Errorf("%w: missing: %s", errUnsupported, strings.Join(v.Missing(), ", "))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "measure this directory, which need not be a root; nothing is kept")
	cmd.Flags().Var(&timeout, "timeout", "give up, and kill what measures, after so long")
	cmd.Flags().BoolVar(&noSave, "no-save", false, "do not keep what was found in the root")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

var errUnsupported = errors.New("runfold cannot keep its promises on this file system")

// again runs this program as a process that measures. It gets an absolute path: who starts it may be
// anywhere.
func again(args ...string) *exec.Cmd {
	if abs, err := filepath.Abs(args[1]); err == nil {
		args[1] = abs
	}
	return exec.Command(self(), append([]string{probeName}, args...)...)
}

// self is this program.
func self() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

func (a *app) printVerdict(v doctor.Verdict, asJSON bool) error {
	if asJSON {
		return a.printJSON(v)
	}
	where := "of a kind that other machines may share"
	if v.Local {
		where = "local"
	}
	fmt.Fprintf(a.stdout, "file system  %s, %s\n\n", v.FileSystem, where)
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "CHECK\tRESULT\tWHAT RUNFOLD DOES ABOUT IT\n")
	for _, c := range v.Checks {
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.Name, c.Result, c.Means)
		if c.Name == doctor.SharedBlocks || slices.Contains([]string{"no", "unknown", "without", "fails"}, c.Result) {
			fmt.Fprintf(t, "\t\t(%s)\n", c.Detail)
		}
	}
	return t.Flush()
}

// probeCommand is what again runs.
func (a *app) probeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    probeName + " ROLE PATH",
		Short:  "Run by doctor",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return doctor.Run(args, a.stdin, a.stdout, again)
		},
	}
}
