package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/runfold/runfold/cohort"
)

// runs measures questions about runs: those of a terminal, each a process, and those of a page, in a process that stays.
func runs(e env) error {
	sizes := []int{100_000, 1_000_000}
	if e.large {
		sizes = append(sizes, 10_000_000)
	}
	if e.short {
		sizes = []int{50, 500}
	}
	dir, remove, err := e.fresh()
	if err != nil {
		return err
	}
	defer remove()
	l := &lists{folds: folds{env: e, root: filepath.Join(dir, "runs"), of: cohortOf}, store: filepath.Join(dir, "mlflow.db"), few: sizes[0]}
	l.index = cohort.Root(l.root).Index()
	if err := e.fill(l.store, l.few); err != nil && !errors.Is(err, errNoPython) {
		return err
	}
	for _, rows := range sizes {
		if err := l.grow(rows); err != nil {
			return err
		}
		for l.round = range e.rounds {
			if err := l.ask(); err != nil {
				return fmt.Errorf("%d rows, round %d: %w", rows, l.round, err)
			}
		}
	}
	e.say("what takes minutes is asked once, at the end")
	for _, ask := range l.slow {
		if err := ask(); err != nil {
			return err
		}
	}
	return nil
}

// lists is a root whose runs are listed.
type lists struct {
	folds
	index string
	store string // of MLflow
	few   int    // the runs in it, the first ones of the root
	round int
	slow  []func() error // questions that wait for the end
}

// The questions, for compactd, for DuckDB and for MLflow. %[1]s is the index.
const (
	chosen     = "metrics.auc > 0.7 and params.lr = 0.01"
	chosenDuck = `"metrics.auc" > 0.7 and "params.lr" = 0.01`
	plainDuck  = `select run_id || ':' || phase, snapshot_seq, timestamp, cohort_id from '%[1]s' where `
	runsDuck   = plainDuck + chosenDuck + ` order by "metrics.auc" desc limit 20`
	cohortDuck = `copy (` + plainDuck + `cohort_id = 'cohort-1') to '/dev/null' (format csv)`
	bestDuck   = `select run_id, phase, cohort_id, snapshot_seq, "metrics.auc" from '%[1]s' where "metrics.auc" is not null order by "metrics.auc" desc limit 10`
	countDuck  = `select count(*) from '%[1]s' where ` + chosenDuck
	pageDuck   = `select run_id, phase, cohort_id, timestamp, columns('^(metrics|params)[.]') from '%[1]s' where ` + chosenDuck +
		` order by "metrics.auc" desc limit 100 offset %[2]d`
)

// The questions to MLflow, which has no cohorts. Its params are texts.
var (
	runsMLflow = search{"metrics.auc > 0.7 and params.lr = '0.01'", "metrics.auc DESC", 20}
	bestMLflow = search{"", "metrics.auc DESC", 10}
	pageMLflow = search{runsMLflow.filter, runsMLflow.order, 100}
)

// ask asks everything once.
func (l *lists) ask() error {
	later := min(1000, l.next/25)
	return errors.Join(
		l.take("runs rows=%d where, sort, limit", l.terminal(keysIn, "runs", "--where", chosen, "--sort", "-metrics.auc", "--limit", "20"),
			l.duckGo("runs"), l.duckPython(runsDuck), l.mlflowOf(runsMLflow)),
		l.take("runs rows=%d of a cohort", l.terminal(countOf, "runs", "--cohort", "cohort-1"), l.duckGo("cohort"), l.duckPython(cohortDuck)),
		l.take("best rows=%d", l.terminal(keysIn, "best", "metrics.auc"), l.duckGo("best"), l.duckPython(bestDuck), l.mlflowOf(bestMLflow)),
		l.take("page rows=%d", l.page(0)),
		l.take("page rows=%d from row "+strconv.Itoa(later+1), l.page(later)))
}

// rival is one who answers a question.
type rival struct {
	who, note string
	part      bool // the answer has no count, which stands first
	slow      bool // it takes minutes
	ask       func() (timed, map[string]float64, error)
}

// take asks all in turn, and twice in the first round: then what they need is in memory. All must answer what the first one does, which is
// runfold. A slow one is asked once, at the end, and compared with the first round.
func (l *lists) take(work string, groups ...[]rival) error {
	work = fmt.Sprintf(work, l.next)
	if err := l.settle(l.index); err != nil {
		return err
	}
	var want []string
	var ours float64
	answer := func(r rival, again bool) error {
		found, values, err := r.ask()
		if err == nil && again {
			found, values, err = r.ask()
		}
		for i, key := range found.Answer { // MLflow has the names of runs, and not their stages
			found.Answer[i], _, _ = strings.Cut(key, ":")
		}
		if want == nil {
			want, ours = found.Answer, values["wall s"]
		}
		if err == nil {
			values["of runfold's"] = values["wall s"] / ours
			err = r.checked(found.Answer, want)
		}
		return l.result(work, r.who, r.note, values, err)
	}
	for _, r := range slices.Concat(groups...) {
		switch {
		case !r.slow:
			if err := answer(r, l.round == 0); err != nil {
				return err
			}
		case l.round == 0:
			l.slow = append(l.slow, func() error { return answer(r, false) })
		}
	}
	return nil
}

