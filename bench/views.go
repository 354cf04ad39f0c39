package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
)

// views measures copies of the index in other forms: what 10,000 new rows cost each of them, and what it costs to make the copy anew.
func views(e env) error {
	rows, fresh := 1_000_000, 10_000
	if e.short {
		rows, fresh = 500, 100
	}
	dir, remove, err := e.fresh()
	if err != nil {
		return err
	}
	defer remove()
	v := &viewed{folds: folds{env: e, root: filepath.Join(dir, "runs"), of: cohortOf, fresh: fresh}, dir: dir, delta: filepath.Join(dir, "delta")}
	if err := v.grow(rows); err != nil {
		return err
	}
	v.work = fmt.Sprintf("view rows=%d", rows)
	if err := errors.Join(v.withDelta(), v.begin()); err != nil {
		return err
	}
	for round := range e.rounds {
		if err := errors.Join(v.both(round), v.sync(), v.again()); err != nil {
			return err
		}
	}
	return v.queries(rows)
}

// viewed is a root with views.
type viewed struct {
	folds
	work  string
	dir   string
	delta string // a copy of the root, with a Delta table
}

// withDelta makes the copy.
func (v *viewed) withDelta() error {
	if out, err := exec.Command("cp", "-a", v.root, v.delta).CombinedOutput(); err != nil { // with its links
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	return v.run("delta", "set", "on", "--root", v.delta)
}

func (v *viewed) run(args ...string) error {
	_, _, err := v.compactd(args...)
	return err
}

// both folds the same new records into the root and into that with a Delta table, in turn.
func (v *viewed) both(round int) error {
	runs := span(v.next, v.fresh)
	for _, root := range []string{v.root, v.delta} {
		if err := appendRuns(root, v.form, runs, v.of); err != nil {
			return err
		}
	}
	v.next += v.fresh
	turns := []struct{ root, who string }{{v.root, us}, {v.delta, us + ", with Delta"}}
	if round%2 == 1 {
		slices.Reverse(turns)
	}
	for _, t := range turns {
		if err := v.settle(cohort.Root(t.root).Index(), filepath.Join(t.root, "snapshot_index.json")); err != nil {
			return err
		}
		r, values, err := v.foldOnce(t.root)
		if err == nil && r.Rows != int64(v.next) {
			err = fmt.Errorf("%d rows, want %d", r.Rows, v.next)
		}
		if err := v.result(strings.Replace(v.work, "view", "fold with Delta", 1), t.who, "both files", values, err); err != nil {
			return err
		}
	}
	return nil
}

// database is a view in a database.
type database struct {
	name string // of the database
	url  string
	py   string // the URL of its other table in Python
}

// databases are SQLite, and PostgreSQL if there is a server. part tells the tables of one use from those of another.
func (v *viewed) databases(part string) []database {
	file := filepath.Join(v.dir, part)
	all := []database{{sqlite, "sqlite:" + file + ".db", "sqlite:///" + file + ".pandas.db"}}
	if u, err := url.Parse(v.dsn); err == nil && v.dsn != "" {
		q := u.Query()
		q.Set("table", "runs_"+part)
		theirs := *u
		theirs.Scheme = "postgresql+psycopg"
		u.RawQuery = q.Encode()
		all = append(all, database{postgres, u.String(), theirs.String()})
	}
	return all
}

// begin makes the views that are kept up to date.
func (v *viewed) begin() error {
	for _, d := range v.databases("kept") {
		if err := v.run("view", "sync", d.url, "--root", v.root); err != nil {
			return err
		}
	}
	return nil
}

// sync brings them up to date.
func (v *viewed) sync() error {
	for _, d := range v.databases("kept") {
		if err := v.settle(cohort.Root(v.root).Index()); err != nil {
			return err
		}
		_, values, err := v.compactd("view", "sync", d.url, "--root", v.root)
		if err := v.result(v.work, us+", "+d.name, fmt.Sprintf("%d new rows", v.fresh), values, err); err != nil {
			return err
		}
	}
	return nil
}

// again makes them from nothing, as those do who know no better way.
func (v *viewed) again() error {
	index := cohort.Root(v.root).Index()
	for _, d := range v.databases("anew") {
		if err := v.settle(index); err != nil {
			return err
		}
		_, values, err := v.compactd("view", "sync", d.url, "--root", v.root)
		if err := v.result(v.work, us+", "+d.name+", anew", "all rows with their snapshots, and the indexes", values, err); err != nil {
			return err
		}
		if err := errors.Join(v.remove(d), v.settle(index)); err != nil {
			return err
		}
		_, values, err = v.py("views.py", "reload", index, d.py)
		if err := v.result(v.work, "pandas to_sql, "+d.name, "all rows without snapshots, one index", values, err); err != nil {
			return err
		}
	}
	values, err := v.duckdb("table", index, filepath.Join(v.dir, "anew.duckdb"))
	if err := v.result(v.work, duck+" create table as", "all rows without snapshots", values, err); err != nil {
		return err
	}
	if err := errors.Join(os.Remove(filepath.Join(v.dir, "anew.duckdb")), v.settle(index)); err != nil {
		return err
	}
	_, values, err = v.py("views.py", "overwrite", index, filepath.Join(v.dir, "anew.delta"))
	return errors.Join(v.result(v.work, "delta-rs overwrite", "all rows without snapshots", values, err),
		os.RemoveAll(filepath.Join(v.dir, "anew.delta")), os.RemoveAll(filepath.Join(v.dir, "anew.pandas.db")))
}

// remove drops a view that was made anew: a file goes as a whole.
func (v *viewed) remove(d database) error {
	if file, is := strings.CutPrefix(d.url, "sqlite:"); is {
		return os.Remove(file)
	}
	return v.run("view", "drop", d.url, "--root", v.root)
}

// best is the question that all are asked: MLflow's search_runs can ask it, too.
const best = `select run_id, "metrics.auc" from %s where "metrics.auc" > 0.9 and "params.optimizer" = 'adam' order by "metrics.auc" desc limit 100`

// sums is a question over all rows.
const sums = `select cohort_id, phase, "params.optimizer", count(*), avg("metrics.auc"), max(duration_s) from %s group by 1, 2, 3 order by 1, 2, 3`

// queries asks for the best runs and for sums, of the large root and of one with as many rows as MLflow gets.
func (v *viewed) queries(rows int) error {
	cache := filepath.Join(v.dir, "cache")
	if err := os.Setenv("XDG_CACHE_HOME", cache); err != nil {
		return err
	}
	few := &viewed{folds: folds{env: v.env, root: filepath.Join(v.dir, "few"), of: cohortOf, fresh: v.fresh}, dir: v.dir}
	if err := few.grow(rows / 10); err != nil {
		return err
	}
	store := filepath.Join(v.dir, "mlflow.db")
	if err := v.fill(store, rows/10); err != nil && !errors.Is(err, errNoPython) {
		return err
	}
	if err := v.first(fmt.Sprintf("query rows=%d", rows)); err != nil {
		return err
	}
	for round := range v.rounds {
		err := errors.Join(
			v.ask(fmt.Sprintf("query rows=%d best 100 runs", rows), best, "search"),
			v.ask(fmt.Sprintf("query rows=%d sums of all rows", rows), sums, "sums"),
			few.ask(fmt.Sprintf("query rows=%d best 100 runs", rows/10), best, "search"),
			few.searched(fmt.Sprintf("query rows=%d best 100 runs", rows/10), store))
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if err := v.fold(); err != nil {
			return err
		}
		_, values, err := v.compactd("query", "select count(*) from runs", "--root", v.root, "--csv")
		if err := v.result(fmt.Sprintf("query rows=%d", rows), us+", after a fold", fmt.Sprintf("%d new rows", v.fresh), values, err); err != nil {
			return err
		}
	}
	return nil
}

// fold adds new rows.
func (v *viewed) fold() error {
	if err := v.add(v.fresh, nil); err != nil {
		return err
	}
	_, _, err := v.foldOnce(v.root)
	return err
}

// first asks where there is no copy in the cache yet.
func (v *viewed) first(work string) error {
	if err := v.settle(cohort.Root(v.root).Index()); err != nil {
		return err
	}
	_, values, err := v.compactd("query", "select count(*) from runs", "--root", v.root, "--csv")
	return v.result(work, us+", first use", "makes the copy in the cache", values, err)
}

// ask asks twice and keeps the second: the copy is up to date, and in memory.
func (v *viewed) ask(work, statement, verb string) error {
	index := cohort.Root(v.root).Index()
	if err := v.settle(index); err != nil {
		return err
	}
	var values map[string]float64
	for range 2 {
		out, took, err := v.compactd("query", fmt.Sprintf(statement, "runs"), "--root", v.root, "--csv")
		if err == nil && len(out) == 0 {
			err = errors.New("no answer")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", work, err)
		}
		values = took
	}
	v.out.add(Result{Work: work, Who: us, Values: values, Note: "one process, its start and the look for new rows included"})
	values, err := v.duckdb(verb, index)
	return v.result(work, duck, "on the Parquet, one process, start included", values, err)
}

// searched asks MLflow for the best runs. Their names must be those that the root has.
func (v *viewed) searched(work, store string) error {
	var found timed
	var values map[string]float64
	var err error
	for range 2 {
		if found, values, err = v.mlflow(store, search{"metrics.auc > 0.9 and params.optimizer = 'adam'", "metrics.auc DESC", 100}); err != nil {
			return v.result(work, "MLflow", "", values, err)
		}
	}
	ours, _, err := v.compactd("query", fmt.Sprintf(best, "runs"), "--root", v.root, "--csv")
	if err != nil {
		return err
	}
	var runs []string
	for _, row := range strings.Split(strings.TrimSpace(string(ours)), "\n")[1:] {
		run, _, _ := strings.Cut(row, ",")
		runs = append(runs, run)
	}
	if !slices.Equal(runs, found.Answer) {
		return fmt.Errorf("MLflow finds %d runs, %v, and runfold %d, %v", len(found.Answer), found.Answer, len(runs), runs)
	}
	v.out.add(Result{Work: work, Who: "MLflow", Values: values, Note: "SQLite store, one process, its imports included"})
	v.out.add(Result{Work: work, Who: "MLflow, search alone", Values: map[string]float64{"wall s": found.Seconds}, Note: "within a process that runs"})
	return nil
}
