package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/intake"
)

// rowFlags are those of imports of rows from files that are named as arguments.
type rowFlags struct {
	importFlags
	delimiter string
}

// aboutRows is what the help of all these commands says.
const aboutRows = `Each row needs a run_id and a cohort; --map FIELD=COLUMN says which column is a field of a record, such as
--map run_id=name or --map metrics.auc=AUC. --cohort and --stage are for rows that name none. Columns named
metrics.NAME, params.NAME and tags.NAME are metrics, params and tags.

Give all files of one history in one call. Importing the same files again changes nothing, and a row that
changed takes the place of the one before. Records that were appended to the root count as later
than imported ones. What cannot be a record is named, the rest is taken, and the exit code is 1.`

func (a *app) importCSVCommand() *cobra.Command {
	var o rowFlags
	cmd := &cobra.Command{
		Use:   "csv FILE... --root DIR",
		Short: "Take the rows of CSV files",
		Long: `Take the rows of CSV files in UTF-8, whose first line names the columns. A cell that is a number as JSON spells
it is that number, byte for byte; an empty cell is absent; all else is text. "-" is standard input.

` + aboutRows,
		Example: `  compactd import csv results.csv --root runs --create --cohort churn_eu --map run_id=name --map metrics.auc=AUC
  compactd import csv results.csv --root runs --cohort churn_eu --map run_id=name --dry-run
  compactd import csv excel.csv --root runs --delimiter ';' --map run_id=name --map cohort_id=team --assume-zone Europe/Berlin`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			comma, size := utf8.DecodeRuneInString(o.delimiter)
			if o.delimiter == `\t` || o.delimiter == "tab" {
				comma, size = '\t', len(o.delimiter)
			}
			if size != len(o.delimiter) || size == 0 || comma == utf8.RuneError || comma == '"' || comma == '\r' || comma == '\n' {
				return usageError{fmt.Errorf("--delimiter %q is not one character", o.delimiter)}
			}
			return a.importRows(cmd, o.importFlags, args, func(src *intake.Source, name string, data io.Reader) {
				src.Tables = append(src.Tables, intake.TableFile{Name: name, Data: data, Delimiter: comma})
			})
		},
	}
	o.addNames(cmd)
	cmd.Flags().StringVar(&o.delimiter, "delimiter", ",", "the `character` between cells; tab is one, too")
	return cmd
}

func (a *app) importNDJSONCommand() *cobra.Command {
	var o importFlags
	cmd := &cobra.Command{
		Use:   "ndjson FILE... --root DIR",
		Short: "Take the records of files with one JSON object on each line",
		Long: `Take the records of files with one JSON object on each line, as older records: to append them as new
ones, use journal-append. "-" is standard input. NaN and infinities become null, and are counted.

` + aboutRows,
		Example: `  compactd import ndjson old.ndjson --root runs --create --cohort churn_eu
  compactd import ndjson old.ndjson --root runs --cohort churn_eu --stage TRAINING --map run_id=id`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importRows(cmd, o, args, func(src *intake.Source, name string, data io.Reader) {
				src.Lines = append(src.Lines, intake.LinesFile{Name: name, Data: data})
			})
		},
	}
	o.addNames(cmd)
	return cmd
}

func (a *app) importParquetCommand() *cobra.Command {
	var o importFlags
	cmd := &cobra.Command{
		Use:   "parquet FILE... --root DIR",
		Short: "Take the rows of Parquet files of any writer",
		Long: `Take the rows of Parquet files of any writer. It is import --index, without the snapshots of other files. A
cohort whose name no cohort can have is changed, which is told.

` + aboutRows,
		Example: `  compactd import parquet results.parquet --root runs --create --cohort churn_eu --map run_id=name
  compactd import parquet january.parquet february.parquet --root runs --map run_id=name --map cohort_id=team --timestamp-column started_at`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.indexes = args
			return a.importFrom(cmd, o, true, nil)
		},
	}
	o.addNames(cmd)
	return cmd
}

// importRows imports files that are read from their beginning to their end.
func (a *app) importRows(cmd *cobra.Command, o importFlags, names []string, add func(src *intake.Source, name string, data io.Reader)) error {
	var open []*os.File
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	return a.importFrom(cmd, o, true, func(src *intake.Source) error {
		stdin := false
		for _, name := range names {
			if name == "-" {
				if stdin {
					return usageError{errors.New("standard input, which is -, is named twice")}
				}
				stdin = true
				add(src, "standard input", a.stdin)
				continue
			}
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			open = append(open, f)
			if info, err := f.Stat(); err == nil && info.IsDir() {
				return fmt.Errorf("%s is a directory: name the files in it", name)
			}
			add(src, name, f)
		}
		return nil
	})
}
