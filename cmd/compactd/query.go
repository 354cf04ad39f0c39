package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlite"
)

func (a *app) queryCommand() *cobra.Command {
	var unfolded, asJSON, asCSV, asMarkdown bool
	cmd := &cobra.Command{
		Use:   "query SQL --root DIR",
		Short: "Ask the newest generation a question in SQL",
		Long: `Run a SELECT of SQLite over the newest generation. There are three tables: "runs" has the columns of the index and the snapshot; "generations"
has what "compactd history" lists; "columns" has the columns that come of the records. Names with a dot stand in double quotes:
"metrics.auc".

The first query copies the index into a file in the cache of the user ($XDG_CACHE_HOME/runfold, or ~/.cache/runfold), and each later one brings
that up to date first, which costs what is new. The file can be deleted at any time. The root is only read. A statement that
would change something is refused.

With --unfolded the table "runs" is what a fold would make of the root now. A row that no fold has read has the JSON of its record as snapshot.
Truth is 0 and 1 there, as SQLite has it.

On a terminal the result is a table, else CSV, in which NULL is empty. --json prints an object for each row; the columns snapshot and _extra are
objects in it. Ctrl-C ends it.`,
		Example: `  compactd query --root runs 'SELECT run_id, "metrics.auc" FROM runs ORDER BY 2 DESC LIMIT 10'
  compactd query --root runs 'SELECT cohort_id, count(*), max(timestamp) FROM runs GROUP BY 1'
  compactd query --root runs "SELECT run_id, snapshot ->> '$.best_epoch' AS epoch FROM runs" --json | jq .epoch
  compactd query --root runs 'SELECT generation, verb, rows FROM generations' --markdown`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, err := a.resultWriter(asJSON, asCSV, asMarkdown)
			if err != nil {
				return err
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			err = a.query(cmd.Context(), cfg, args[0], unfolded, write)
			if err != nil && cmd.Context().Err() != nil {
				return errStoppedQuery
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&unfolded, "unfolded", false, "also what was appended and is not folded yet")
	f.BoolVar(&asJSON, "json", false, "print a line of JSON for each row")
	f.BoolVar(&asCSV, "csv", false, "print CSV, also on a terminal")
	f.BoolVar(&asMarkdown, "markdown", false, "print a table of Markdown")
	return cmd
}

// errStoppedQuery ends a query that was told to stop.
var errStoppedQuery = errors.New("the query was stopped")

func (a *app) query(ctx context.Context, cfg compactor.Config, stmt string, unfolded bool, write func(result) error) (err error) {
	store, err := cfg.Store()
	if err != nil {
		return err
	}
	file, err := a.cached(ctx, cfg)
	if err != nil {
		return store.Doubt(err, 0)
	}
	r, err := sqlite.OpenReader(ctx, file, sqlite.Options{Wait: cacheWait})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := addTables(ctx, store, r); err != nil {
		return store.Doubt(err, 0)
	}
	if unfolded {
		if err := addUnfolded(ctx, cfg, r); err != nil {
			return store.Doubt(err, 0)
		}
	}
	rows, err := r.Query(ctx, stmt)
	if err != nil {
		return err
	}
	defer rows.Close()
	return write(result{rows})
}

// cacheFile is the file with the copy of a root. A copy of the root in another place has the same id and may have other generations, so the
// path counts, too.
func cacheFile(store *generation.Store) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("the cache of this user: %w", err)
	}
	dir = filepath.Join(dir, "runfold", "query")
	if err := os.MkdirAll(dir, 0o700); err != nil { // runs are the user's alone
		return "", err
	}
	path, err := filepath.Abs(string(store.Root))
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(dir, store.Settings.RootID+"-"+hex.EncodeToString(sum[:4])+".db"), nil
}

// cacheWait is how long a query waits for another one that makes the copy.
const cacheWait = 10 * time.Minute

// cached brings the copy of a root up to date. One that is damaged, or not of the history of the root, is made anew: it is ours alone.
func (a *app) cached(ctx context.Context, cfg compactor.Config) (file string, err error) {
	defer a.progress.begin("copying what is new", &cfg)()
	store, err := cfg.Store()
	if err != nil {
		return "", err
	}
	if file, err = cacheFile(store); err != nil {
		return "", err
	}
	sync := func() error {
		v, err := sqlite.Open(file, sqlite.Options{Wait: cacheWait})
		if err != nil {
			return err
		}
		_, err = view.Sync(ctx, store, v, view.Options{})
		return errors.Join(err, v.Close())
	}
	err = sync()
	if errors.Is(err, view.ErrAhead) || errors.Is(err, cohort.ErrNewer) && !isNewerRoot(store) || sqlite.IsDamaged(err) {
		if err := os.Remove(file); err != nil {
			return "", err
		}
		err = sync()
	}
	return file, err
}

// isNewerRoot tells whether a later version has written the root, and not only the copy.
func isNewerRoot(store *generation.Store) bool {
	_, err := store.Newest()
	return errors.Is(err, cohort.ErrNewer)
}

// addUnfolded puts what no fold has read yet over the rows.
func addUnfolded(ctx context.Context, cfg compactor.Config, r *sqlite.Reader) error {
	columns, err := r.Columns(ctx)
	if err != nil {
		return err
	}
	store, err := cfg.Store()
	if err != nil {
		return err
	}
	stays := map[string]bool{} // the keys of rows that no record changes
	var fresh []compactor.Run
	for run, err := range compactor.Runs(ctx, cfg, true) {
		switch {
		case err != nil:
			return err
		case run.Record == nil:
			stays[string(run.Key)] = true
		default:
			fresh = append(fresh, run)
		}
	}
	goes, err := r.Missing(ctx, stays)
	if err != nil {
		return err
	}
	return r.Over(ctx, func(yield func([]any, error) bool) {
		for _, run := range fresh {
			row, err := unfoldedRow(columns, store.Settings.RootID, run)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}, slices.Values(goes))
}

// unfoldedRow is a row as a fold would make it, as far as the table has columns for it.
func unfoldedRow(columns []sqlite.Column, rootID string, run compactor.Run) ([]any, error) {
	rec, err := cohort.ParseRecord(run.Record, 0)
	if err != nil {
		return nil, err
	}
	fields := index.FlatFields(rec.Members)
	if snapshot, ok := fields["snapshot"]; ok && snapshot[0] == '{' {
		delete(fields, "snapshot")
	}
	sum := sha256.Sum256([]byte(run.Key))
	known := map[string]any{"root_id": rootID, "run_id": run.RunID, "phase": run.Stage, "cohort_id": string(run.Cohort), "snapshot_seq": int64(run.Seq),
		"snapshot": string(run.Record), "_key": string(run.Key), "_key_digest": sum[:16], "_record_id": rec.ID, "_digest": nil, "_stream": nil,
		"_writer": nil, "_extra": nil, "timestamp": nil}
	if !run.Timestamp.IsZero() {
		known["timestamp"] = cohort.FormatTime(run.Timestamp)
	}
	row := make([]any, len(columns))
	extra := -1
	for i, c := range columns {
		v, fixed := known[c.Name]
		switch {
		case c.Name == "_extra":
			extra = i
		case fixed:
			row[i] = v
		default:
			if token, has := fields[c.Name]; has {
				if value, ok := c.Holds(token); ok {
					row[i] = value
					delete(fields, c.Name)
				}
			}
		}
	}
	if extra >= 0 && len(fields) > 0 {
		text, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		row[extra] = string(text)
	}
	return row, nil
}
