package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/terminal"
)

// errStands ends an erasure that has done what it can, and has named what is left. It is exit code 75.
var errStands = errors.New("what is named above may still hold something of erased runs: deal with it, then compactd erase --continue --apply")

// eraseFlags are what the command was given.
type eraseFlags struct {
	where       string
	what        compactor.Erasure
	goOn, json  bool
	certificate string
	verify      string
	fold        compactor.Config
}

func (a *app) eraseCommand() *cobra.Command {
	var o eraseFlags
	cmd := &cobra.Command{
		Use:   "erase --root DIR --run-id ID|--where EXPR [--apply]",
		Short: "Remove runs for good, from every file of the root",
		Long: `Remove runs for good, for example because the data of a person must not be kept. Without --apply it only says which
rows these are, withdrawn ones too, and where in the root they stand. There is no way back.

With --apply it folds, and commits two generations without the rows, which have no file in common. Then it removes all
generations before, whatever is to be kept, the streams that were folded, what quarantine/ has of them, and all versions of the
Delta table but the newest. Actions that name only these runs go, too. A tombstone of each run stays: a salted digest and a stamp. What was appended before that
never gets in again, whether a stream comes back or a file is imported. A record that is appended later is a new run.

What it cannot remove it names, and exits with 75: streams whose writers go on, what cannot be read, and hard links
outside of the root. Deal with that, then run it again, or "compactd erase --continue --apply". It may be cut off at any time, and
run again.

With --certificate it writes a JSON file that states what was erased, as salted digests, when, by whom, and from which
generations. It is signed by nobody. --verify compares such a file with the root, and with a run that is named.

It does not reach backups and other copies of the root, views in databases until they are synced, files that others have put beside
a Delta table, snapshots of the file system, and blocks of deleted files on the disk. Names of cohorts and columns stay.`,
		Example: `  compactd erase --root runs --run-id r-17
  compactd erase --root runs --run-id r-17 --apply --certificate r-17.json
  compactd erase --root runs --where "tags.owner = 'x'" --apply
  compactd erase --root runs --continue --apply
  compactd erase --root runs --verify r-17.json --run-id r-17`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.erase(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.where, "where", "", "the rows for which this `expression` is true, of the newest generation and withdrawn ones")
	f.StringVar(&o.what.RunID, "run-id", "", "the rows of this run, in all cohorts")
	f.StringVar(&o.what.Stage, "stage", "", "of that run, only the rows of this stage")
	f.BoolVar(&o.goOn, "continue", false, "erase no more runs, and remove what is left of earlier ones")
	f.BoolVar(&o.what.Apply, "apply", false, "do it")
	f.BoolVar(&o.json, "json", false, "print the report as JSON")
	f.StringVar(&o.certificate, "certificate", "", "write a certificate into this new `file`, with --apply")
	f.StringVar(&o.verify, "verify", "", "compare the certificate in this `file` with the root, and do nothing else")
	foldFlags(cmd, &o.fold)
	return cmd
}

// validate refuses flags that exclude each other.
func (o *eraseFlags) validate() error {
	n := 0
	for _, given := range []bool{o.where != "", o.what.RunID != "", o.goOn} {
		if given {
			n++
		}
	}
	switch {
	case o.verify != "" && (o.where != "" || o.goOn || o.what.Apply || o.certificate != ""):
		return errors.New("--verify does nothing else")
	case o.verify != "" && o.json:
		return errors.New("--verify prints text: --json is not for it")
	case o.verify == "" && n != 1:
		return errors.New("give one of --run-id, --where and --continue")
	case o.what.Stage != "" && o.what.RunID == "":
		return errors.New("--stage needs --run-id")
	case o.certificate != "" && !o.what.Apply:
		return errors.New("--certificate needs --apply: without it nothing is erased")
	}
	if o.where == "" {
		return nil
	}
	e, err := query.Parse(o.where)
	if err != nil {
		return fmt.Errorf("--where: %w", err)
	}
	o.what.Select = func(ctx context.Context, files ...*index.File) iter.Seq2[index.Identity, error] {
		return query.Select(ctx, e, files...)
	}
	return nil
}

func (a *app) erase(ctx context.Context, o eraseFlags) error {
	if err := o.validate(); err != nil {
		return usageError{err}
	}
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if cfg, err = withFlags(cfg, o.fold); err != nil {
		return err
	}
	if o.verify != "" {
		return a.verifyErased(ctx, cfg, o)
	}
	if o.certificate != "" {
		if _, err := os.Lstat(o.certificate); err == nil {
			return usageError{fmt.Errorf("--certificate: %s exists, and is not written over", o.certificate)}
		}
	}
	end := a.progress.begin("erasing", &cfg)
	done, err := compactor.Erase(ctx, cfg, o.what)
	end()
	if errors.As(err, new(*query.Error)) {
		return usageError{fmt.Errorf("--where: %w", err)}
	}
	if err == nil && o.certificate != "" {
		err = a.certify(cfg, done, o.certificate)
	}
	if o.json {
		err = errors.Join(err, a.printJSON(done))
	} else {
		perr := a.printErased(done)
		if err == nil && perr == nil && len(done.Rows)+len(done.Holding) == 0 {
			a.say("nothing of such runs is found")
		}
		err = errors.Join(err, perr)
	}
	switch {
	case err != nil:
		return err
	case o.what.Apply && !done.IsDone():
		return errStands
	case !o.what.Apply && !done.IsDone():
		a.say("nothing was changed: --apply erases")
	}
	return nil
}

// printErased prints rows and places, and says what was done.
func (a *app) printErased(e compactor.Erased) error {
	for _, row := range e.Rows {
		state := "row"
		if row.Withdrawn {
			state = "withdrawn"
		}
		if _, err := fmt.Fprintf(a.stdout, "%s\t%s\t%s\n", state, terminal.Field(string(row.Key)), row.Cohort); err != nil {
			return err
		}
	}
	for _, h := range e.Holding {
		if _, err := fmt.Fprintf(a.stdout, "%s\t%s\t%s\n", fateOf(h), terminal.Field(h.Path), terminal.Field(describeHolding(h))); err != nil {
			return err
		}
	}
	if e.Since > 0 {
		a.say("erased %d rows and %d actions: generation %d and all after it are without them", len(e.Rows), e.Actions, e.Since)
	}
	if n := len(e.Gone) + len(e.Removed); n > 0 {
		a.say("removed %d generations, and %d other files and streams", len(e.Gone), len(e.Removed))
	}
	return nil
}

func fateOf(h compactor.Holding) string {
	if h.Goes {
		return "goes"
	}
	return "stays"
}

func describeHolding(h compactor.Holding) string {
	text := fmt.Sprintf("%d of them in it", h.Runs)
	if h.Runs == 0 {
		text = "not known how many"
	}
	if h.Host != "" {
		text += fmt.Sprintf(", written by process %d on %s", h.PID, h.Host)
	}
	if h.Why != "" {
		text += ": " + h.Why
	}
	return text
}
