package cohort

import (
	"errors"
	"fmt"
	"strings"

	"github.com/runfold/runfold/internal/jsonscan"
)

// Profile makes a root one whose rows are those of another program: its key, its columns, and how it writes times. It is fixed when the
// root is made. docs/foxml.md says what a profile makes equal, and what not.
type Profile string

// The profiles, as they are spelled in flags and on the disk. Part of the format, do not change.
const (
	// NoProfile is a root of runfold itself.
	NoProfile Profile = ""
	// Foxml has the index of FoxML.
	Foxml Profile = "foxml"
)

// foxmlFields are the fields of the key of Foxml.
var foxmlFields = []string{"run_id", "phase", fieldTarget, fieldView, fieldSymbol, fieldFamily}

const (
	fieldTarget = "target"
	fieldView   = "view"
	fieldSymbol = "symbol"
	fieldFamily = "model_family"
	// fieldMode is another name of the view in a root of Foxml.
	fieldMode = "mode"
	// fieldCohort is the cohort of a record as the record says it itself.
	fieldCohort = "cohort_id"
)

// Key is the form of the keys of a root with this profile.
func (p Profile) Key() KeyForm {
	if p != Foxml {
		return KeyForm{}
	}
	f, err := ParseKeyForm(foxmlFields)
	if err != nil {
		panic("cohort: internal error: the key of a profile: " + err.Error())
	}
	f.none, f.profile = true, Foxml
	return f
}

// spell makes the form of a runfold.json that of its profile, which it must be.
func (p Profile) spell(f KeyForm) (KeyForm, error) {
	if p != Foxml {
		return f, nil // Validate refuses what is not known
	}
	want := p.Key()
	if f.more != want.more || f.none != want.none {
		return f, fmt.Errorf("key %q is not that of profile %q, which is %q, absent fields %s", f.Fields(), p, want.Fields(), want.Absent())
	}
	return want, nil
}

// Profile is that of the roots which have this form of keys.
func (f KeyForm) Profile() Profile { return f.profile }

// Spelled is the text of a field as it stands in keys of this form. With Foxml a '/' and a '\' are '_', and the view is in upper case: so
// two texts may have one spelling.
func (f KeyForm) Spelled(name, text string) string {
	if f.profile != Foxml || name == fieldCohort {
		return text
	}
	if name == fieldView || name == fieldMode {
		text = strings.ToUpper(text)
	}
	return noSlash.Replace(text)
}

var noSlash = strings.NewReplacer("/", "_", `\`, "_")

// ViewOf is the view of a record in a root of Foxml, in upper case, from its field mode or view; empty if it has neither.
func ViewOf(r Record) string {
	text := r.View
	if text == "" {
		text = jsonscan.ScalarText(r.member(fieldMode))
	}
	return strings.ToUpper(text)
}

// FacetsIn are the facets of a record in a root with this form of keys, which may know one of them by two names.
func (r Record) FacetsIn(f KeyForm) Facets {
	facets := r.Facets()
	if f.profile == Foxml {
		facets.View = ViewOf(r)
	}
	return facets
}

// CohortIn is the cohort that a record names itself, in its field cohort_id. It is empty if there is none, or if roots of this form do not take it from there.
func (r Record) CohortIn(f KeyForm) (ID, error) {
	if f.profile != Foxml {
		return "", nil
	}
	value := r.member(fieldCohort)
	switch kind := jsonscan.KindOf(value); {
	case kind == jsonscan.Null:
		return "", nil
	case kind != jsonscan.String:
		return "", fmt.Errorf("cohort_id must be a string, is %s", withArticle(kind))
	}
	text := jsonscan.Text(value)
	if text == "" {
		return "", nil
	}
	id, err := ParseID(text)
	if err != nil {
		return "", fmt.Errorf("cohort_id: %w", err)
	}
	return id, nil
}

// ValidateRecord is Record.Validate for a record of a root with this form of keys. With Foxml a timestamp may be without a zone.
func (f KeyForm) ValidateRecord(r Record) error {
	if f.profile == Foxml {
		return r.ValidateStored()
	}
	return r.Validate()
}

// ValidateStored is Validate for a record of a stream, whatever root that is of: where a profile lets it, the timestamp has no zone.
func (r Record) ValidateStored() error {
	if r.Action == NoAction && isZoneless(r.Timestamp) {
		r.Timestamp += "Z"
	}
	return r.Validate()
}

// isZoneless tells whether a text is a time of RFC 3339 without its zone, as datetime.now().isoformat() in Python writes it.
func isZoneless(s string) bool {
	if s == "" {
		return false
	}
	_, _, ok := parseTime(s + "Z")
	return ok
}

// InCohort refuses a record that says itself that it is of another cohort than id, where roots of this form take it from there.
func (f KeyForm) InCohort(r Record, id ID) error {
	own, err := r.CohortIn(f)
	if err != nil || own == "" || own == id {
		return err
	}
	return fmt.Errorf("its cohort_id is %q, and it is appended to the cohort %q: leave --cohort out, or give that of the record", own, id)
}

// validateProfile refuses a record that a root with this profile cannot have.
func (f KeyForm) validateProfile(r Record) error {
	if f.profile != Foxml {
		return nil
	}
	mode := r.member(fieldMode)
	text := jsonscan.ScalarText(mode)
	if err := f.validate(fieldMode, mode, text); err != nil {
		return err
	}
	if text != "" && r.View != "" && !strings.EqualFold(text, r.View) {
		return fmt.Errorf("mode %q and view %q are two names of one field here, and differ: give one of them", text, r.View)
	}
	if text != "" && jsonscan.KindOf(mode) != jsonscan.String {
		return errors.New("mode must be a text: it is the view")
	}
	_, err := r.CohortIn(f)
	return err
}
