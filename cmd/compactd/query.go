package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
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

With --unfolded the table "runs" is what a fold would make of the root now. A row that no fold has read has the JSON of its record as snapshot, and no
_writer; a value without a column stands in _extra. Truth is 0 and 1 there, as SQLite has it.

On a terminal the result is a table, else CSV, in which NULL is empty and an empty text is "". --json prints an object for each row; the columns snapshot and _extra are
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
			out := newSpool(a.stdout)
			err = a.query(cmd.Context(), cfg, args[0], unfolded, func(r result) error { return write(out, r) })
			if taken := out.end(cmd.Context()); err == nil {
				err = taken
			}
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
	file, fresh, left, err := a.copied(ctx, cfg, store, unfolded)
	if err != nil {
		return store.Doubt(err, 0)
	}
	for _, l := range left {
		a.say("the table runs has no column %q, and its values stand in _extra: %s", l.Column, l.Why)
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
		if err := r.Over(ctx, store.Settings.RootID, fresh.Newest.Schema, fresh.Rows, fresh.Gone); err != nil {
			return err
		}
	}
	rows, err := r.Query(ctx, stmt)
	if err != nil {
		return err
	}
	defer rows.Close()
	return sqlite.Cause(ctx, write(result{rows}))
}

// copied is the file with the copy of the newest generation, and the columns that it does not have. With unfolded, fresh is what is new to that generation, and no other.
func (a *app) copied(ctx context.Context, cfg compactor.Config, store *generation.Store, unfolded bool) (file string, fresh compactor.Unfolded, left []view.LeftOut, err error) {
	for try := 0; ; try++ {
		file, holds, err := a.cached(ctx, cfg, store)
		if err != nil || !unfolded {
			return file, fresh, holds.LeftOut, err
		}
		if fresh, err = compactor.ReadUnfolded(ctx, cfg); err != nil || fresh.Newest.Generation == holds.Generation && fresh.Newest.Token == holds.Token {
			return file, fresh, holds.LeftOut, err
		}
		if try == maxFolded {
			return "", fresh, nil, fmt.Errorf("others fold all the time: %w", generation.ErrConflict)
		}
	}
}

// maxFolded bounds how often a query begins again because somebody has folded between its two looks.
const maxFolded = 10

// cacheFile is the file with the copy of a root. A copy of the root in another place has the same id and may have other generations, so the
// path counts, too.
func cacheFile(store *generation.Store) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", cacheError{err}
	}
	dir = filepath.Join(dir, "runfold", "query")
	if err := os.MkdirAll(dir, 0o700); err != nil { // runs are the user's alone
		return "", cacheError{err}
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

// cached brings the copy of a root up to date, and tells what it holds then. It is ours alone: one that is not of the history of the root is written
// anew, within one change, because others may be reading it; one that is damaged is made anew.
func (a *app) cached(ctx context.Context, cfg compactor.Config, store *generation.Store) (file string, holds view.State, err error) {
	defer a.progress.begin("copying what is new", &cfg)()
	if file, err = cacheFile(store); err != nil {
		return "", holds, err
	}
	sync := func() error {
		v, err := sqlite.Open(file, sqlite.Options{Wait: cacheWait})
		if err != nil {
			return err
		}
		if _, err = view.Sync(ctx, store, v, view.Options{Replace: true}); err == nil {
			holds, err = v.State(ctx, store.Settings.RootID)
		}
		return errors.Join(err, v.Close())
	}
	was, _ := os.Stat(file)
	err = sync()
	if errors.Is(err, cohort.ErrNewer) && !isNewerRoot(store) || sqlite.IsDamaged(err) || errors.Is(err, view.ErrForeign) {
		// Another query may do the same, and have made the next one already.
		if now, serr := os.Stat(file); serr == nil && was != nil && os.SameFile(was, now) {
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", holds, cacheError{err}
			}
		}
		err = sync()
	}
	if sqlite.IsOfFile(err) {
		err = cacheError{err}
	}
	return file, holds, err
}

// cacheError is why the copy of a root cannot be made or brought up to date.
type cacheError struct{ error }

func (e cacheError) Error() string { return "the cache of this user: " + e.error.Error() }

func (e cacheError) Unwrap() error { return e.error }

// isNewerRoot tells whether a later version has written the root, and not only the copy.
func isNewerRoot(store *generation.Store) bool {
	_, err := store.Newest()
	return errors.Is(err, cohort.ErrNewer)
}
