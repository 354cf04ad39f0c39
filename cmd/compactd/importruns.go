package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/compactor/intake/mlruns"
	"github.com/runfold/runfold/compactor/intake/optuna"
	"github.com/runfold/runfold/compactor/intake/sacred"
	"github.com/runfold/runfold/compactor/intake/tensorboard"
	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/compactor/intake/wandb"
)

// runFlags are those of imports of a tracker's runs.
type runFlags struct {
	intoFlags
	steps   int
	prefix  string
	zone    string
	deleted bool
}

// reader reads the runs of a tracker.
type reader func(ctx context.Context, path string, o tracker.Options) tracker.Runs

// aboutRuns is what the help of all these commands says.
const aboutRuns = `Each experiment becomes a cohort of its name. A name that no cohort can have is changed, and that
is told; --cohort puts all runs into one. The stage is RUN. Importing the same runs again changes
nothing, and a run that went on since then takes the place of its row. Records that were
appended to the root count as later than imported ones, so a run can be continued by an
append at any time.

What cannot be read is named, the rest is taken, and the exit code is 1. docs/import.md says what
of a run becomes which field.`

// Some readers take flags that others have no use for.
type takes struct{ deleted, zone bool }

func (a *app) importMlrunsCommand() *cobra.Command {
	return a.runsFrom(mlruns.Runs, takes{deleted: true}, &cobra.Command{
		Use:   "mlruns DIR --root DIR",
		Short: "Take the runs of MLflow's file store (mlruns)",
		Long: `Take the runs of the file store of MLflow 2 or 3, in any depth of DIR: params, the last values of
metrics, tags, status and times, and in the snapshot all steps of the metrics, the artifact URI and
the data sets. Deleted runs are counted and not taken, unless --deleted is given.

` + aboutRuns,
		Example: `  compactd import mlruns mlruns --root runs --create
  compactd import mlruns mlruns --root runs --dry-run --json
  compactd import mlruns mlruns --root runs --cohort old --deleted --steps 100`,
	})
}

func (a *app) importWandbCommand() *cobra.Command {
	return a.runsFrom(wandb.Runs, takes{}, &cobra.Command{
		Use:   "wandb DIR --root DIR",
		Short: "Take the runs of folders that wandb wrote (wandb/offline-run-...)",
		Long: `Take the runs of the folders that wandb writes beside a program, in any depth of DIR, whether it was offline
or not: config, summary, tags, group, job type and notes, and in the snapshot the history. A project is
an experiment. The folders of a run that was resumed are one run. A log that ends within an entry,
because its process was killed, is read up to there.

` + aboutRuns,
		Example: `  compactd import wandb wandb --root runs --create
  compactd import wandb wandb --root runs --cohort churn_eu --steps 0`,
	})
}

func (a *app) importSacredCommand() *cobra.Command {
	return a.runsFrom(sacred.Runs, takes{}, &cobra.Command{
		Use:   "sacred DIR --root DIR",
		Short: "Take the runs of Sacred's FileStorageObserver",
		Long: `Take the runs of the folders of Sacred's FileStorageObserver, in any depth of DIR: config, the last values of
metrics, result, status and times, and in the snapshot all of run.json, info.json, the steps of the
metrics and the end of what was printed. The run_id is the experiment and the number of the folder.

` + aboutRuns,
		Example: `  compactd import sacred sacred_runs --root runs --create
  compactd import sacred sacred_runs --root runs --prefix lab2-`,
	})
}

func (a *app) importOptunaCommand() *cobra.Command {
	return a.runsFrom(optuna.Runs, takes{deleted: true, zone: true}, &cobra.Command{
		Use:   "optuna FILE --root DIR",
		Short: "Take the trials of a journal of Optuna",
		Long: `Take the trials of a file of Optuna's JournalStorage: parameters, values, state, times and user attributes, and in the
snapshot the intermediate values and the system attributes. A study is an experiment, and the run_id of a trial is
the study and its number. Trials of deleted studies are counted and not taken, unless --deleted is given.

` + aboutRuns,
		Example: `  compactd import optuna journal.log --root runs --create --assume-zone Europe/Berlin
  compactd import optuna journal.log --root runs --cohort sweeps --dry-run`,
	})
}

func (a *app) importTensorboardCommand() *cobra.Command {
	return a.runsFrom(tensorboard.Runs, takes{}, &cobra.Command{
		Use:   "tensorboard DIR --root DIR",
		Short: "Take the scalars of event files of TensorBoard",
		Long: `Take the scalars of the event files below DIR: each directory that has some is a run, whose run_id is its path. The
last values are the metrics, and all steps stand in the snapshot. Parameters are those of the hparams
plugin. The name of DIR is the experiment. Images, histograms and the like are counted and not taken.

` + aboutRuns,
		Example: `  compactd import tensorboard logs --root runs --create --cohort churn_eu
  compactd import tensorboard logs --root runs --cohort churn_eu --stage TRAINING --steps 10000`,
	})
}

