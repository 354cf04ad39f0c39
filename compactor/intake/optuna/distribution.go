package optuna

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// distribution says what the number that the journal has of a parameter stands for.
type distribution struct {
	Name       string `json:"name"`
	Attributes struct {
		Log     bool              `json:"log"`
		Choices []json.RawMessage `json:"choices"`
	} `json:"attributes"`
}

const categorical = "CategoricalDistribution"

func parseDistribution(text string) (d distribution, err error) {
	value, _, ok := tracker.FromPython([]byte(text))
	if !ok || json.Unmarshal(value, &d) != nil || d.Name == "" {
		return d, errors.New("has a distribution that is not one of Optuna")
	}
	return d, nil
}

// fits tells whether Optuna lets a parameter have another distribution in a later trial.
func (d distribution) fits(later distribution) bool {
	return d.Name == later.Name && d.Attributes.Log == later.Attributes.Log && reflect.DeepEqual(d.Attributes.Choices, later.Attributes.Choices)
}

// external is the value that a trial has, as JSON.
func (d distribution) external(internal json.RawMessage) (json.RawMessage, error) {
	if !tracker.IsScalar(internal) {
		return nil, fmt.Errorf("%s is not a number", internal)
	}
	switch d.Name {
	case "FloatDistribution", "UniformDistribution", "LogUniformDistribution", "DiscreteUniformDistribution":
		return internal, nil
	}
	n, err := whole(string(internal))
	if err != nil {
		return nil, err
	}
	switch d.Name {
	case "IntDistribution", "IntUniformDistribution", "IntLogUniformDistribution":
		return strconv.AppendInt(nil, n, 10), nil
	case categorical:
		if n < 0 || n >= int64(len(d.Attributes.Choices)) {
			return nil, fmt.Errorf("choice %d of %d", n, len(d.Attributes.Choices))
		}
		return d.Attributes.Choices[n], nil
	}
	return nil, fmt.Errorf("%s is not known: it may be of a newer Optuna", d.Name)
}

// whole is what Python's int makes of a number.
func whole(token string) (int64, error) {
	if n, err := strconv.ParseInt(token, 10, 64); err == nil {
		return n, nil
	}
	v, err := strconv.ParseFloat(token, 64)
	if err != nil || math.Abs(v) >= 1<<62 {
		return 0, fmt.Errorf("%s is not a whole number", token)
	}
	return int64(v), nil
}
