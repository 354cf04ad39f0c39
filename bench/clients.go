package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// clients measures what logs runs from Python: whole runs, and the calls of a training at each step.
func clients(e env) error {
	c := &logging{env: e, many: 50, runs: 2000, few: 60, steps: 20_000, slow: 2000}
	if e.short {
		c.many, c.runs, c.few, c.steps, c.slow = 3, 20, 3, 50, 20
	}
	for c.round = range e.rounds {
		if err := errors.Join(c.wholeRuns(1), c.wholeRuns(c.many), c.stepsOf(1), c.stepsOf(c.many)); err != nil {
			return fmt.Errorf("round %d: %w", c.round, err)
		}
	}
	return nil
}

// logging says how much is logged. Programs that take a second for a run get few of them: what counts is a rate.
type logging struct {
	env
	many, runs, few, steps, slow int
	round                        int
}

// client is a function of clients.py.
type client struct {
	who, function, note string
	count               int
	others              bool // it needs bench/requirements.txt
}

// wholeRuns are runs with 11 metrics, 4 params and 3 tags, one after another in each process.
func (c *logging) wholeRuns(processes int) error {
	few := max(3, c.few/processes)
	return c.take("runs", fmt.Sprintf("python runs processes=%d", processes), processes, []client{
		{us, "runfold_append", "runfold.append, durable", max(20, c.runs/processes), false},
		{us + ", with run", "runfold_run", "two records, RUNNING and FINISHED, both durable", max(20, c.runs/2/processes), false},
		{"MLflow", "mlflow_run", "create_run, log_batch, set_terminated on one SQLite store", max(3, c.runs/10/processes), true},
		{"wandb", "wandb_run", "offline; a folder for each run", few, true},
		{"trackio", "trackio_run", "its SQLite file of the project", few, true},
	})
}

// stepsOf are calls that log three metrics in one run of each process. The end of the run counts into the rate, and not into the quantiles.
func (c *logging) stepsOf(processes int) error {
	quick, slow := max(50, c.steps/processes), max(20, c.slow/processes)
	return c.take("steps", fmt.Sprintf("python steps processes=%d", processes), processes, []client{
		{us, "runfold_log", "run.log; durable every 10 s, and at the end", quick, false},
		{us + ", append", "runfold_append_step", "a record of its own for each step, durable", slow, false},
		{"MLflow", "mlflow_log", "log_metric three times, into one SQLite store", max(20, slow/4), true},
		{"wandb", "wandb_log", "offline", quick / 4, true},
		{"trackio", "trackio_log", "sent by a thread", quick / 4, true},
	})
}

// take measures all in turn.
func (c *logging) take(kind, work string, processes int, all []client) error {
	var ours float64
	for i, one := range all {
		if one.others && processes > 1 && c.round > 0 {
			continue // once: it takes minutes until all of its processes have imported it
		}
		values, err := c.log(kind, one, processes)
		if err == nil {
			if i == 0 {
				ours = values["p50 us"]
			}
			values["of runfold's"] = values["p50 us"] / ours
		}
		if err := c.result(work, one.who, one.note, values, err); err != nil {
			return err
		}
	}
	return nil
}

// log measures one client in a folder of its own. The package needs only Python, so it is measured where the others are not installed, too.
func (c *logging) log(kind string, one client, processes int) (values map[string]float64, err error) {
	python := c.python
	if python == "" && one.others {
		return nil, errNoPython
	}
	if python == "" {
		python = "python3"
	}
	dir, remove, err := c.fresh()
	if err != nil {
		return nil, err
	}
	defer remove()
	if _, _, err := c.compactd("init", "--root", filepath.Join(dir, "runs")); err != nil {
		return nil, err
	}
	script, err := filepath.Abs("clients.py")
	if err != nil {
		return nil, err
	}
	sources, err := filepath.Abs(filepath.Join("..", "journal", "python", "src"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(python, script, "measure", kind, one.function, dir, strconv.Itoa(processes), strconv.Itoa(one.count))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PYTHONPATH="+sources, "PYTHONDONTWRITEBYTECODE=1", "RUNFOLD_BIN="+c.bin, "RUNFOLD_ROOT_ID=")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%s: %w: %s", cmd, err, exit.Stderr)
		}
		return nil, err
	}
	return values, json.Unmarshal(out, &values)
}