// runsFrom completes a command that imports the runs of a tracker.
func (a *app) runsFrom(read reader, has takes, cmd *cobra.Command) *cobra.Command {
	var o runFlags
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.importRuns(cmd, read, args[0], o) }
	o.add(cmd, "put all runs into this `cohort` (default: one for each experiment)", "the `stage` of the runs (default RUN)")
	f := cmd.Flags()
	f.IntVar(&o.steps, "steps", tracker.DefaultSteps, "how many steps of each metric the snapshot has at most; 0 for none")
	f.StringVar(&o.prefix, "prefix", "", "put this `text` before each run_id")
	if has.zone {
		f.StringVar(&o.zone, "assume-zone", "", "the `zone` of the times, which have none: UTC, an offset such as +02:00, or a name such as Europe/Berlin (default UTC, which is told)")
	}
	if has.deleted {
		f.BoolVar(&o.deleted, "deleted", false, "take the runs, too, that were deleted in the tracker")
	}
	return cmd
}

func (a *app) importRuns(cmd *cobra.Command, read reader, path string, o runFlags) error {
	cfg, err := a.intoRoot(o.intoFlags)
	if err != nil {
		return err
	}
	src := intake.RunSource{BatchBytes: cfg.BatchBytes, Stage: o.stage, Prefix: o.prefix, Deleted: o.deleted, DryRun: o.dry, Options: tracker.Options{Steps: o.steps}}
	if src.Cohort, err = o.cohort(); err != nil {
		return err
	}
	if o.zone != "" {
		if src.Options.Zone, err = cohort.ParseZone(o.zone); err != nil {
			return usageError{fmt.Errorf("--assume-zone: %w", err)}
		}
	}
	switch {
	case strings.Contains(o.stage, ":"):
		return usageError{fmt.Errorf("--stage %q has a ':', which separates run_id and stage in keys", o.stage)}
	case o.steps < 0:
		return usageError{fmt.Errorf("--steps %d is below 0", o.steps)}
	case o.steps == 0:
		src.Options.Steps = -1
	}
	runs, err := startReading(read(cmd.Context(), path, src.Options))
	if err != nil { // before a root is made
		return err
	}
	defer runs.stop()
	src.Runs = runs.all
	release, err := a.createFor(o.intoFlags, &cfg)
	defer release()
	if err != nil {
		return err
	}
	end := a.progress.begin("importing", &cfg, runs)
	report, err := intake.ImportRuns(cmd.Context(), cfg, src)
	end()
	if err != nil {
		return err
	}
	return a.printRunImport(report, o)
}

func (a *app) printRunImport(r intake.RunReport, o runFlags) error {
	if o.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		verb := "took"
		if o.dry {
			verb = "would take"
		}
		a.say("found %d runs in %d experiments: %s %d (%d in the place of an earlier state), %d known already, %d with a later write, %d left out",
			r.Found, len(r.Experiments), verb, r.Taken, r.Replaced, r.Known, r.Newer, r.Left)
		if r.Withdrawn > 0 {
			a.say("%d are of withdrawn runs, and stay among those: bring them back with an undo", r.Withdrawn)
		}
		if r.Erased > 0 {
			a.say("%d are of erased runs, which never get in again", r.Erased)
		}
	}
	if r.Left > 0 {
		return fmt.Errorf("%d runs or parts of runs were left out", r.Left)
	}
	return nil
}

// startedRuns are runs that were read up to the first one, and a count of those that were read.
type startedRuns struct {
	next func() (tracker.Run, error, bool)
	stop func()
	left []error // before the first one
	run  tracker.Run
	any  bool
	read atomic.Int64
}

// startReading reads up to the first run. An error that ends the reading before is returned at once.
func startReading(runs tracker.Runs) (*startedRuns, error) {
	s := &startedRuns{}
	s.next, s.stop = iter.Pull2(runs)
	for {
		run, err, ok := s.next()
		switch {
		case !ok, err == nil:
			s.run, s.any = run, ok
			return s, nil
		case !errors.As(err, new(*tracker.LeftOutError)):
			s.stop()
			return nil, err
		}
		s.left = append(s.left, err)
	}
}

// all yields all that was read, and the rest.
func (s *startedRuns) all(yield func(tracker.Run, error) bool) {
	for _, err := range s.left {
		if !yield(tracker.Run{}, err) {
			return
		}
	}
	run, err, ok := s.run, error(nil), s.any
	for ok {
		s.read.Add(1)
		if !yield(run, err) {
			return
		}
		run, err, ok = s.next()
	}
}

func (s *startedRuns) String() string { return fmt.Sprintf("%d runs read", s.read.Load()) }
