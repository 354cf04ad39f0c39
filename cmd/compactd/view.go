package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/postgres"
	"github.com/runfold/runfold/compactor/view/sqlite"
)

// viewURLs is what help says of the URL of a view.
const viewURLs = `The URL says where the view is: sqlite:FILE is a SQLite file, with a table "runs"; sqlite:FILE?table=NAME names the table.
postgres://USER@HOST:PORT/DATABASE?schema=NAME&table=NAME is a table of a PostgreSQL database, "runs" if no other is named. Its password stands in the environment
variable PGPASSWORD, or in the file that PGPASSFILE names (~/.pgpass). It never stands in the URL, where others see it.`

// giveView are the URLs that there are.
const giveView = "give sqlite:FILE, or postgres://USER@HOST/DATABASE"

// openView opens the view of a URL. Nothing is asked of it yet.
func openView(url string) (view.View, error) {
	kind, rest, ok := strings.Cut(url, ":")
	if !ok || rest == "" {
		if strings.ContainsAny(url, "=@") { // as in "host=db password=..."
			return nil, usageError{errors.New("that is no URL of a view: " + giveView)}
		}
		return nil, usageError{fmt.Errorf("%q is no view: %s", url, giveView)}
	}
	switch kind {
	case "sqlite":
		file, options, has := strings.Cut(rest, "?")
		if path := strings.TrimLeft(file, "/"); strings.HasPrefix(file, "//") && filepath.VolumeName(file) == "" {
			return nil, usageError{fmt.Errorf("%q: a path stands behind sqlite:, and no URL: give sqlite:%s, or sqlite:/%s", kind+":"+file, path, path)}
		}
		var o sqlite.Options
		if has {
			if o.Table, has = strings.CutPrefix(options, "table="); !has || o.Table == "" {
				return nil, usageError{fmt.Errorf("%q: only ?table=NAME may follow the file", kind+":"+file)}
			}
		}
		v, err := sqlite.Open(file, o)
		if err != nil {
			return nil, usageError{err}
		}
		return v, nil
	case "postgres", "postgresql":
		v, err := postgres.Open(url, postgres.Options{})
		if err != nil {
			return nil, usageError{err}
		}
		return v, nil
	}
	return nil, usageError{fmt.Errorf("there is no view of the kind %q: %s", kind, giveView)} // without the URL: it may have a password in it
}

func (a *app) viewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "view",
		Short: "Copy the index into a database, and compare the copy",
		Long: `Copy the newest generation into another form, in which other programs read it. A view is a copy that can be dropped and made again at any time; it
takes no part in a fold. "compactd run --view URL" keeps one up to date.

` + viewURLs,
		Example: `  compactd view sync sqlite:runs.db --root runs
  compactd view check sqlite:runs.db --root runs
  compactd view drop sqlite:runs.db --root runs`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), usageError{errors.New("a subcommand is missing: sync, check or drop")})
		},
	}
	cmd.AddCommand(a.syncViewCommand(), a.checkViewCommand(), a.dropViewCommand())
	return cmd
}

