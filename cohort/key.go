package cohort

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Key names one row of the index, in the text form that stands in its _key column and in
// snapshot_index.json: "run_id:stage", or with more parts where the root's KeyForm is wider. As no
// part but the first may hold a ':', the text is unambiguous within a root.
type Key string

func (k Key) String() string { return string(k) }

// KeyForm says which fields make the key of a root. It is fixed in runfold.json when the root is
// made. The zero value is run_id and stage.
type KeyForm struct{ target, view, symbol bool }

// ParseKeyForm reads the list of runfold.json: run_id, phase, then any of target, view and symbol in
// this order.
func ParseKeyForm(fields []string) (KeyForm, error) {
	var f KeyForm
	for _, name := range fields {
		switch name {
		case "target":
			f.target = true
		case "view":
			f.view = true
		case "symbol":
			f.symbol = true
		}
	}
	if !slices.Equal(fields, f.Fields()) {
		return KeyForm{}, fmt.Errorf("key %q is not run_id, phase, then any of target, view, symbol in this order", fields)
	}
	return f, nil
}

// Fields is the list that ParseKeyForm reads.
func (f KeyForm) Fields() []string {
	fields := []string{"run_id", "phase"}
	for _, p := range f.parts(Record{}) {
		fields = append(fields, p.name)
	}
	return fields
}

// Wide tells whether the key has more parts than run_id and stage.
func (f KeyForm) Wide() bool { return f != KeyForm{} }

type keyPart struct{ name, text string }

// parts are the fields behind run_id and stage that belong to the key.
func (f KeyForm) parts(r Record) []keyPart {
	var parts []keyPart
	if f.target {
		parts = append(parts, keyPart{"target", r.Target})
	}
	if f.view {
		parts = append(parts, keyPart{"view", r.View})
	}
	if f.symbol {
		parts = append(parts, keyPart{"symbol", r.Symbol})
	}
	return parts
}

// Of is the key of r, which must be valid. An absent part is an empty one.
func (f KeyForm) Of(r Record) Key {
	if !f.Wide() {
		return Key(r.RunID + ":" + r.Stage)
	}
	texts := []string{r.RunID, r.Stage}
	for _, p := range f.parts(r) {
		texts = append(texts, p.text)
	}
	return Key(strings.Join(texts, ":"))
}

// Validate refuses a record whose key would be ambiguous in this form.
func (f KeyForm) Validate(r Record) error {
	for _, p := range f.parts(r) {
		if strings.Contains(p.text, ":") {
			return fmt.Errorf("%s %q has a ':', which separates the parts of this root's key", p.name, p.text)
		}
	}
	return nil
}

// MarshalJSON writes the list of fields.
func (f KeyForm) MarshalJSON() ([]byte, error) { return json.Marshal(f.Fields()) }

// UnmarshalJSON reads the list of fields.
func (f *KeyForm) UnmarshalJSON(data []byte) error {
	var fields []string
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	form, err := ParseKeyForm(fields)
	*f = form
	return err
}

// KeyParts is what a key of any form says. Parts that it does not say are empty.
type KeyParts struct {
	RunID, Stage, Target, View, Symbol, Attempt string
}

// ParseKey reads a key of a snapshot_index.json, ours or older: "run_id", "run_id:stage",
// "run_id:stage:target:view:symbol" and the same with ":attempt" behind it.
//
// A run_id may hold ':', so the text alone can be ambiguous. runID is the run_id that the value
// itself gives, or empty: where it fits it decides. Otherwise five or six parts are the long forms,
// and any other number is split at the last ':'.
func ParseKey(text, runID string) KeyParts {
	if runID != "" && text == runID {
		return KeyParts{RunID: runID}
	}
	if rest, ok := strings.CutPrefix(text, runID+":"); ok && runID != "" {
		return longKey(append([]string{runID}, strings.Split(rest, ":")...))
	}
	parts := strings.Split(text, ":")
	if len(parts) == 5 || len(parts) == 6 {
		return longKey(parts)
	}
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return KeyParts{RunID: text}
	}
	return KeyParts{RunID: text[:i], Stage: text[i+1:]}
}

// longKey names the parts in their order; parts beyond the known ones stay with the attempt.
func longKey(parts []string) KeyParts {
	var k KeyParts
	for i, field := range []*string{&k.RunID, &k.Stage, &k.Target, &k.View, &k.Symbol} {
		if i < len(parts) {
			*field = parts[i]
		}
	}
	if len(parts) > 5 {
		k.Attempt = strings.Join(parts[5:], ":")
	}
	return k
}
