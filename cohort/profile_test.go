package cohort_test

import (
	"slices"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
)

func parsed(t *testing.T, json string) cohort.Record {
	t.Helper()
	r, err := cohort.ParseRecord([]byte(json), 0)
	if err != nil {
		t.Fatalf("ParseRecord(%s): %v", json, err)
	}
	return r
}

func TestFoxmlKeys(t *testing.T) {
	form := cohort.Foxml.Key()
	for _, test := range []struct {
		json string
		want cohort.Key
		more []string
	}{
		{`{"run_id":"r","phase":"TRAINING"}`, "r:TRAINING:NONE:NONE:NONE:NONE", []string{"", "", "", ""}},
		{`{"run_id":"r/1","phase":"TRAINING","target":"y/5m","mode":"CROSS_SECTIONAL","symbol":"BRK/B","model_family":"a\\b"}`,
			"r/1:TRAINING:y_5m:CROSS_SECTIONAL:BRK_B:a_b", []string{"y_5m", "CROSS_SECTIONAL", "BRK_B", "a_b"}},
		{`{"run_id":"r","stage":"S","view":"cross_sectional"}`, "r:S:NONE:CROSS_SECTIONAL:NONE:NONE", []string{"", "CROSS_SECTIONAL", "", ""}},
		{`{"run_id":"r","stage":"S","view":"Loso","mode":"LOSO","symbol":null}`, "r:S:NONE:LOSO:NONE:NONE", []string{"", "LOSO", "", ""}},
		{`{"run_id":"r:2","stage":"S","view":"","mode":"loso","symbol":7}`, "r:2:S:NONE:LOSO:7:NONE", []string{"", "LOSO", "7", ""}},
	} {
		r := parsed(t, test.json)
		if err := form.Validate(r); err != nil {
			t.Errorf("Validate(%s): %v", test.json, err)
		}
		got := form.Of(r)
		if got != test.want {
			t.Errorf("Of(%s) = %q, want %q", test.json, got, test.want)
		}
		runID, stage, more, ok := form.Split(got)
		if !ok || runID != r.RunID || stage != r.Stage || !slices.Equal(more, test.more) {
			t.Errorf("Split(%q) = %q, %q, %q, %v, want %q", got, runID, stage, more, ok, test.more)
		}
	}
}

func TestFoxmlRefuses(t *testing.T) {
	form := cohort.Foxml.Key()
	for json, want := range map[string]string{
		`{"run_id":"r","phase":"S","view":"LOSO","mode":"CROSS_SECTIONAL"}`: `mode "CROSS_SECTIONAL" and view "LOSO" are two names of one field here, and differ: give one of them`,
		`{"run_id":"r","phase":"S","mode":["LOSO"]}`:                        "mode is an array: it is in this root's key, so it must be a text or an integer",
		`{"run_id":"r","phase":"S","mode":3}`:                               "mode must be a text: it is the view",
		`{"run_id":"r","phase":"S","mode":"none"}`:                          `mode "none" is how this root's key spells an absent mode: leave it out`,
		`{"run_id":"r","phase":"S","view":"a:b"}`:                           `view "a:b" has a ':', which separates the parts of this root's key`,
		`{"run_id":"r","phase":"S","cohort_id":7}`:                          "cohort_id must be a string, is an int64",
		`{"run_id":"r","phase":"S","cohort_id":"../up"}`:                    `cohort_id: cohort name "../up" starts with a dot`,
	} {
		if got := message(form.Validate(parsed(t, json))); got != want {
			t.Errorf("Validate(%s) = %q, want %q", json, got, want)
		}
	}
	r := parsed(t, `{"run_id":"r","phase":"S","cohort_id":"b"}`)
	want := `its cohort_id is "b", and it is appended to the cohort "a": leave --cohort out, or give that of the record`
	if got := message(form.InCohort(r, "a")); got != want {
		t.Errorf("InCohort = %q, want %q", got, want)
	}
	if err := form.InCohort(r, "b"); err != nil {
		t.Errorf("InCohort of its own cohort: %v", err)
	}
	if err := (cohort.KeyForm{}).InCohort(r, "a"); err != nil {
		t.Errorf("InCohort without a profile: %v", err)
	}
}

func TestFoxmlTimes(t *testing.T) {
	form := cohort.Foxml.Key()
	r := parsed(t, `{"run_id":"r","phase":"S","timestamp":"2026-03-01T12:00:00.123456"}`)
	if err := form.ValidateRecord(r); err != nil {
		t.Errorf("ValidateRecord of a time without a zone: %v", err)
	}
	if err := (cohort.KeyForm{}).ValidateRecord(r); err == nil {
		t.Error("a root without a profile takes a time without a zone")
	}
	if want := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC); !r.Time().Equal(want) || r.TimeText() != "2026-03-01T12:00:00.123456" {
		t.Errorf("Time = %v, TimeText %q, want %v and what was written", r.Time(), r.TimeText(), want)
	}
	if err := form.ValidateRecord(parsed(t, `{"run_id":"r","phase":"S","timestamp":"yesterday"}`)); err == nil {
		t.Error("yesterday is taken for a time")
	}
}

// An action names fields as a record does. It meets the rows whose keys spell them so.
func TestFoxmlActions(t *testing.T) {
	form := cohort.Foxml.Key()
	act, err := cohort.NewAction(cohort.Withdraw, cohort.Aim{RunID: "r", More: map[string]string{"target": "y/5m", "view": "loso"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	at := form.AimOf(act)
	if !at.Meets(form, "r:S:y_5m:LOSO:NONE:NONE") || at.Meets(form, "r:S:y_6m:LOSO:NONE:NONE") {
		t.Errorf("an action on y/5m meets the wrong keys: %+v", at)
	}
}