// checked compares an answer, if there is one, with that of runfold.
func (r rival) checked(answer, want []string) error {
	if len(want) == 0 {
		return errors.New("runfold finds nothing")
	}
	if r.part {
		want = want[1:]
	}
	if answer != nil && !slices.Equal(answer, want) {
		return fmt.Errorf("it finds %d, %v, and runfold %d, %v", len(answer), answer, len(want), want)
	}
	return nil
}

// terminal asks compactd.
func (l *lists) terminal(read func(out string) []string, args ...string) []rival {
	return []rival{{who: us, note: "one process, start included", ask: func() (timed, map[string]float64, error) {
		out, values, err := l.compactd(append(args, "--root", l.root)...)
		return timed{Answer: read(string(out))}, values, err
	}}}
}

// keysIn is the first field of each line, without a line of names.
func keysIn(out string) (keys []string) {
	for l := range strings.Lines(out) {
		if key, _, _ := strings.Cut(l, "\t"); key != "run_id" {
			keys = append(keys, key)
		}
	}
	return keys
}

func countOf(out string) []string { return []string{strconv.Itoa(strings.Count(out, "\n"))} }

// duckGo asks DuckDB in a process of Go. What it finds goes nowhere.
func (l *lists) duckGo(verb string) []rival {
	return []rival{{who: duck, note: "on the Parquet, one process, start included", ask: func() (timed, map[string]float64, error) {
		values, err := l.duckdb(verb, l.index)
		return timed{}, values, err
	}}}
}

// duckPython asks DuckDB in Python.
func (l *lists) duckPython(statement string) []rival {
	return twice(duck+", Python", "its import included", func() (timed, map[string]float64, error) {
		return readTimed(l.py("runs.py", "duckdb_ask", "1", fmt.Sprintf(statement, l.index)))
	})
}

// mlflowOf asks MLflow, where it has the same runs.
func (l *lists) mlflowOf(s search) []rival {
	if l.next != l.few {
		return nil
	}
	all := twice("MLflow", "SQLite store, one process, its imports included; asked once", func() (timed, map[string]float64, error) {
		return l.mlflow(l.store, s)
	})
	all[0].slow, all[1].slow = true, true
	return all
}

// twice has a row for the process, and one for the question alone.
func twice(who, note string, ask func() (timed, map[string]float64, error)) []rival {
	var last timed
	var failed error
	return []rival{{who: who, note: note, ask: func() (timed, map[string]float64, error) {
		found, values, err := ask()
		last, failed = found, err
		return found, values, err
	}}, {who: who + ", question alone", note: "of the same process", ask: func() (timed, map[string]float64, error) {
		return last, map[string]float64{"wall s": last.Seconds}, failed
	}}}
}

// page asks for the 100 rows of a page and for the count of all, in a process that stays. MLflow has no count.
func (l *lists) page(from int) []rival {
	const asks = "6" // the first one does not count
	count, rows := fmt.Sprintf(countDuck, l.index), fmt.Sprintf(pageDuck, l.index, from)
	all := []rival{
		{who: us, note: "compactor/query: 100 rows with 20 columns, and the count of all", ask: func() (timed, map[string]float64, error) {
			return readTimed(l.measured(filepath.Join(l.bin, "worker"), "ask", "-root", l.root, "-times", asks, "-where", chosen, "-sort", "-metrics.auc",
				"-columns", "run_id,stage,cohort_id,timestamp,metrics.*,params.*,_key", "-offset", strconv.Itoa(from), "-limit", "100"))
		}},
		{who: duck + ", Python", note: "the same in a connection", ask: func() (timed, map[string]float64, error) {
			return readTimed(l.py("runs.py", "duckdb_ask", asks, count, rows))
		}},
	}
	if l.next == l.few && from == 0 {
		all = append(all, rival{who: "MLflow", note: "search_runs: 100 rows, no count; asked once", part: true, slow: true, ask: func() (timed, map[string]float64, error) {
			return l.mlflow(l.store, pageMLflow)
		}})
	}
	for i, r := range all {
		all[i].ask = func() (timed, map[string]float64, error) {
			found, values, err := r.ask()
			return found, map[string]float64{"wall s": found.Seconds, "peak MiB": values["peak MiB"]}, err
		}
	}
	return all
}
