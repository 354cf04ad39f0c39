package cohort

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/internal/jsonscan"
)

// Action is what a record that is no run does to the runs before it. The zero value is a run record, which does nothing.
//
// Per key, the record with the highest version stands. The actions that name the key decide where it stands: in the index, or among the
// withdrawn rows. See docs/decisions/0046.
type Action uint8

// Part of the format: the texts, not the numbers.
const (
	// NoAction is a run record.
	NoAction Action = iota
	// Withdraw takes out what was written before it.
	Withdraw
	// Undo ends the withdrawals before it.
	Undo
	// Protect refuses the withdrawals after it.
	Protect
	// Unprotect ends the protection.
	Unprotect
)

var actionNames = [...]string{"", "withdraw", "undo", "protect", "unprotect"}

// String is the text that stands in the action's JSON, empty for NoAction.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("action %d", uint8(a))
}

// ActionNamed is the action with this text. An unknown one may be that of a newer program: the error is ErrNewer.
func ActionNamed(text string) (Action, error) {
	if i := slices.Index(actionNames[:], text); i > 0 {
		return Action(i), nil
	}
	return NoAction, fmt.Errorf("action %q: %w", text, ErrNewer)
}

// MaxReason bounds the reason of an action, in bytes.
const MaxReason = 4096

// Aim is which runs an action is about: those of its cohort and run_id, and of the stage and the other fields of the root's key that it names.
type Aim struct {
	RunID string
	Stage string            // empty: every stage
	More  map[string]string // fields of the key after the stage, by name; an empty text is a field that the record does not have
}

// NewAction makes the record of an action, to be appended by a journal.Writer. The JSON names what is aimed at, and the reason if
// there is one. The error says what no action can name.
func NewAction(a Action, at Aim, reason string) (Record, error) {
	b := jsonscan.AppendMember(nil, "action", jsonscan.Quote(a.String()))
	b = jsonscan.AppendMember(b, "run_id", jsonscan.Quote(at.RunID))
	if at.Stage != "" {
		b = jsonscan.AppendMember(b, "stage", jsonscan.Quote(at.Stage))
	}
	for _, name := range sortedNames(at.More) {
		b = jsonscan.AppendMember(b, name, jsonscan.Quote(at.More[name]))
	}
	if reason != "" {
		b = jsonscan.AppendMember(b, "reason", jsonscan.Quote(reason))
	}
	return ParseAction(append(b, '}'))
}

func sortedNames(more map[string]string) []string {
	names := make([]string, 0, len(more))
	for name := range more {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ParseAction reads the JSON of an action: an object of texts with the members action and run_id, and perhaps stage, reason, and
// fields of a key, each once. So a root whose key has a field action has no actions, and one whose key has a field reason none with a reason. An action that this program does not know is ErrNewer.
func ParseAction(data []byte) (Record, error) {
	r, err := ParseRecord(data, 0)
	if err != nil {
		return Record{}, err
	}
	names := map[string]bool{}
	for name, value := range r.Members {
		switch {
		case jsonscan.KindOf(value) != jsonscan.String || jsonscan.LoneSurrogate(value):
			return Record{}, fmt.Errorf("%s of an action must be a text", name)
		case names[string(name)]: // which of them is meant?
			return Record{}, fmt.Errorf("%s stands twice in an action: it is no further field of a key there", name)
		}
		names[string(name)] = true
	}
	if r.Action, err = ActionNamed(jsonscan.ScalarText(r.member("action"))); err != nil {
		return Record{}, err
	}
	r.sum = 0 // it is no run record, and is parsed again where one is needed
	return r, r.validateAction()
}

// validateAction is Validate for an action.
func (r Record) validateAction() error {
	switch {
	case r.RunID == "":
		return errors.New("run_id is missing")
	case strings.Contains(r.Stage, ":"):
		return fmt.Errorf("stage %q has a ':', which separates run_id and stage in keys", r.Stage)
	case len(r.RunID) > maxText || len(r.Stage) > maxText:
		return fmt.Errorf("run_id or stage is too long: at most %d bytes", maxText)
	case len(r.Reason()) > MaxReason:
		return fmt.Errorf("reason of %d bytes is too long: at most %d", len(r.Reason()), MaxReason)
	case len(r.ID) > MaxRecordID:
		return fmt.Errorf("record_id of %d bytes is too long: at most %d", len(r.ID), MaxRecordID)
	}
	return nil
}

// Reason is why an action was taken, as its user said.
func (r Record) Reason() string { return jsonscan.ScalarText(r.member("reason")) }

// AimOf is what an action is about in a root with this form of keys. Its texts are spelled as in keys.
func (f KeyForm) AimOf(r Record) Aim {
	at := Aim{RunID: r.RunID, Stage: r.Stage}
	for name, value := range r.Members {
		if slices.Contains(f.More(), string(name)) && string(name) != "cohort_id" {
			if at.More == nil {
				at.More = map[string]string{}
			}
			at.More[string(name)] = f.Spelled(string(name), jsonscan.ScalarText(value))
		}
	}
	return at
}

// AimAt is the aim that names a whole key, so that no other row can be meant.
func (f KeyForm) AimAt(k Key) (Aim, error) {
	runID, stage, more, ok := f.Split(k)
	if !ok {
		return Aim{}, fmt.Errorf("key %q has too few parts for this root", k)
	}
	at := Aim{RunID: runID, Stage: stage}
	for i, name := range f.More() {
		if name == "cohort_id" {
			continue
		}
		if at.More == nil {
			at.More = map[string]string{}
		}
		at.More[name] = more[i]
	}
	return at, nil
}

// ValidateAction refuses an action that names a field which is not in the key of the root: it would seem to aim at less than it does.
func (f KeyForm) ValidateAction(r Record) error {
	for name := range r.Members {
		switch string(name) {
		case "action", "run_id", "stage", "phase", "reason":
			continue
		}
		if !slices.Contains(f.More(), string(name)) {
			return fmt.Errorf("%s is not in the key of this root, which is %v: an action can name only fields of the key", name, f)
		}
	}
	return nil
}

// IsWhole tells whether the aim names every field of the key, so that it can be about one key only.
func (at Aim) IsWhole(f KeyForm) bool {
	for _, name := range f.More() {
		if _, ok := at.More[name]; !ok && name != "cohort_id" {
			return false
		}
	}
	return at.Stage != ""
}

// Key is the key that a whole aim names, of a run in this cohort.
func (at Aim) Key(f KeyForm, id ID) Key {
	key := at.RunID + ":" + at.Stage
	for _, name := range f.More() {
		text := at.More[name]
		if name == "cohort_id" {
			text = string(id)
		}
		if text == "" {
			text = f.Absent()
		}
		key += ":" + text
	}
	return Key(key)
}

// Meets tells whether the aim is about the run with this key, in a root with this form of keys. The cohort is compared elsewhere.
func (at Aim) Meets(f KeyForm, k Key) bool {
	runID, stage, more, ok := f.Split(k)
	if !ok || runID != at.RunID || at.Stage != "" && stage != at.Stage {
		return false
	}
	for i, name := range f.More() {
		if want, named := at.More[name]; named && want != more[i] {
			return false
		}
	}
	return true
}
