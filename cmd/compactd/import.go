package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake"
)

func (a *app) importCommand() *cobra.Command {
	var flags compactor.Config
	var indexFile, snapshotsFile, id string
	var src intake.Source
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import --root DIR [--index FILE] [--snapshots FILE]",
		Short: "Take the rows of old files into a root",
		Long: `Take the rows of an old index.parquet (of any writer) and the entries of an old
snapshot_index.json (keys of any form) into a root, as one commit.

Given snapshot_seq values are kept. Records that were appended to the root count as later than
imported ones. Importing the same files again changes nothing. What is left out is said, with
the reason, and makes the exit code 1.`,
		Example: `  compactd import --root runs --snapshots old/snapshot_index.json --cohort churn_eu --dry-run
  compactd import --root runs --index old/index.parquet --snapshots old/snapshot_index.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if cfg, err = withFlags(cfg, flags); err != nil {
				return err
			}
			if indexFile == "" && snapshotsFile == "" {
				return usageError{errors.New("nothing to import: give --index, --snapshots or both")}
			}
			if id != "" {
				if src.Cohort, err = cohort.ParseID(id); err != nil {
					return usageError{fmt.Errorf("--cohort: %w", err)}
				}
			}
			closeFiles, err := openSource(&src, indexFile, snapshotsFile)
			if err != nil {
				return err
			}
			defer closeFiles()
			end := a.progress.begin("importing")
			report, err := intake.Import(cmd.Context(), cfg, src)
			end()
			if err != nil {
				return err
			}
			return a.printImport(report, src.DryRun, asJSON)
		},
	}
	foldFlags(cmd, &flags)
	f := cmd.Flags()
	f.StringVar(&indexFile, "index", "", "an index.parquet of any writer")
	f.StringVar(&snapshotsFile, "snapshots", "", "a snapshot_index.json with keys of any form")
	f.StringVar(&id, "cohort", "", "the cohort of rows that name none")
	f.StringVar(&src.Stage, "stage", "", "the stage of rows that name none (default UNKNOWN)")
	f.BoolVar(&src.DryRun, "dry-run", false, "say what would be taken and change nothing")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// openSource opens the files that are named.
func openSource(src *intake.Source, indexFile, snapshotsFile string) (closeFiles func(), err error) {
	var files []*os.File
	closeFiles = func() {
		for _, f := range files {
			f.Close()
		}
	}
	if indexFile != "" {
		f, err := os.Open(indexFile)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		info, err := f.Stat()
		if err != nil {
			closeFiles()
			return nil, err
		}
		src.Index, src.IndexSize = f, info.Size()
	}
	if snapshotsFile != "" {
		f, err := os.Open(snapshotsFile)
		if err != nil {
			closeFiles()
			return nil, err
		}
		files = append(files, f)
		src.Snapshots = f
	}
	return closeFiles, nil
}

func (a *app) printImport(r intake.Report, dryRun, asJSON bool) error {
	if asJSON {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		verb := "took"
		if dryRun {
			verb = "would take"
		}
		a.say("read %d rows and %d snapshots: %s %d, %d known already, %d with a later write, %d left out",
			r.Rows, r.Snapshots, verb, r.Taken, r.Known, r.Newer, r.Left)
		if r.Renumbered > 0 {
			a.say("%d got a new snapshot_seq: theirs was taken", r.Renumbered)
		}
	}
	if r.Left > 0 {
		return fmt.Errorf("%d rows or snapshots were left out", r.Left)
	}
	return nil
}
