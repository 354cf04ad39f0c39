package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor"
)

// foldFlags are the settings of a fold, the same for once, run and import.
func foldFlags(cmd *cobra.Command, cfg *compactor.Config) {
	f := cmd.Flags()
	f.Int64Var(&cfg.BatchBytes, "batch-bytes", 0, "hold at most so many bytes of records in memory (default 320 MiB)")
	f.IntVar(&cfg.KeepGenerations, "keep-generations", 0, "keep at least so many generations (default 3)")
	f.DurationVar(&cfg.KeepAge, "keep-age", 0, "keep older ones for so long after they were succeeded (default 1h)")
	f.DurationVar(&cfg.DeadAfter, "dead-after", 0,
		"take the writer of an unfinished stream for dead when it has not grown for so long, where locks do not tell (default 24h)")
	f.DurationVar(&cfg.ReapGrace, "grace", 0, "keep the streams of dead writers for so long before they are deleted (default 10m)")
	f.DurationVar(&cfg.Wait, "wait", 0, "wait so long for another compactor to end (default: not at all)")
}

// withFlags adds to cfg what foldFlags read.
func withFlags(cfg, flags compactor.Config) (compactor.Config, error) {
	if flags.BatchBytes < 0 || flags.KeepGenerations < 0 || flags.KeepAge < 0 || flags.Wait < 0 ||
		flags.DeadAfter < 0 || flags.ReapGrace < 0 {
		return cfg, usageError{fmt.Errorf("a negative number makes no sense here")}
	}
	cfg.BatchBytes, cfg.KeepGenerations = flags.BatchBytes, flags.KeepGenerations
	limitMemory(flags.BatchBytes)
	cfg.KeepAge, cfg.Wait = flags.KeepAge, flags.Wait
	cfg.DeadAfter, cfg.ReapGrace = flags.DeadAfter, flags.ReapGrace
	return cfg, nil
}

func (a *app) onceCommand() *cobra.Command {
	var flags compactor.Config
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "once --root DIR",
		Short: "Fold everything that the journals hold, now",
		Long: `Fold everything that the journals hold into index.parquet and snapshot_index.json, and
return when both show it.

If another compactor is at work it exits with 3 and names it, or waits with --wait.`,
		Example: `  compactd once --root runs
  compactd once --root runs --wait 30s --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if cfg, err = withFlags(cfg, flags); err != nil {
				return err
			}
			end := a.progress.begin("folding")
			report, err := compactor.Fold(cmd.Context(), cfg)
			end()
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(report)
			} else {
				a.say("%s", describe(report))
			}
			if err == nil && !report.Clean() {
				err = errDamage
			}
			return err
		},
	}
	foldFlags(cmd, &flags)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// describe is a report on one line.
func describe(r compactor.Report) string {
	if r.Records == 0 && r.Commits == 0 {
		return fmt.Sprintf("nothing to fold: generation %d, %d rows", r.Generation, r.Rows)
	}
	text := fmt.Sprintf("folded %d records in %v: %d added, %d replaced, %d superseded, %d duplicates",
		r.Records, r.Elapsed.Round(time.Millisecond), r.Added, r.Replaced, r.Superseded, r.Duplicates)
	if r.Repeated > 0 {
		text += fmt.Sprintf(", %d repeated", r.Repeated)
	}
	text += fmt.Sprintf("; generation %d, %d rows", r.Generation, r.Rows)
	if r.Rewrites > 0 {
		text += "; all rows written again for new columns"
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
	return text
}
