// Package optuna reads the journal of Optuna's JournalStorage: a file with one operation on each line. A trial is a run, and its study the experiment.
//
// It applies the operations as Optuna does, so that one that Optuna ignores, such as a change of a finished trial, is ignored here, too.
//
// # Backwards compatibility
//
// That of package tracker.
package optuna

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// maxLine bounds an operation.
const maxLine = 64 << 20

// The codes of operations. Optuna's format, do not change.
const (
	createStudy = iota
	deleteStudy
	setStudyUserAttr
	setStudySystemAttr
	createTrial
	setTrialParam
	setTrialStateValues
	setTrialIntermediateValue
	setTrialUserAttr
	setTrialSystemAttr
)

// Runs reads all trials of a journal, those of deleted studies, too.
func Runs(ctx context.Context, file string, o tracker.Options) tracker.Runs {
	return func(yield func(tracker.Run, error) bool) {
		f, err := tracker.OpenFile(file)
		if err != nil {
			yield(tracker.Run{}, err)
			return
		}
		defer f.Close()
		j := journal{file: file, options: o}
		ok, err := j.read(ctx, f, func(e *tracker.LeftOutError) bool { return yield(tracker.Run{}, e) })
		switch {
		case err != nil:
			yield(tracker.Run{}, err)
			return
		case !ok:
			return
		}
		j.runs(ctx, yield)
	}
}

// runs yields all trials.
func (j *journal) runs(ctx context.Context, yield func(tracker.Run, error) bool) {
	for _, s := range j.studies {
		for _, t := range s.trials {
			if ctx.Err() != nil {
				return
			}
			run, err := j.run(s, t)
			if err != nil {
				err = &tracker.LeftOutError{Where: run.Where, Reason: err.Error()}
			}
			if !yield(run, err) {
				return
			}
		}
	}
}

// journal is what the operations have made.
type journal struct {
	file    string
	options tracker.Options
	studies []*study // by their ids
	trials  []*trial // by their ids
	torn    bool
}

type study struct {
	name       string
	directions []int
	deleted    bool
	user, own  attrs
	trials     []*trial          // by their numbers
	first      map[string]choice // of each parameter the distribution of the first trial that has it
}

// choice is the distribution of a parameter in a trial.
type choice struct {
	trial int
	distribution
}

// operation is one line. Fields that an operation does not have are empty.
type operation struct {
	Code             *int                       `json:"op_code"`
	StudyName        string                     `json:"study_name"`
	Directions       []int                      `json:"directions"`
	StudyID          int                        `json:"study_id"`
	TrialID          int                        `json:"trial_id"`
	UserAttr         json.RawMessage            `json:"user_attr"`
	SystemAttr       json.RawMessage            `json:"system_attr"`
	Start            *string                    `json:"datetime_start"`
	Complete         *string                    `json:"datetime_complete"`
	State            *int                       `json:"state"`
	Values           []json.RawMessage          `json:"values"`
	Value            json.RawMessage            `json:"value"`
	ParamName        string                     `json:"param_name"`
	Internal         json.RawMessage            `json:"param_value_internal"`
	Distribution     string                     `json:"distribution"`
	Step             int64                      `json:"step"`
	Intermediate     json.RawMessage            `json:"intermediate_value"`
	Distributions    map[string]string          `json:"distributions"`
	Params           json.RawMessage            `json:"params"`
	UserAttrs        json.RawMessage            `json:"user_attrs"`
	SystemAttrs      json.RawMessage            `json:"system_attrs"`
	IntermediateVals map[string]json.RawMessage `json:"intermediate_values"`
}

// read applies all operations of a file.
func (j *journal) read(ctx context.Context, data io.Reader, left func(*tracker.LeftOutError) bool) (ok bool, err error) {
	r := bufio.NewReaderSize(data, 64<<10)
	if head, _ := r.Peek(16); bytes.HasPrefix(head, []byte("SQLite format 3")) {
		return false, fmt.Errorf("%s is a SQLite database, and not a journal: copy its studies with optuna.copy_study(..., to_storage=JournalStorage(JournalFileBackend(\"journal.log\")))", j.file)
	}
	good, bad := 0, []*tracker.LeftOutError(nil) // those before the first one that is good
	for n := 1; ctx.Err() == nil; n++ {
		line, err := tracker.Line(r, maxLine)
		end := errors.Is(err, io.EOF)
		if end && len(line) == 0 {
			break
		}
		if err != nil && !end && !errors.Is(err, tracker.ErrLong) {
			return false, fmt.Errorf("read %s, line %d: %w", j.file, n, err)
		}
		why := j.line(line)
		switch {
		case why == nil:
			good++
		case end: // an operation that is being written
			j.torn = true
		default:
			bad = append(bad, &tracker.LeftOutError{Where: fmt.Sprintf("%s line %d", j.file, n), Reason: why.Error()})
		}
		if good == 0 && len(bad) == manyBad {
			break
		}
		for ; good > 0 && len(bad) > 0; bad = bad[1:] {
			if !left(bad[0]) {
				return false, nil
			}
		}
	}
	if good == 0 && ctx.Err() == nil {
		return false, fmt.Errorf("%s has no operation of Optuna's JournalStorage: each line of such a file is a JSON object with an op_code", j.file)
	}
	return true, nil
}

// manyBad is after how many lines a file is of something else.
const manyBad = 100

var errNoOperation = errors.New("is not an operation of Optuna's journal")

func (j *journal) line(line []byte) error {
	value, odd, ok := tracker.FromPython(line)
	var op operation
	if !ok || json.Unmarshal(value, &op) != nil || op.Code == nil {
		return errNoOperation
	}
	if t := at(j.trials, op.TrialID); t != nil && odd > 0 && (*op.Code == setTrialUserAttr || *op.Code == setTrialSystemAttr) {
		t.odd += odd
	}
	return j.apply(op)
}

// apply does what Optuna does. What it ignores is no error.
func (j *journal) apply(op operation) error {
	switch *op.Code {
	case createStudy:
		if !slices.ContainsFunc(j.studies, func(s *study) bool { return !s.deleted && s.name == op.StudyName }) {
			j.studies = append(j.studies, &study{name: op.StudyName, directions: op.Directions, first: map[string]choice{}})
		}
		return nil
	case deleteStudy, setStudyUserAttr, setStudySystemAttr, createTrial:
		if s := at(j.studies, op.StudyID); s != nil && !s.deleted {
			return j.toStudy(s, op)
		}
		return nil
	case setTrialParam, setTrialStateValues, setTrialIntermediateValue, setTrialUserAttr, setTrialSystemAttr:
		if t := at(j.trials, op.TrialID); t != nil && !t.isFinished() {
			return t.apply(op)
		}
		return nil
	}
	return fmt.Errorf("has the operation %d, which is not known: it may be of a newer Optuna", *op.Code)
}

func at[T any](list []*T, i int) *T {
	if i < 0 || i >= len(list) {
		return nil
	}
	return list[i]
}

func (j *journal) toStudy(s *study, op operation) error {
	switch *op.Code {
	case deleteStudy:
		s.deleted = true
	case setStudyUserAttr:
		return s.user.update(op.UserAttr)
	case setStudySystemAttr:
		return s.own.update(op.SystemAttr)
	case createTrial:
		t, err := newTrial(s, op)
		j.trials, s.trials = append(j.trials, t), append(s.trials, t) // also a broken one, for the numbers of those after it
		return err
	}
	return nil
}
