package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/quantity"
)

// foldFlags are the settings of a fold, the same for once, run, repair and import.
func foldFlags(cmd *cobra.Command, cfg *compactor.Config) {
	f := cmd.Flags()
	f.Var(positive{(*quantity.Bytes)(&cfg.BatchBytes)}, "batch-bytes", "hold at most so much of records in memory (default 320MiB)")
	f.Var(positive{(*count)(&cfg.KeepGenerations)}, "keep-generations", "keep at least so many generations (default 3); two whole ones always stay")
	f.Var(positive{(*quantity.Duration)(&cfg.KeepAge)}, "keep-age", "keep older ones at least for so long after they were succeeded (default 1h); compactd retention keeps some longer")
	f.Var(positive{(*quantity.Duration)(&cfg.DeadAfter)}, "dead-after",
		"take the writer of an unfinished stream for dead when it has not grown for so long, where locks do not tell (default 24h)")
	f.Var(positive{(*quantity.Duration)(&cfg.ReapGrace)}, "grace", "keep the streams of dead writers for so long before they are deleted (default 10m)")
	f.Var(positive{(*quantity.Share)(&cfg.Scrub)}, "scrub", "with each fold, read such a share of what it would only share with earlier files, and compare it: 1% sees both copies of all of it in 200 folds (default: none)")
	f.Var((*quantity.Duration)(&cfg.Wait), "wait", waitHelp)
}

const waitHelp = "wait so long for another compactor to end, or for the service of the lock to answer (default: not at all)"

// withWait is a command that changes a setting, with the flag --wait.
func (a *app) withWait(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().Var((*quantity.Duration)(&a.wait), "wait", waitHelp)
	return cmd
}

// positive is a setting of compactor.Config where 0 means the default. Nobody who writes 0 means that, so it is refused.
type positive struct {
	value interface {
		Set(text string) error
		String() string
		Type() string
	}
}

func (p positive) String() string { return p.value.String() }

// Type is what the help calls the value.
func (p positive) Type() string { return p.value.Type() }

// Set reads what stands behind the flag.
func (p positive) Set(text string) error {
	if err := p.value.Set(text); err != nil || p.String() != "0" {
		return err
	}
	if p.Type() == "duration" {
		return errors.New("must not be 0: leave it out for the default, or write 1ns for the shortest time")
	}
	return errors.New("must not be 0: leave it out for the default")
}

// count is a number as the value of a flag.
type count int

// Set reads what stands behind the flag.
func (c *count) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", text)
	}
	*c = count(n)
	return nil
}

func (c *count) String() string { return strconv.Itoa(int(*c)) }

// Type is what the help calls the value.
func (*count) Type() string { return "int" }

// withFlags adds to cfg what foldFlags read.
func withFlags(cfg, flags compactor.Config) (compactor.Config, error) {
	if flags.KeepGenerations < 0 {
		return cfg, usageError{fmt.Errorf("the number of generations to keep is %d: it must not be negative", flags.KeepGenerations)}
	}
	cfg.BatchBytes, cfg.KeepGenerations = flags.BatchBytes, flags.KeepGenerations
	limitMemory(flags.BatchBytes)
	cfg.KeepAge, cfg.Wait = flags.KeepAge, flags.Wait
	cfg.DeadAfter, cfg.ReapGrace = flags.DeadAfter, flags.ReapGrace
	cfg.Scrub = flags.Scrub
	return cfg, nil
}

func (a *app) onceCommand() *cobra.Command {
	var flags compactor.Config
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "once --root DIR",
		Short: "Fold everything that the journals hold, now",
		Long: `Fold everything that the journals hold into index.parquet and snapshot_index.json, and
return when both show it.

If another compactor is at work it exits with 3 and names it, or waits with --wait.

With --quiet, for cron, it says only what is damaged and what failed.

Sizes and durations have units: 512KiB, 320MiB, 1.5GB; 30s, 10m, 1h30m, 1d.`,
		Example: `  compactd once --root runs
  compactd once --root runs --wait 30s --json
  compactd once --root runs --quiet`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.quiet = quiet
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if cfg, err = withFlags(cfg, flags); err != nil {
				return err
			}
			end := a.progress.begin("folding", &cfg)
			report, err := compactor.Fold(cmd.Context(), cfg)
			end()
			if err != nil && report.Commits > 0 {
				a.say("done before the error: %s", describe(report))
			}
			if err != nil {
				return err
			}
			return a.printFold(report, asJSON)
		},
	}
	foldFlags(cmd, &flags)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.Flags().BoolVar(&quiet, "quiet", false, "say only what is damaged and what failed")
	return cmd
}

// printFold tells what a fold did. Where that cannot be printed, it is said.
func (a *app) printFold(r compactor.Report, asJSON bool) (err error) {
	if asJSON {
		err = a.printJSON(r)
	}
	if err != nil || !r.Clean() && !asJSON || !a.quiet && !asJSON {
		a.say("%s", describe(r))
	}
	return errors.Join(err, lateOf(r))
}

// describe is a report on one line.
func describe(r compactor.Report) string {
	if r.Records == 0 && r.Commits == 0 && r.Unseen == 0 {
		return fmt.Sprintf("nothing to fold: generation %d, %d rows", r.Generation, r.Rows)
	}
	text := fmt.Sprintf("folded %d records in %v: %d added, %d replaced, %d superseded, %d duplicates",
		r.Records, r.Elapsed.Round(time.Millisecond), r.Added, r.Replaced, r.Superseded, r.Duplicates)
	if r.Repeated > 0 {
		text += fmt.Sprintf(", %d repeated", r.Repeated)
	}
	if r.Withdrawn > 0 {
		text += fmt.Sprintf(", %d withdrawn", r.Withdrawn)
	}
	if r.Returned > 0 {
		text += fmt.Sprintf(", %d brought back", r.Returned)
	}
	if r.StayedOut > 0 {
		text += fmt.Sprintf(", %d of withdrawn rows", r.StayedOut)
	}
	text += fmt.Sprintf("; generation %d, %d rows", r.Generation, r.Rows)
	if r.Rewrites > 0 {
		text += "; all rows written again"
	}
	if r.Cloned > 0 {
		text += "; " + amountsOf(r.Bytes)
	}
	if r.Swept > 0 {
		text += fmt.Sprintf("; %d finished streams moved out", r.Swept)
	}
	if r.Reaped > 0 {
		text += fmt.Sprintf("; %d streams of dead writers moved out", r.Reaped)
	}
	if !r.Clean() {
		text += fmt.Sprintf("; %d damaged places, %d streams not read to their end", r.Damage, r.Skipped)
	}
	if r.DeltaFailed > 0 {
		text += "; the Delta table was not brought up to date"
	}
	if r.Unseen > 0 {
		text += fmt.Sprintf("; %d streams that the storage does not show", r.Unseen)
	}
	return text
}
