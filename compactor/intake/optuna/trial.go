package optuna

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/internal/jsonscan"
)

// The states of trials. Optuna's format, do not change.
const (
	running = iota
	complete
	pruned
	fail
	waiting
)

// states are the names of states, and what they are in a record.
var states = [...]struct{ name, status string }{
	running:  {"RUNNING", tracker.Running},
	complete: {"COMPLETE", tracker.Finished},
	pruned:   {"PRUNED", tracker.Killed},
	fail:     {"FAIL", tracker.Failed},
	waiting:  {"WAITING", tracker.Scheduled},
}

type trial struct {
	study        *study
	number       int
	state        int
	start, end   string
	values       []json.RawMessage
	params       attrs
	user, own    attrs
	intermediate map[int64]json.RawMessage
	odd          int // NaN and infinities in its attributes
}

func (t *trial) isFinished() bool { return t.state != running && t.state != waiting }

// newTrial is a trial as one operation makes it: a fresh one, or one that was copied whole.
func newTrial(s *study, op operation) (*trial, error) {
	t := &trial{study: s, number: len(s.trials), state: running, intermediate: map[int64]json.RawMessage{}}
	if op.State != nil {
		t.state = *op.State
	}
	t.start, t.end = text(op.Start), text(op.Complete)
	t.values = op.Values
	if t.values == nil && isValue(op.Value) {
		t.values = []json.RawMessage{op.Value}
	}
	err := errors.Join(t.user.update(op.UserAttrs), t.own.update(op.SystemAttrs), t.checkState())
	for step, value := range op.IntermediateVals {
		n, perr := strconv.ParseInt(step, 10, 64)
		if perr != nil {
			err = errors.Join(err, fmt.Errorf("has the step %q", step))
		}
		t.intermediate[n] = value
	}
	if len(op.Params) > 0 && jsonscan.KindOf(op.Params) == jsonscan.Object {
		for name, internal := range jsonscan.Members(op.Params) {
			err = errors.Join(err, t.set(name, internal, op.Distributions[name]))
		}
	}
	return t, err
}

func isValue(v json.RawMessage) bool { return len(v) > 0 && jsonscan.KindOf(v) != jsonscan.Null }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (t *trial) checkState() error {
	if t.state < 0 || t.state >= len(states) {
		state := t.state
		t.state = fail
		return fmt.Errorf("has the state %d, which is not known: it may be of a newer Optuna", state)
	}
	return nil
}

// apply changes a trial that has not ended.
func (t *trial) apply(op operation) error {
	switch *op.Code {
	case setTrialParam:
		d, err := parseDistribution(op.Distribution)
		if err != nil {
			return err
		}
		first, ok := t.study.first[op.ParamName]
		if ok && !first.fits(d) {
			return nil
		}
		return t.set(op.ParamName, op.Internal, op.Distribution)
	case setTrialStateValues:
		return t.setState(op)
	case setTrialIntermediateValue:
		if len(op.Intermediate) == 0 {
			return errNoOperation
		}
		t.intermediate[op.Step] = op.Intermediate
	case setTrialUserAttr:
		return t.user.update(op.UserAttr)
	case setTrialSystemAttr:
		return t.own.update(op.SystemAttr)
	}
	return nil
}

func (t *trial) setState(op operation) error {
	if op.State == nil {
		return errNoOperation
	}
	if *op.State == running && t.state == running {
		return nil // somebody else took it first
	}
	t.state = *op.State
	if err := t.checkState(); err != nil {
		return err
	}
	if t.state == running {
		t.start = cmp.Or(text(op.Start), t.start)
	}
	if t.isFinished() {
		t.end = cmp.Or(text(op.Complete), t.end)
	}
	if op.Values != nil {
		t.values = op.Values
	}
	return nil
}

// set sets a parameter.
func (t *trial) set(name string, internal json.RawMessage, dist string) error {
	d, err := parseDistribution(dist)
	if err != nil {
		return err
	}
	value, err := d.external(internal)
	if err != nil {
		return fmt.Errorf("has a parameter that its distribution does not have: %w", err)
	}
	t.params.set(name, value)
	if first, ok := t.study.first[name]; !ok || first.trial >= t.number {
		t.study.first[name] = choice{t.number, d}
	}
	return nil
}

// attrs are values by name, in the order in which the names came.
type attrs struct {
	names  []string
	values map[string]json.RawMessage
}

