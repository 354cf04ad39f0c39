package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/history"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/quantity"
)

func (a *app) restoreCommand() *cobra.Command {
	var o history.RestoreOptions
	var asJSON bool
	var where string
	wait := defaultWait
	cmd := &cobra.Command{
		Use:   "restore --root DIR G [--where EXPRESSION] [--apply]",
		Short: "Bring the rows back that a generation had",
		Long: `Bring the rows back that generation G had. Rows of G that are gone or say something else now are
written again, and rows that came since are withdrawn. Without --apply it says what it would do,
and changes nothing.

What it does are appends and withdrawals as any others, with their own streams and stamps. So no
stream that comes back and no repair undoes them, and a later append of a key wins over them. The
columns and other settings of the root stay as they are. Protected runs stay, too.

With --apply it folds first, so that what waits is in, and folds again at the end. A restore that
was stopped goes on when the same command runs again; one that has nothing to do writes nothing.
Rows that others have written meanwhile are counted.

With --where, only keys whose row in G, or the row that they have now, makes the expression true.

In the list, + comes back, ~ will be as it was, and - is withdrawn.`,
		Example: `  compactd diff --root runs 41
  compactd restore --root runs 41
  compactd restore --root runs 41 --apply
  compactd restore --root runs 41 --where "run_id like 'sweep-3-%'" --apply`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if o.Limit < 0 {
				return usageError{fmt.Errorf("--limit %d: it must not be negative", o.Limit)}
			}
			gens, err := generationsOf(args)
			if err != nil {
				return err
			}
			if o.Where, err = whereOf(where); err != nil {
				return err
			}
			cfg.Wait = wait
			end := a.progress.begin("restoring", &cfg)
			done, err := history.Restore(cmd.Context(), cfg, gens[0], o)
			end()
			if err != nil {
				return inWhere(err)
			}
			return a.printReturn(done, asJSON)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Apply, "apply", false, "do it")
	f.StringVar(&where, "where", "", "only keys with such a row, for example \"cohort_id = 'churn_eu'\"")
	f.IntVar(&o.Limit, "limit", 20, "list so many rows of each kind")
	f.Var((*quantity.Duration)(&wait), "wait", "wait so long for another compactor to end")
	f.BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return cmd
}

// whereOf selects rows by an expression; all, if it is empty.
func whereOf(text string) (history.Where, error) {
	if text == "" {
		return nil, nil
	}
	e, err := query.Parse(text)
	if err != nil {
		return nil, inWhere(err)
	}
	return func(ctx context.Context, files ...*index.File) iter.Seq2[index.Identity, error] {
		return query.Select(ctx, e, files...)
	}, nil
}

// inWhere makes a usage error of one that is about the expression.
func inWhere(err error) error {
	if errors.As(err, new(*query.Error)) {
		return usageError{fmt.Errorf("--where: %w", err)}
	}
	return err
}

// errUnmade says that some rows could not be restored.
var errUnmade = errors.New("not all rows can be written again: the others are restored")

func (a *app) printReturn(r history.Restored, asJSON bool) (err error) {
	if asJSON {
		err = a.printJSON(r)
	} else {
		err = a.printRestore(r)
	}
	for _, reason := range r.Reasons {
		a.say("%s", reason)
	}
	if r.Later > 0 {
		a.say("%d rows differ from generation %d again: others have written them meanwhile; compactd diff shows them", r.Later, r.To)
	}
	if r.GaveWay > 0 {
		a.say("%d records gave way to later ones: others have written the same keys meanwhile", r.GaveWay)
	}
	switch {
	case r.Damage:
		return errors.Join(err, errDamage)
	case r.Unmade > 0:
		return errors.Join(err, errUnmade)
	}
	return err
}

// printRestore is for people.
func (a *app) printRestore(r history.Restored) error {
	out := bufio.NewWriter(a.stdout)
	would := " would be"
	if r.Applied {
		would = ""
	}
	fmt.Fprintf(out, "generation %d to %d: %d rows%s written again, %d withdrawn, %d left as they are", r.From, r.To, r.Written, would, r.Withdrawn, r.Left)
	if r.Protected > 0 {
		fmt.Fprintf(out, ", %d protected", r.Protected)
	}
	if r.Unmade > 0 {
		fmt.Fprintf(out, ", %d cannot be written again", r.Unmade)
	}
	fmt.Fprintln(out)
	printRows(out, r.Rows)
	if r.LeftOut > 0 {
		fmt.Fprintf(out, "%d more rows: --limit shows more\n", r.LeftOut)
	}
	switch work := r.Written + r.Withdrawn; {
	case work > 0 && r.Applied:
		fmt.Fprintf(out, "done: it is generation %d\n", r.Now)
	case work > 0:
		fmt.Fprintln(out, "nothing was changed: --apply does it")
	default:
		fmt.Fprintln(out, "nothing to do")
	}
	return out.Flush()
}
