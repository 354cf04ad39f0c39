// Package mlruns reads the file store of MLflow 2 and 3: the folder "mlruns", in which each experiment is a folder with a meta.yaml and its
// runs, and each run a folder with a meta.yaml, params/, tags/ and metrics/.
//
// It reads what MLflow's own file store reads, and the same of it: the last value of a metric is that of the highest step, then of the latest time, then the
// highest. Experiments and runs are found in any depth. Data sets, traces, logged models and registered models are no runs.
//
// # Backwards compatibility
//
// That of package tracker.
package mlruns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

const (
	metaFile = "meta.yaml"
	trash    = ".trash"
)

// besides are the folders of an experiment that are no runs.
var besides = []string{"tags", "datasets", "traces", "models", "assessments"}

// runName is how MLflow names the folder of a run.
var runName = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Runs reads all runs below a directory, deleted ones, too.
func Runs(ctx context.Context, dir string, o tracker.Options) tracker.Runs {
	return tracker.In(dir, func(folder *tracker.Folder, yield func(tracker.Run, error) bool) {
		r := reader{Folder: folder, ctx: ctx, options: o, yield: yield}
		ok := r.look("", place{})
		switch {
		case ok && r.met == 0:
			yield(tracker.Run{}, &NoneError{dir, r.database != ""})
		case ok && r.database != "":
			r.leave(r.database, errDatabase)
		}
	})
}

// byCSV is the way out of a database.
const byCSV = "write its runs as CSV (mlflow.search_runs(search_all_experiments=True).to_csv(\"runs.csv\")) and use compactd import csv"

var errDatabase = errors.New("is a database of MLflow, which is not read: " + byCSV)

// NoneError says that a directory has no file store.
type NoneError struct {
	Dir      string
	Database bool // there is an mlflow.db, which newer versions make instead
}

func (e *NoneError) Error() string {
	if e.Database {
		return fmt.Sprintf("%s has no experiment of MLflow's file store. Its mlflow.db %v", e.Dir, errDatabase)
	}
	return fmt.Sprintf("%s has no experiment of MLflow's file store: no folder in it has a meta.yaml with an experiment_id. Does MLflow 3 have them in a database (mlflow.db)? Then %s", e.Dir, byCSV)
}

// reader is one walk through a directory.
type reader struct {
	*tracker.Folder
	ctx      context.Context
	options  tracker.Options
	yield    func(tracker.Run, error) bool
	met      int    // experiments and runs
	database string // of MLflow
}

// place is where a walk is.
type place struct {
	experiment *experiment // whose folder it is, or nil
	deleted    bool        // in the trash
}

// experiment is what its folder says.
type experiment struct {
	dir  string
	name string
	id   string
	meta meta
	tags tracker.Fields
}

func (r *reader) leave(name string, err error) bool {
	return r.yield(tracker.Run{}, r.LeftOut(name, err))
}

func (r *reader) left(e *tracker.LeftOutError) bool { return r.yield(tracker.Run{}, e) }

// look visits a folder that is neither a run nor within one. ok is false if nothing more is wanted.
func (r *reader) look(dir string, at place) (ok bool) {
	return r.Walk(r.ctx, dir, func(dir string, entries []fs.DirEntry) ([]string, bool) {
		return r.visit(dir, entries, at)
	}, r.left)
}

// visit looks what a folder is. What is below it, it visits itself, with what it has learned.
func (r *reader) visit(dir string, entries []fs.DirEntry, at place) (into []string, ok bool) {
	at.deleted = at.deleted || path.Base(dir) == trash
	parent := at.experiment
	at.experiment = nil
	if tracker.Has(entries, "mlflow.db") {
		r.database = path.Join(dir, "mlflow.db")
	}
	if tracker.Has(entries, metaFile) {
		m, err := r.meta(path.Join(dir, metaFile))
		switch {
		case err != nil:
			r.met++
			if !r.leave(path.Join(dir, metaFile), err) {
				return nil, false
			}
			if parent != nil {
				return nil, true // a run
			}
		case m.text("model_id") != "":
			return nil, true
		case m.runID() != "":
			r.met++
			return nil, r.run(dir, m, parent, at.deleted)
		case m.text("experiment_id") != "" && m.text("name") != "":
			r.met++
			if at.experiment, ok = r.experiment(dir, entries, m); !ok {
				return nil, false
			}
			at.deleted = at.deleted || m.text("lifecycle_stage") == "deleted"
		default: // a registered model, or of another program
			return nil, true
		}
	} else if parent != nil && isRun(dir, entries) {
		return nil, r.leave(path.Join(dir, metaFile), errNoMeta)
	}
	return r.into(dir, entries, at)
}

