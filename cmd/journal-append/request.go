package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// request takes a line of --multiplex apart. What stays in l.data are the bytes of its record. Where the line says what it is called,
// that is known on error, too.
func (m *multiplex) request(l *line) (target, error) {
	t := target{rootID: m.rootID}
	data := bytes.TrimSpace(l.data)
	if !jsonscan.Valid(data) {
		data, l.nonFinite = jsonscan.Finite(data)
	}
	if !jsonscan.Valid(data) || jsonscan.KindOf(data) != jsonscan.Object {
		return t, errors.New(`the line is not a JSON object such as {"root": "runs", "cohort": "churn_eu", "record": {...}}`)
	}
	given := map[string]bool{}
	var record []byte
	var errs []error
	for m := range jsonscan.EachMember(data) {
		name := string(m.Name)
		if given[name] {
			errs = append(errs, fmt.Errorf("%q stands twice in the line", name))
			continue
		}
		given[name] = true
		errs = append(errs, t.set(l, &record, name, m.Value))
	}
	if err := errors.Join(errs...); err != nil {
		return t, err
	}
	switch {
	case t.root == "":
		return t, errors.New(`"root" is missing: the directory of the root`)
	case t.cohort == "" && given["cohort"]:
		return t, errors.New(`"cohort" is empty`)
	case record == nil && t.cohort == "":
		return t, errors.New(`"cohort" is missing`)
	case record == nil:
		return t, errors.New(`"record" is missing`)
	}
	l.data = record
	if t.cohort == "" { // the lane looks whether the root takes it from the record
		if t.own, t.cohort = true, cohort.FieldText(record, "cohort_id"); t.cohort == "" {
			return t, errors.New(`"cohort" is missing`)
		}
	}
	_, err := cohort.ParseID(t.cohort)
	return t, err
}

// set takes one member of a line.
func (t *target) set(l *line, record *[]byte, name string, value []byte) (err error) {
	switch name {
	case "id":
		if k := jsonscan.KindOf(value); k != jsonscan.Int && k != jsonscan.Double && k != jsonscan.String {
			return fmt.Errorf(`"id" is %v, and must be a number or a string`, k)
		}
		l.id = value
	case "root":
		t.root, err = textOf(name, value)
	case "root_id":
		var id string
		if id, err = textOf(name, value); err == nil {
			t.rootID, err = cohort.ParseRootID(id)
		}
	case "cohort":
		t.cohort, err = textOf(name, value)
	case "create":
		k := jsonscan.KindOf(value)
		if k != jsonscan.Bool {
			return fmt.Errorf(`"create" is %v, and must be true or false`, k)
		}
		t.create = string(value) == "true"
	case "record":
		if k := jsonscan.KindOf(value); k != jsonscan.Object {
			return fmt.Errorf(`"record" is %v, and must be an object`, k)
		}
		*record = value
	default:
		return fmt.Errorf("%q is not known to this version: id, root, root_id, cohort, create and record are", name)
	}
	return err
}

// textOf is a text that names something, and so must be exactly what was meant.
func textOf(name string, value []byte) (string, error) {
	switch k := jsonscan.KindOf(value); {
	case k != jsonscan.String:
		return "", fmt.Errorf("%q is %v, and must be a string", name, k)
	case jsonscan.LoneSurrogate(value):
		return "", fmt.Errorf("%q is no text: it has half a surrogate pair", name)
	}
	return jsonscan.Text(value), nil
}
