package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
)

// errNoPython is why a comparison with a program in Python is left out.
var errNoPython = errors.New("-python names no python that has bench/requirements.txt")

// py runs a function of views.py or runs.py and measures the process.
func (e env) py(script string, args ...string) ([]byte, map[string]float64, error) {
	if e.python == "" {
		return nil, nil, errNoPython
	}
	script, err := filepath.Abs(script)
	if err != nil {
		return nil, nil, err
	}
	return e.measured(e.python, append([]string{script}, args...)...)
}

// timed is what a process says that timed itself.
type timed struct {
	Seconds float64  `json:"seconds"`
	Answer  []string `json:"answer"`
}

func readTimed(out []byte, values map[string]float64, err error) (timed, map[string]float64, error) {
	var t timed
	if err == nil {
		if err = json.Unmarshal(out, &t); err != nil {
			err = fmt.Errorf("answer of a process: %w", err)
		}
	}
	return t, values, err
}

// search is what MLflow's search_runs is asked.
type search struct {
	filter, order string
	most          int
}

// mlflow asks the store; the answer is the names of the runs.
func (e env) mlflow(store string, s search) (timed, map[string]float64, error) {
	return readTimed(e.py("runs.py", "mlflow_search", store, s.filter, s.order, strconv.Itoa(s.most)))
}

// fill makes a store of MLflow with the runs from 0 on.
func (e env) fill(store string, runs int) error {
	if e.python == "" {
		return errNoPython
	}
	lines := store + ".ndjson"
	if err := writeRecords(lines, span(0, runs)); err != nil {
		return err
	}
	_, _, err := e.py("runs.py", "mlflow_fill", store, lines)
	return err
}