var errNoMeta = fmt.Errorf("the run has no %s", metaFile)

// isRun tells whether a folder that has no meta.yaml can only be a run.
func isRun(dir string, entries []fs.DirEntry) bool {
	return runName.MatchString(path.Base(dir)) || tracker.Has(entries, "params") && tracker.Has(entries, "metrics")
}

// into visits the folders in a folder. Walk itself has only links to tell.
func (r *reader) into(dir string, entries []fs.DirEntry, at place) (links []string, ok bool) {
	for _, e := range entries {
		name := e.Name()
		switch {
		case at.experiment != nil && slices.Contains(besides, name):
		case e.Type()&fs.ModeSymlink != 0:
			links = append(links, name)
		case e.IsDir():
			if !r.look(path.Join(dir, name), at) {
				return nil, false
			}
		}
	}
	return links, true
}

func (r *reader) experiment(dir string, entries []fs.DirEntry, m meta) (*experiment, bool) {
	x := &experiment{dir: dir, name: m.text("name"), id: m.text("experiment_id"), meta: m}
	if !tracker.Has(entries, "tags") {
		return x, true
	}
	return x, r.texts(path.Join(dir, "tags"), x.tags.Text)
}

// run reads one run. parent is the experiment whose folder it lies in, or nil.
func (r *reader) run(dir string, m meta, parent *experiment, deleted bool) (ok bool) {
	run := tracker.Run{Where: r.Path(dir), ID: m.runID(), Name: m.text("run_name"), Deleted: deleted || m.text("lifecycle_stage") == "deleted"}
	if parent != nil {
		if id := m.text("experiment_id"); id != parent.id {
			return r.leave(dir, fmt.Errorf("the run says that it is of experiment %s, and lies in that of %s: MLflow does not show it either", id, parent.id))
		}
		run.Experiment = parent.name
	}
	var err error
	if run.Status, err = m.status(); err != nil {
		return r.leave(path.Join(dir, metaFile), err)
	}
	for _, t := range [...]struct {
		name string
		to   *time.Time
	}{{"start_time", &run.Start}, {"end_time", &run.End}} {
		if *t.to, err = m.time(t.name); err != nil {
			return r.leave(path.Join(dir, metaFile), err)
		}
	}
	name := ""
	if !r.texts(path.Join(dir, "params"), run.Params.Scalar) || !r.texts(path.Join(dir, "tags"), func(tag, text string) {
		run.Tags.Text(tag, text)
		if tag == "mlflow.runName" {
			name = text
		}
	}) || !r.metrics(path.Join(dir, "metrics"), &run) {
		return false
	}
	if run.Name == "" {
		run.Name = name
	}
	if err := r.rest(dir, m, parent, &run.Rest); err != nil {
		return r.leave(dir, err)
	}
	return r.yield(run, nil)
}

// texts reads the files of a folder that each hold one text, of a name with slashes where there are folders in it.
func (r *reader) texts(dir string, add func(name, text string)) (ok bool) {
	names, ok := r.Files(r.ctx, dir, r.left)
	if !ok {
		return false
	}
	for _, name := range names {
		file := path.Join(dir, name)
		text, err := r.Text(file)
		if err == nil && !utf8.ValidString(name) {
			err = errName
		}
		if err != nil {
			if !r.leave(file, err) {
				return false
			}
			continue
		}
		add(name, text)
	}
	return true
}

var errName = fmt.Errorf("has a name that is not UTF-8")
