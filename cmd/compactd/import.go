package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	_ "time/tzdata" // Windows and small containers have no names of zones

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// intoFlags are those of import and of all its subcommands.
type intoFlags struct {
	fold              compactor.Config
	cohortID, stage   string
	create, json, dry bool
}

// importFlags are those of imports of rows.
type importFlags struct {
	intoFlags
	indexes         []string
	snapshots       []string
	fields          []string
	timestampColumn string
	zone            string
}

func (o *intoFlags) add(cmd *cobra.Command, cohortHelp, stageHelp string) {
	foldFlags(cmd, &o.fold)
	f := cmd.Flags()
	f.StringVar(&o.cohortID, "cohort", "", cohortHelp)
	f.StringVar(&o.stage, "stage", "", stageHelp)
	f.BoolVar(&o.create, "create", false, "make the root, with the default settings, if it does not exist")
	f.BoolVar(&o.dry, "dry-run", false, "say what would be taken and change nothing")
	f.BoolVar(&o.json, "json", false, "print the report as JSON")
}

// addNames adds the flags that say what the columns of rows are.
func (o *importFlags) addNames(cmd *cobra.Command) {
	o.add(cmd, "the cohort of rows that name none", "the stage of rows that name none (default UNKNOWN)")
	f := cmd.Flags()
	f.StringArrayVar(&o.fields, "map", nil, "`FIELD=COLUMN`: the field of a record that a column holds; may be repeated")
	f.StringVar(&o.timestampColumn, "timestamp-column", "", "the `column` that holds the timestamp: short for --map timestamp=COLUMN")
	f.StringVar(&o.zone, "assume-zone", "", "the `zone` of timestamps that have none: UTC, an offset such as +02:00, or a name such as Europe/Berlin (default UTC, which is told)")
}

func (a *app) importCommand() *cobra.Command {
	var o importFlags
	cmd := &cobra.Command{
		Use:   "import --root DIR [--index FILE]... [--snapshots FILE]...",
		Short: "Take runs of trackers, and rows of old files, into a root",
		Long: `Take the rows of index.parquet files (of any writer) and the entries of
snapshot_index.json files (keys of any form) into a root, as one commit. The subcommands
take the runs of MLflow, wandb, Sacred, Optuna and TensorBoard, and rows of CSV, NDJSON and
Parquet files.

Give all files of one history in one call: --index and --snapshots may be repeated, and rows find their
snapshots in any of them. Given snapshot_seq values are kept, unless two files use one for different runs: then all
are ordered by timestamp. Records that were appended to the root count as later than imported ones.
Importing the same files again changes nothing.

--map tells which column is a field of a record, such as --map run_id=name. What is left out is said once for
each reason, and makes the exit code 1.`,
		Example: `  compactd import --root runs --snapshots old/snapshot_index.json --cohort churn_eu --dry-run
  compactd import --root runs --index old/index.parquet --snapshots old/snapshot_index.json
  compactd import --root runs --create --index january.parquet --index february.parquet \
    --map run_id=name --map cohort_id=team --timestamp-column started_at --assume-zone UTC`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(o.indexes)+len(o.snapshots) == 0 {
				return usageError{errors.New("nothing to import: give --index, --snapshots or both, or a subcommand such as mlruns")}
			}
			return a.importFrom(cmd, o, false, nil)
		},
	}
	o.addNames(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.indexes, "index", nil, "an index.parquet of any writer; may be repeated")
	f.StringArrayVar(&o.snapshots, "snapshots", nil, "a snapshot_index.json with keys of any form; may be repeated")
	cmd.AddCommand(a.importMlrunsCommand(), a.importWandbCommand(), a.importSacredCommand(), a.importOptunaCommand(), a.importTensorboardCommand(),
		a.importCSVCommand(), a.importNDJSONCommand(), a.importParquetCommand())
	return cmd
}

// importFrom imports the files of o, and those that more adds. With rename, any text is a cohort.
func (a *app) importFrom(cmd *cobra.Command, o importFlags, rename bool, more func(*intake.Source) error) error {
	cfg, err := a.intoRoot(o.intoFlags)
	if err != nil {
		return err
	}
	src, err := o.source()
	if err != nil {
		return err
	}
	src.Rename = rename
	if more != nil {
		if err := more(&src); err != nil {
			return err
		}
	}
	closeFiles, err := openFiles(&src, o)
	if err != nil {
		return err
	}
	defer closeFiles()
	release, err := a.createFor(o.intoFlags, &cfg)
	defer release()
	if err != nil {
		return err
	}
	end := a.progress.begin("importing", &cfg)
	report, err := intake.Import(cmd.Context(), cfg, src)
	end()
	if err != nil {
		return err
	}
	return a.printImport(report, o.dry, o.json)
}

// intoRoot is how the root of an import is opened.
func (a *app) intoRoot(o intoFlags) (compactor.Config, error) {
	cfg, err := a.config()
	if err != nil {
		return cfg, err
	}
	return withFlags(cfg, o.fold)
}

