package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// oneRecord is a record that flags describe.
type oneRecord struct {
	runID, stage, recordID, timestamp, json string
	set, setString                          []string
}

// given tells whether any of its flags stands on the command line.
func (oneRecord) given(cmd *cobra.Command) bool {
	for _, name := range []string{"run-id", "stage", "record-id", "timestamp", "json", "set", "set-string"} {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// fromFlags is the action or the record that the flags describe.
func (o options) fromFlags() (line, error) {
	a, is, err := o.actions.action()
	switch {
	case err != nil:
		return line{}, err
	case is:
		return o.actionLine(a)
	}
	return o.oneLine()
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
		err = o.validate(rec)
	}
	if err != nil {
		return line{}, fmt.Errorf("%s: %w", l.where(), err)
	}
	return l, nil
}

// validate is that of the root for a record without a zone, which only some roots take.
func (o options) validate(rec cohort.Record) error {
	err := rec.Validate()
	if err != nil && rec.ValidateStored() == nil && o.isFoxml() {
		return nil
	}
	return err
}

// object is the record as JSON. The bytes of --json stay as they are, except nonFinite numbers, which
// became null. Fields of other flags are added at the end, and of equal names the last one counts.
func (r oneRecord) object() (obj []byte, nonFinite int, err error) {
	obj = []byte("{}")
	if r.json != "" {
		base, err := cohort.ParseRecord([]byte(r.json), 0)
		if err != nil {
			return nil, 0, fmt.Errorf("--json: %w", err)
		}
		obj, nonFinite = base.JSON, base.NonFinite
	}
	given := map[string]string{} // the flag that gave a field
	for _, f := range []struct{ flag, name, text string }{
		{"--run-id", "run_id", r.runID}, {"--stage", "stage", r.stage},
		{"--record-id", "record_id", r.recordID}, {"--timestamp", "timestamp", r.timestamp},
	} {
		if f.text != "" {
			obj, given[f.name] = with(obj, f.name, jsonscan.Quote(f.text)), f.flag
		}
	}
	for _, s := range r.set {
		name, text, err := assignment(given, "--set", s)
		if err != nil {
			return nil, 0, err
		}
		v, n := value(text, strings.HasPrefix(name, "tags."))
		if obj, err = set(obj, name, v); err != nil {
			return nil, 0, fmt.Errorf("--set %q: %w", s, err)
		}
		nonFinite += n
	}
	for _, s := range r.setString {
		name, text, err := assignment(given, "--set-string", s)
		if err != nil {
			return nil, 0, err
		}
		if obj, err = set(obj, name, jsonscan.Quote(text)); err != nil {
			return nil, 0, fmt.Errorf("--set-string %q: %w", s, err)
		}
	}
	return obj, nonFinite, nil
}

// assignment takes name=text apart. A field that a flag has given already is refused: nobody can tell which one is meant.
func assignment(given map[string]string, flag, s string) (name, text string, err error) {
	name, text, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return "", "", fmt.Errorf("%s %q is not name=value", flag, s)
	}
	for other, by := range given {
		if other == name || strings.HasPrefix(other, name+".") {
			return "", "", fmt.Errorf("%s %q: %s gives %s already: give it once", flag, s, by, other)
		}
	}
	given[name] = flag
	return name, text, nil
}

// value is the JSON that text stands for, and how many NaN and infinities in it became null. JSON is taken as it is. Numbers are read
// as people write them. 007, 1_000 and 1,5 are text, because they are names more often than numbers. In tags, what is not JSON
// is text.
func value(text string, isTag bool) (v []byte, nonFinite int) {
	trimmed := []byte(strings.TrimSpace(text))
	if jsonscan.Valid(trimmed) {
		return trimmed, 0
	}
	if finite, n := jsonscan.Finite(trimmed); n > 0 && jsonscan.Valid(finite) && !isTag {
		return finite, n
	}
	if isTag {
		return jsonscan.Quote(text), 0
	}
	if nonNumber.Match(trimmed) {
		return []byte("null"), 1
	}
	if m := looseNumber.FindSubmatch(trimmed); m != nil {
		return number(m), 0
	}
	return jsonscan.Quote(text), 0
}

var (
	nonNumber = regexp.MustCompile(`(?i)^[+-]?(nan|inf|infinity)$`)
	// sign, digits, fraction, exponent; the front without zeros that JSON does not take
	looseNumber = regexp.MustCompile(`^([+-]?)(0|[1-9][0-9]*|)(?:(\.)([0-9]*))?([eE][+-]?[0-9]+)?$`)
)

// number is a looseNumber as JSON writes it, or the text that it is if it has no digit.
func number(m [][]byte) []byte {
	sign, whole, point, fraction, exponent := string(m[1]), string(m[2]), string(m[3]), string(m[4]), string(m[5])
	if whole == "" && fraction == "" {
		return jsonscan.Quote(string(m[0]))
	}
	if whole == "" {
		whole = "0"
	}
	if point != "" && fraction == "" {
		fraction = "0"
	}
	return []byte(strings.TrimPrefix(sign, "+") + whole + point + fraction + exponent)
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