func (a *attrs) set(name string, value json.RawMessage) {
	if a.values == nil {
		a.values = map[string]json.RawMessage{}
	}
	if _, ok := a.values[name]; !ok {
		a.names = append(a.names, name)
	}
	a.values[name] = value
}

// update sets all members of an object.
func (a *attrs) update(object json.RawMessage) error {
	if len(object) == 0 {
		return nil
	}
	if jsonscan.KindOf(object) != jsonscan.Object {
		return errNoOperation
	}
	for name, value := range jsonscan.Members(object) {
		a.set(name, value)
	}
	return nil
}

func (a *attrs) to(f *tracker.Fields, name string) {
	if len(a.names) == 0 {
		return
	}
	var all tracker.Fields
	for _, name := range a.names {
		all.JSON(name, a.values[name])
	}
	f.Object(name, &all)
}

// run is a trial as a run.
func (j *journal) run(s *study, t *trial) (run tracker.Run, err error) {
	run = tracker.Run{
		Where: fmt.Sprintf("%s: trial %d of study %q", j.file, t.number, s.name), Experiment: s.name, ID: fmt.Sprintf("%s-%d", s.name, t.number),
		Status: states[t.state].status, Deleted: s.deleted, Odd: t.odd,
	}
	if s.name == "" {
		return run, errors.New("its study has no name")
	}
	if j.torn && j.trials[len(j.trials)-1] == t {
		run.Torn = j.file
	}
	if t.start != "" {
		start, ok := run.Time(t.start, j.options)
		if !ok {
			return run, fmt.Errorf("started at %q, which is not a time, or not one of that zone", t.start)
		}
		run.Start = start
	}
	if t.end != "" {
		end, ok := run.Time(t.end, j.options)
		if !ok {
			return run, fmt.Errorf("ended at %q, which is not a time, or not one of that zone", t.end)
		}
		run.End = end
	}
	for i, name := range s.valueNames(len(t.values)) {
		if token := t.values[i]; tracker.IsScalar(token) {
			run.Metrics.JSON(name, token)
		} else {
			run.Metrics.Missing(name)
		}
	}
	for _, name := range t.params.names {
		run.Params.JSON(name, t.params.values[name])
	}
	run.Tags.Text("state", states[t.state].name)
	for _, name := range t.user.names {
		if value := t.user.values[name]; jsonscan.ScalarText(value) != "" {
			run.Tags.Text(name, jsonscan.ScalarText(value))
		}
	}
	t.rest(&run, j.options)
	return run, nil
}

// valueNames are the names of the values of a trial: those that the study gives them, or Optuna's own.
func (s *study) valueNames(n int) []string {
	var names []string
	if list := s.own.values["study:metric_names"]; json.Unmarshal(list, &names) == nil && len(names) == n {
		return names
	}
	if n == 1 {
		return []string{"value"}
	}
	names = nil
	for i := range n {
		names = append(names, fmt.Sprintf("values_%d", i))
	}
	return names
}

// directions are the names of Optuna's StudyDirection.
var directions = [...]string{"NOT_SET", "MINIMIZE", "MAXIMIZE"}

func (t *trial) rest(run *tracker.Run, o tracker.Options) {
	run.Rest.Text("tracker", "optuna")
	var study tracker.Fields
	study.Text("name", t.study.name)
	list := []byte{'['}
	for i, d := range t.study.directions {
		if i > 0 {
			list = append(list, ',')
		}
		name := strconv.Itoa(d)
		if d >= 0 && d < len(directions) {
			name = directions[d]
		}
		list = append(list, tracker.Quote(name)...)
	}
	study.JSON("directions", append(list, ']'))
	t.study.user.to(&study, "user_attrs")
	run.Rest.Object("study", &study)
	run.Rest.Int("number", int64(t.number))
	t.user.to(&run.Rest, "user_attrs")
	t.own.to(&run.Rest, "system_attrs")
	if len(t.intermediate) == 0 {
		return
	}
	series := tracker.NewSeries(o.Most())
	for _, step := range slices.Sorted(maps.Keys(t.intermediate)) {
		p := tracker.Point{Step: strconv.FormatInt(step, 10)}
		if token := t.intermediate[step]; tracker.IsScalar(token) {
			p.Value = string(token)
		}
		series.Add(p)
	}
	run.History = append(run.History, tracker.History{Name: "intermediate_value", Series: series})
}
