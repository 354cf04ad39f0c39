package cohort

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/runfold/runfold/internal/jsonscan"
)

// Key names one row of the index, in the text form that stands in its _key column and in
// snapshot_index.json: "run_id:stage", or with more parts where the root's KeyForm is wider. As no
// part but the first may hold a ':', the text is unambiguous within a root.
type Key string

func (k Key) String() string { return string(k) }

// KeyForm says which fields make the key of a root, and how an absent one is spelled. It is fixed in runfold.json when
// the root is made. The zero value is run_id and stage. Two forms are the same if they are equal (==).
type KeyForm struct {
	more string // the fields after run_id and phase, each with keySep after it
	none bool   // an absent field is spelled AbsentNone

	profile Profile // of the roots that have it
}

const (
	// keySep stands in no name that a field of a key may have.
	keySep = "\n"
	// maxKeyFields bounds the fields after run_id and phase.
	maxKeyFields = 8
	// AbsentNone is how keys may spell a field that a record does not have, see KeyForm.SpellAbsent. Part of the format, do
	// not change.
	AbsentNone = "NONE"
)

// ParseKeyForm reads the list of runfold.json: run_id, phase, then cohort_id and any names of top-level fields, each once. A
// field that is absent from a record is an empty part of its key; see [KeyForm.SpellAbsent].
func ParseKeyForm(fields []string) (KeyForm, error) {
	if len(fields) < 2 || fields[0] != "run_id" || fields[1] != "phase" {
		return KeyForm{}, fmt.Errorf("key %q does not begin with run_id, phase", fields)
	}
	more := fields[2:]
	if len(more) > maxKeyFields {
		return KeyForm{}, fmt.Errorf("key %q has %d fields after run_id, phase: at most %d", fields, len(more), maxKeyFields)
	}
	var f KeyForm
	for i, name := range more {
		if err := mayBeInKey(name); err != nil {
			return KeyForm{}, fmt.Errorf("key %q: %w", fields, err)
		}
		if slices.Contains(more[:i], name) {
			return KeyForm{}, fmt.Errorf("key %q has %s twice", fields, name)
		}
		f.more += name + keySep
	}
	return f, nil
}

// mayBeInKey refuses a name that no field of a key has.
func mayBeInKey(name string) error {
	switch name {
	case "":
		return errors.New("a field has no name")
	case "run_id", "phase", "stage":
		return errors.New("run_id and the stage are in each key already")
	case "timestamp", "record_id", "snapshot_seq", "snapshot":
		return fmt.Errorf("%s says nothing about which result a record is", name)
	}
	for _, group := range []string{"metrics.", "params.", "tags."} {
		if strings.HasPrefix(name, group) {
			return fmt.Errorf("%s is not a top-level field", name)
		}
	}
	if len(name) > 255 || strings.HasPrefix(name, "_") || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%q cannot be the name of a column", name)
	}
	return nil
}

// SpellAbsent is the form with another spelling of a field that a record does not have: "" or AbsentNone.
func (f KeyForm) SpellAbsent(text string) (KeyForm, error) {
	switch {
	case text != "" && text != AbsentNone:
		return f, fmt.Errorf("key_absent %q is neither empty nor %s", text, AbsentNone)
	case text != "" && !f.Wide():
		return f, errors.New("key_absent goes with a key that has more fields than run_id, phase, which are in each record")
	}
	f.none = text != ""
	return f, nil
}

// Absent is how the part of a field is spelled that a record does not have: "" or AbsentNone.
func (f KeyForm) Absent() string {
	if f.none {
		return AbsentNone
	}
	return ""
}

// More are the fields after run_id and phase.
func (f KeyForm) More() []string {
	if f.more == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(f.more, keySep), keySep)
}

// Fields is the list that ParseKeyForm reads.
func (f KeyForm) Fields() []string { return append([]string{"run_id", "phase"}, f.More()...) }

// String is the form for people: "run_id, phase, target".
func (f KeyForm) String() string { return strings.Join(f.Fields(), ", ") }

// Wide tells whether the key has more parts than run_id and stage.
func (f KeyForm) Wide() bool { return f.more != "" }

// isOld tells whether the first version of runfold.json had this form: any of target, view and symbol, in this order.
func (f KeyForm) isOld() bool {
	rest := f.more
	for _, name := range []string{"target", "view", "symbol"} {
		rest = strings.TrimPrefix(rest, name+keySep)
	}
	return rest == "" && !f.none
}

// Of is the key of r, which must be valid and have its Cohort.
func (f KeyForm) Of(r Record) Key {
	if !f.Wide() {
		return Key(r.RunID + ":" + r.Stage)
	}
	key := make([]byte, 0, 128)
	key = append(append(append(key, r.RunID...), ':'), r.Stage...)
	for name, rest, _ := strings.Cut(f.more, keySep); name != ""; name, rest, _ = strings.Cut(rest, keySep) {
		text := r.keyText(name)
		if f.profile != NoProfile {
			text = f.profileText(name, text, r)
		}
		if text == "" {
			text = f.Absent()
		}
		key = append(append(key, ':'), text...)
	}
	return Key(key)
}

