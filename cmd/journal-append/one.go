package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// oneRecord is a record that flags describe.
type oneRecord struct {
	runID, stage, recordID, timestamp, json string
	set                                     []string
}

// given tells whether any of its flags stands on the command line.
func (oneRecord) given(cmd *cobra.Command) bool {
	for _, name := range []string{"run-id", "stage", "record-id", "timestamp", "json", "set"} {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// oneLine is the record that the flags describe, as one line of input.
func (o options) oneLine() (line, error) {
	obj, nonFinite, err := o.one.object()
	if err != nil {
		return line{}, err
	}
	l := line{file: "record from flags", data: obj, nonFinite: nonFinite}
	rec, err := cohort.ParseRecord(obj, 0)
	if err == nil {
		rec, err = o.inZone(rec)
	}
	if err == nil {
		err = rec.Validate()
	}
	if err != nil {
		return line{}, fmt.Errorf("%s: %w", l.where(), err)
	}
	return l, nil
}

// object is the record as JSON. The bytes of --json stay as they are, but for nonFinite numbers that
// became null; fields of other flags are added behind, where the last of equal names counts.
func (r oneRecord) object() (obj []byte, nonFinite int, err error) {
	obj = []byte("{}")
	if r.json != "" {
		base, err := cohort.ParseRecord([]byte(r.json), 0)
		if err != nil {
			return nil, 0, fmt.Errorf("--json: %w", err)
		}
		obj, nonFinite = base.JSON, base.NonFinite
	}
	for _, f := range []struct{ name, text string }{
		{"run_id", r.runID}, {"stage", r.stage}, {"record_id", r.recordID}, {"timestamp", r.timestamp},
	} {
		if f.text != "" {
			obj = with(obj, f.name, jsonscan.Quote(f.text))
		}
	}
	for _, s := range r.set {
		name, text, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, 0, fmt.Errorf("--set %q is not name=value", s)
		}
		if obj, err = set(obj, name, value(text)); err != nil {
			return nil, 0, fmt.Errorf("--set %q: %w", s, err)
		}
	}
	return obj, nonFinite, nil
}

// value is text as JSON if it is JSON, else as a string.
func value(text string) []byte {
	if json.Valid([]byte(text)) {
		return []byte(strings.TrimSpace(text))
	}
	return jsonscan.Quote(text)
}

// set adds a field to obj; the name up to the first dot is the object that it lies in.
func set(obj []byte, name string, v []byte) ([]byte, error) {
	outer, inner, nested := strings.Cut(name, ".")
	if !nested {
		return with(obj, name, v), nil
	}
	if outer == "" || inner == "" {
		return nil, errors.New("has an empty name beside the dot")
	}
	within := []byte("{}")
	for n, old := range jsonscan.Members(obj) {
		if n != outer {
			continue
		}
		if jsonscan.KindOf(old) != jsonscan.Object {
			return nil, fmt.Errorf("%s is %v already, not an object", outer, jsonscan.KindOf(old))
		}
		within = old
	}
	return with(obj, outer, with(within, inner, v)), nil
}

// with is obj with a member that replaces those of its name.
func with(obj []byte, name string, v []byte) []byte {
	var b []byte
	for n, old := range jsonscan.Members(obj) {
		if n != name {
			b = jsonscan.AppendMember(b, n, old)
		}
	}
	return append(jsonscan.AppendMember(b, name, v), '}')
}