// withView opens a root and a view of it.
func (a *app) withView(url string, do func(*generation.Store, view.View) error) (err error) {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	v, err := openView(url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	defer a.progress.begin("reading the root", &cfg)()
	store, err := cfg.Store()
	if err != nil {
		return err
	}
	return doubt(store, do(store, v))
}

// doubt is store.Doubt for an error that is not one of a view: where that is away, the root is not.
func doubt(store *generation.Store, err error) error {
	if errors.Is(err, view.ErrAway) {
		return err
	}
	return store.Doubt(err, 0)
}

func (a *app) syncViewCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sync URL --root DIR",
		Short: "Make a view the newest generation",
		Long: `Make a view the newest generation, and say what was written. It takes no lock; any number of them may run, on any machines, while others
fold. One that is killed leaves the view a whole generation: the one before, or the new one.

Where the view holds an earlier generation, only what is new is read and written. After a repair, an import or an erasure, and where the generations
between are no longer kept, all rows are compared. All rows are written again where a column has another type than before.

A view of a later generation than the root has is refused: the root was restored from a backup.

` + viewURLs,
		Example: `  compactd view sync sqlite:runs.db --root runs
  compactd view sync sqlite:runs.db --root runs --json | jq .written
  PGPASSFILE=secret compactd view sync "postgres://runfold@db.example/lab?schema=runs" --root runs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withView(args[0], func(store *generation.Store, v view.View) error {
				report, err := view.Sync(cmd.Context(), store, v, view.Options{})
				if err != nil {
					return err
				}
				for _, text := range report.Told() {
					a.say("%s", text)
				}
				if asJSON {
					return a.printJSON(report)
				}
				a.say("%v", report)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) checkViewCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check URL --root DIR",
		Short: "Compare all rows of a view with the generation that it states",
		Long: `Compare all rows of a view with the generation that it states: their number, and a checksum of all that they say. It reads only. It exits
with 4 if they differ: somebody else has changed the view. Drop it then, and sync it again. It exits with 75 if that generation is no longer kept: sync the view, and
check it again.

` + viewURLs,
		Example: `  compactd view check sqlite:runs.db --root runs
  compactd view check sqlite:runs.db --root runs --json | jq .same`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withView(args[0], func(store *generation.Store, v view.View) error {
				c, err := view.Check(cmd.Context(), store, v)
				if err != nil {
					return againIfGone(err)
				}
				if asJSON {
					err = a.printJSON(c)
				} else if c.Same {
					a.say("%s: its %d rows are those of generation %d; the newest one is %d", c.View, c.Rows, c.Generation, c.Newest)
				}
				if !c.Same {
					a.say("%s: it states generation %d, and differs from it: it has %d rows, and the generation %d", c.View, c.Generation, c.Rows, c.Expected)
					err = errors.Join(err, errViewDiffers)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) dropViewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drop URL --root DIR",
		Short: "Remove all that a view holds of a root",
		Long: `Remove all that a view holds of a root: its rows, and its state. The tables go if no other root has rows in them. The root stays as it
is, and a sync makes the view again. A SQLite file stays, empty.

` + viewURLs,
		Example: `  compactd view drop sqlite:runs.db --root runs`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withView(args[0], func(store *generation.Store, v view.View) error {
				if err := v.Drop(cmd.Context(), store.Settings.RootID); err != nil {
					return err
				}
				a.say("%s holds nothing of root %s", v.Name(), store.Settings.RootID)
				return nil
			})
		},
	}
	return cmd
}

// errViewDiffers ends a check that found a difference. The root is not damaged.
var errViewDiffers = errors.New("the view is not the generation that it states")

// errViewGone says that a view cannot be compared now. It is exit code 75.
var errViewGone = errors.New("the generation that the view states is no longer kept")

func againIfGone(err error) error {
	var gone *generation.NotKeptError
	if errors.As(err, &gone) {
		return fmt.Errorf("%w: %w", errViewGone, err)
	}
	return err
}

// viewHint is the way out of an error of a view; empty if the error is another one.
func viewHint(err error) string {
	switch {
	case errors.As(err, new(cacheError)) && !errors.Is(err, view.ErrBusy):
		return "the copy of the root may stand anywhere: XDG_CACHE_HOME names another directory, which this user can write in and which has room; nothing was changed"
	case errors.Is(err, view.ErrAhead):
		return `if this root is the right one, "compactd view drop URL" and "compactd view sync URL" make the view again; nothing was changed`
	case errors.Is(err, view.ErrBusy):
		return "nothing was changed: try again later"
	case errors.Is(err, view.ErrNone):
		return `"compactd view sync URL" fills it`
	case errors.Is(err, view.ErrForeign):
		return "nothing was changed: ?table=NAME behind the URL names another table"
	case errors.Is(err, view.ErrAway):
		return "is the server up, and are host and port those of the database? The view is a whole generation, the one before or the new one: try again later"
	case errors.Is(err, view.ErrFull):
		return "nothing was changed: free some space, and sync again"
	case errors.Is(err, errViewDiffers), errors.Is(err, view.ErrChanged):
		return `somebody else has changed it: "compactd view drop URL" and "compactd view sync URL" make it again`
	case errors.Is(err, errStoppedQuery):
		return "nothing was changed"
	case errors.Is(err, sqlite.ErrStatement):
		return `tables are runs, generations and columns; a name with a dot stands in double quotes, as in "metrics.auc", and a text in single ones`
	case errors.Is(err, errViewGone):
		return `"compactd view sync URL" makes it the newest generation, which can be compared`
	}
	return ""
}

// shownView is what status says of a view.
type shownView struct {
	View       string `json:"view"`
	Generation uint64 `json:"generation"` // that it holds
	Rows       int64  `json:"rows"`
	Behind     int64  `json:"behind"`            // generations until the newest one; below 0 if it is ahead
	Changed    string `json:"changed,omitempty"` // what somebody else has taken away from it
	Other      bool   `json:"other,omitempty"`   // the root does not have that generation, but perhaps another one of its number
	None       bool   `json:"none,omitempty"`
	Error      string `json:"error,omitempty"` // it cannot be asked
}

// shownStatus is a status with views.
type shownStatus struct {
	audit.Status
	Views []shownView `json:"views,omitempty"`
}

// lookAtViews asks each view which generation it holds. One that does not answer is no failure of the root.
func lookAtViews(ctx context.Context, urls []string, s audit.Status) (all []shownView, err error) {
	for _, url := range urls {
		v, err := openView(url)
		if err != nil {
			return nil, err
		}
		shown := shownView{View: v.Name()}
		held, err := v.State(ctx, s.RootID)
		switch {
		case err != nil:
			shown.Error = err.Error()
		case held.IsNone():
			shown.None = true
		default:
			shown.Generation, shown.Rows, shown.Changed = uint64(held.Generation), held.Rows, held.Lost
			shown.Behind = int64(s.Generation) - int64(held.Generation)
			shown.Other = shown.Behind < 0 || shown.Behind == 0 && held.Token != s.Token
		}
		all = append(all, shown)
		if err := v.Close(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (v shownView) String() string {
	switch {
	case v.Error != "":
		return "cannot be asked: " + v.Error
	case v.None:
		return v.View + " holds nothing of this root"
	case v.Other:
		return fmt.Sprintf("%s holds generation %d with %d rows, which the root does not have: was it restored from a backup?", v.View, v.Generation, v.Rows)
	case v.Changed != "":
		return fmt.Sprintf("%s states generation %d, and somebody else has changed it: %s: the next sync writes it again", v.View, v.Generation, v.Changed)
	case v.Behind == 0:
		return fmt.Sprintf("%s holds the newest generation, %d: %d rows", v.View, v.Generation, v.Rows)
	}
	return fmt.Sprintf("%s holds generation %d with %d rows: %d generations behind", v.View, v.Generation, v.Rows, v.Behind)
}
