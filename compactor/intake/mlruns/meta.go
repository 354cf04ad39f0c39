package mlruns

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// meta is a meta.yaml: one mapping.
type meta struct{ node *yaml.Node }

// maxMeta bounds a meta.yaml.
const maxMeta = 1 << 20

func (r *reader) meta(file string) (meta, error) {
	data, err := r.Read(file, maxMeta)
	if err != nil {
		return meta{}, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return meta{}, fmt.Errorf("is not YAML: %w", err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return meta{}, errors.New("is not a YAML mapping: was it cut short?")
	}
	return meta{doc.Content[0]}, nil
}

// value is the node of a field, or nil.
func (m meta) value(name string) *yaml.Node {
	if m.node == nil {
		return nil
	}
	for i := 0; i+1 < len(m.node.Content); i += 2 {
		if m.node.Content[i].Value == name {
			return m.node.Content[i+1]
		}
	}
	return nil
}

// text is a scalar as text; empty if there is none, or null.
func (m meta) text(name string) string {
	v := m.value(name)
	if v == nil || v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
		return ""
	}
	return v.Value
}

// runID is that of a run, empty if it is the meta.yaml of something else.
func (m meta) runID() string {
	if id := m.text("run_id"); id != "" {
		return id
	}
	return m.text("run_uuid") // of MLflow before 1.0
}

// statuses are numbers of MLflow's RunStatus.
var statuses = map[string]string{
	"1": tracker.Running, "2": tracker.Scheduled, "3": tracker.Finished, "4": tracker.Failed, "5": tracker.Killed,
}

// status is that of a run. Where none is said it is RUNNING, as in MLflow.
func (m meta) status() (string, error) {
	text := m.text("status")
	if text == "" {
		return tracker.Running, nil
	}
	for number, name := range statuses {
		if text == number || text == name {
			return name, nil
		}
	}
	return "", fmt.Errorf("has the status %q, which MLflow does not have", text)
}

// time is a time in milliseconds.
func (m meta) time(name string) (time.Time, error) {
	text := m.text(name)
	if text == "" {
		return time.Time{}, nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	t := time.UnixMilli(ms)
	if err != nil || !isTime(t) {
		return time.Time{}, fmt.Errorf("has the %s %q, which is not a time in milliseconds", name, text)
	}
	return t, nil
}

// rest is what the snapshot of a run has beside its history.
func (r *reader) rest(dir string, m meta, parent *experiment, to *tracker.Fields) error {
	to.Text("tracker", "mlflow")
	if parent != nil {
		x, err := parent.meta.fields("last_update_time") // which would change all its runs
		if err != nil {
			return err
		}
		if parent.tags.Len() > 0 {
			x.Object("tags", &parent.tags)
		}
		to.Object("experiment", &x)
	}
	run, err := m.fields()
	if err != nil {
		return err
	}
	to.Object("run", &run)
	inputs, err := r.inputs(dir, parent)
	if len(inputs) > 0 {
		to.JSON("inputs", append(inputs, ']'))
	}
	return err
}

// inputs are the data sets that a run names: a JSON list without its end.
func (r *reader) inputs(dir string, parent *experiment) (list []byte, err error) {
	entries, err := r.List(path.Join(dir, "inputs"))
	if err != nil {
		return nil, nil // most runs have none
	}
	for _, e := range entries {
		in, err := r.meta(path.Join(dir, "inputs", e.Name(), metaFile))
		if err != nil {
			return nil, fmt.Errorf("inputs/%s/%s: %w", e.Name(), metaFile, err)
		}
		fields, err := in.fields()
		if err != nil {
			return nil, err
		}
		if id := in.text("source_id"); parent != nil && in.text("source_type") == "DATASET" && path.Base(id) == id {
			if set, err := r.meta(path.Join(parent.dir, "datasets", id, metaFile)); err == nil {
				of, err := set.fields()
				if err != nil {
					return nil, err
				}
				fields.Object("dataset", &of)
			}
		}
		list = append(append(list, sep(list)), fields.Bytes()...)
	}
	return list, nil
}

func sep(list []byte) byte {
	if len(list) == 0 {
		return '['
	}
	return ','
}

// fields is the mapping as JSON, without those that are named.
func (m meta) fields(without ...string) (f tracker.Fields, err error) {
	for i := 0; i+1 < len(m.node.Content); i += 2 {
		if slices.Contains(without, m.node.Content[i].Value) {
			continue
		}
		value, err := toJSON(nil, m.node.Content[i+1], 0)
		if err != nil {
			return f, fmt.Errorf("%s: %w", m.node.Content[i].Value, err)
		}
		f.JSON(m.node.Content[i].Value, value)
	}
	return f, nil
}

// maxDepth bounds how deep a meta.yaml nests.
const maxDepth = 50

// toJSON appends a node as JSON. Numbers stay as they are spelled.
func toJSON(b []byte, n *yaml.Node, depth int) (_ []byte, err error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("is nested deeper than %d levels", maxDepth)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		return append(b, scalar(n)...), nil
	case yaml.SequenceNode:
		b = append(b, '[')
		for i, item := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = toJSON(b, item, depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case yaml.MappingNode:
		b = append(b, '{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, tracker.Quote(n.Content[i].Value)...), ':')
			if b, err = toJSON(b, n.Content[i+1], depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return nil, errors.New("has an alias, which MLflow does not write") // it could stand for any number of values
}

func scalar(n *yaml.Node) []byte {
	switch {
	case n.Tag == "!!null":
		return []byte("null")
	case n.Tag == "!!bool" && n.Value == "true", n.Tag == "!!bool" && n.Value == "false":
		return []byte(n.Value)
	case (n.Tag == "!!int" || n.Tag == "!!float") && tracker.IsNumber(n.Value):
		return []byte(n.Value)
	}
	return tracker.Quote(n.Value)
}