// profileText is the part of a key of a root with a profile, from the text that another root would have.
func (f KeyForm) profileText(name, text string, r Record) string {
	if name == fieldView {
		text = ViewOf(r)
	}
	return f.Spelled(name, text)
}

// Split takes a key apart that Of made in this form: the run_id, the stage, and the texts of More, empty where Absent stands. ok is
// false if the key has too few parts.
func (f KeyForm) Split(k Key) (runID, stage string, more []string, ok bool) {
	head := string(k)
	more = make([]string, strings.Count(f.more, keySep))
	for i := len(more) - 1; i >= -1; i-- {
		at := strings.LastIndexByte(head, ':')
		if at < 0 {
			return "", "", nil, false
		}
		part := head[at+1:]
		head = head[:at]
		switch {
		case i < 0:
			stage = part
		case part != f.Absent():
			more[i] = part
		}
	}
	return head, stage, more, true
}

// keyText is the field of a record as a part of keys: a text as it is, a number or a bool as its token, and empty what is
// absent.
func (r Record) keyText(name string) string {
	switch name {
	case "cohort_id":
		return string(r.Cohort)
	case "target":
		return r.Target
	case "view":
		return r.View
	case "symbol":
		return r.Symbol
	case "model_family":
		return r.ModelFamily
	}
	return jsonscan.ScalarText(r.member(name))
}

// FieldText is a top-level scalar of a record as it is spelled in keys: a text as it is, a number or a bool as its token. It is empty
// where json has no such field.
func FieldText(json []byte, name string) string {
	return jsonscan.ScalarText(Record{JSON: json}.member(name))
}

// absent is the value of a member that a record does not have.
var absent = []byte("null")

// member is the value of a top-level member, or null. Of a name that stands twice the last one counts.
func (r Record) member(name string) []byte {
	found := absent
	if len(r.JSON) == 0 { // put together by hand
		return found
	}
	for n, value := range r.Members {
		if string(n) == name {
			found = value
		}
	}
	return found
}

// Validate refuses a record whose key would be ambiguous in this form, or would be spelled otherwise than the columns of its
// fields. The cohort needs no check.
func (f KeyForm) Validate(r Record) error {
	for name, rest, _ := strings.Cut(f.more, keySep); name != ""; name, rest, _ = strings.Cut(rest, keySep) {
		if name == "cohort_id" {
			continue
		}
		if err := f.validate(name, r.member(name), r.keyText(name)); err != nil {
			return err
		}
	}
	return f.validateProfile(r)
}

func (f KeyForm) validate(name string, value []byte, text string) error {
	switch kind := jsonscan.KindOf(value); {
	case kind == jsonscan.Null, kind == jsonscan.String && !jsonscan.LoneSurrogate(value):
	case kind == jsonscan.String:
		return fmt.Errorf("%s has an escape that is no character", name)
	case kind == jsonscan.Int:
		if n, err := strconv.ParseInt(text, 10, 64); err != nil || strconv.FormatInt(n, 10) != text {
			return fmt.Errorf("%s %s is no integer of 64 bits: it is in this root's key, so write it as a text", name, text)
		}
	default:
		return fmt.Errorf("%s is %s: it is in this root's key, so it must be a text or an integer", name, withArticle(kind))
	}
	switch {
	case strings.Contains(text, ":"):
		return fmt.Errorf("%s %q has a ':', which separates the parts of this root's key", name, text)
	case f.none && f.Spelled(name, text) == AbsentNone:
		return fmt.Errorf("%s %q is how this root's key spells an absent %s: leave it out", name, text, name)
	case len(text) > maxText:
		return fmt.Errorf("%s of %d bytes is too long for a key: at most %d", name, len(text), maxText)
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

// Facets tell results apart that may have one key although they are different results: a root whose key has not all of these
// fields keeps the last write of them. Scalars that are not strings stand here as their JSON token.
type Facets struct {
	Cohort                            ID
	Target, View, Symbol, ModelFamily string
}

// Facets are those of the record.
func (r Record) Facets() Facets {
	return Facets{r.Cohort, r.Target, r.View, r.Symbol, r.ModelFamily}
}

// facetNames are the fields of Facets as records and columns call them, in their order.
var facetNames = [...]string{"cohort_id", "target", "view", "symbol", "model_family"}

func (f Facets) texts() [len(facetNames)]string {
	return [...]string{string(f.Cohort), f.Target, f.View, f.Symbol, f.ModelFamily}
}

// Difference is a field in which two results differ. A text is empty where a record has no such field.
type Difference struct {
	Field string `json:"field"`
	Gone  string `json:"gone"`  // in the one that gave way
	Stays string `json:"stays"` // in the one that stays
}

// Differences are the fields in which f, which gives way, differs from one that stays.
func (f Facets) Differences(stays Facets) []Difference {
	var out []Difference
	mine, other := f.texts(), stays.texts()
	for i, name := range facetNames {
		if mine[i] != other[i] {
			out = append(out, Difference{name, mine[i], other[i]})
		}
	}
	return out
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