// createFor makes the root of an import if that is wanted. Before, all that can be wrong with the call was looked at. A dry run makes a root that is no
// longer there when release has been called, and cfg means that one.
func (a *app) createFor(o intoFlags, cfg *compactor.Config) (release func(), err error) {
	release = func() {}
	if !o.create {
		return release, nil
	}
	root, id, err := a.wantedRoot()
	if err != nil {
		return release, err
	}
	if o.dry {
		return a.assume(root, cfg)
	}
	r, created, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{ID: id})
	if err == nil && created {
		a.say("%s is a new root: id %s", root, r.Settings.RootID)
	}
	return release, err
}

// assume makes cfg mean an empty root elsewhere, if there is none and one could be made.
func (a *app) assume(root cohort.Root, cfg *compactor.Config) (release func(), err error) {
	var missing *journal.NoRootError
	if _, err := cfg.Store(); !errors.As(err, &missing) || !missing.Vacant {
		return func() {}, nil // the next one that opens it says what is wrong
	}
	dir, err := os.MkdirTemp("", "compactd-dry-run-")
	if err != nil {
		return func() {}, err
	}
	release = func() { durable.RemoveAll(durable.OS, dir) } // what is left is an empty root among temporary files
	r, _, err := journal.InitRoot(cohort.Root(dir), cohort.Settings{}, journal.RootOptions{})
	if err == nil {
		cfg.Root, cfg.RootID = r.Dir, ""
		a.say("%s does not exist yet: this is said of an empty root with the default settings", root)
	}
	return release, err
}

// source is what the flags say of the files, which are not open yet.
func (o importFlags) source() (src intake.Source, err error) {
	src = intake.Source{Stage: o.stage, DryRun: o.dry}
	if src.Cohort, err = o.cohort(); err != nil {
		return src, err
	}
	if o.zone != "" {
		if src.Zone, err = cohort.ParseZone(o.zone); err != nil {
			return src, usageError{fmt.Errorf("--assume-zone: %w", err)}
		}
	}
	src.Fields, err = o.mapped()
	return src, err
}

// cohort is what --cohort says; empty if it was not given.
func (o intoFlags) cohort() (cohort.ID, error) {
	if o.cohortID == "" {
		return "", nil
	}
	id, err := cohort.ParseID(o.cohortID)
	if err != nil {
		return "", usageError{fmt.Errorf("--cohort: %w", err)}
	}
	return id, nil
}

// mapped are the columns that --map and --timestamp-column name, by field.
func (o importFlags) mapped() (map[string]string, error) {
	fields := map[string]string{}
	pairs := o.fields
	if o.timestampColumn != "" {
		pairs = append(pairs, "timestamp="+o.timestampColumn)
	}
	columns := map[string]string{}
	for _, pair := range pairs {
		field, column, ok := strings.Cut(pair, "=")
		switch {
		case !ok || field == "" || column == "":
			return nil, usageError{fmt.Errorf("--map %q is not FIELD=COLUMN, such as run_id=name", pair)}
		case fields[field] != "" && fields[field] != column:
			return nil, usageError{fmt.Errorf("%s is mapped twice: to %q and to %q", field, fields[field], column)}
		case columns[column] != "" && columns[column] != field:
			return nil, usageError{fmt.Errorf("column %q is mapped twice: to %s and to %s", column, columns[column], field)}
		}
		fields[field], columns[column] = column, field
	}
	return fields, nil
}

// openFiles opens the files that are named.
func openFiles(src *intake.Source, o importFlags) (closeFiles func(), err error) {
	var files []*os.File
	closeFiles = func() {
		for _, f := range files {
			f.Close()
		}
	}
	for _, name := range o.indexes {
		f, err := os.Open(name)
		if err != nil {
			closeFiles()
			return nil, err
		}
		files = append(files, f)
		info, err := f.Stat()
		if err != nil {
			closeFiles()
			return nil, err
		}
		src.Indexes = append(src.Indexes, intake.IndexFile{Name: name, Data: f, Size: info.Size()})
	}
	for _, name := range o.snapshots {
		f, err := os.Open(name)
		if err != nil {
			closeFiles()
			return nil, err
		}
		files = append(files, f)
		src.Snapshots = append(src.Snapshots, intake.SnapshotsFile{Name: name, Data: f})
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
		if r.Withdrawn > 0 {
			a.say("%d are of withdrawn runs, and stay among those: bring them back with an undo", r.Withdrawn)
		}
		if r.Joined > 0 {
			a.say("%d snapshots are those of rows", r.Joined)
		}
		if r.Covered > 0 {
			a.say("%d snapshots without a number would have taken the place of rows with some: left to the rows", r.Covered)
		}
		if r.Erased > 0 {
			a.say("%d are of erased runs, which never get in again", r.Erased)
		}
		if r.Renumbered > 0 {
			a.say("%d got a new snapshot_seq: theirs was taken", r.Renumbered)
		}
	}
	if r.Left > 0 {
		return fmt.Errorf("%d rows or snapshots were left out", r.Left)
	}
	return nil
}
