package cohort_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// forms are all the forms there are.
var forms = []string{
	`["run_id","phase"]`,
	`["run_id","phase","target"]`,
	`["run_id","phase","view"]`,
	`["run_id","phase","symbol"]`,
	`["run_id","phase","target","view"]`,
	`["run_id","phase","target","symbol"]`,
	`["run_id","phase","view","symbol"]`,
	`["run_id","phase","target","view","symbol"]`,
}

func mustForm(t testing.TB, fields ...string) cohort.KeyForm {
	t.Helper()
	f, err := cohort.ParseKeyForm(fields)
	if err != nil {
		t.Fatalf("ParseKeyForm(%q): %v", fields, err)
	}
	return f
}

func TestKeyFormRoundTrip(t *testing.T) {
	for i, text := range forms {
		var f cohort.KeyForm
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Errorf("UnmarshalJSON(%s): %v", text, err)
			continue
		}
		if got, err := json.Marshal(f); string(got) != text || err != nil {
			t.Errorf("MarshalJSON of %s = %s, %v", text, got, err)
		}
		if got := mustForm(t, f.Fields()...); got != f {
			t.Errorf("ParseKeyForm(%q) = %v, want %v", f.Fields(), got, f)
		}
		if got, want := f.Wide(), i > 0; got != want {
			t.Errorf("Wide of %s = %v, want %v", text, got, want)
		}
		if got, want := f == (cohort.KeyForm{}), i == 0; got != want {
			t.Errorf("UnmarshalJSON(%s) is the zero value: %v, want %v", text, got, want)
		}
	}
}

func TestParseKeyFormRefuses(t *testing.T) {
	for _, text := range []string{
		`null`,
		`[]`,
		`["run_id"]`,
		`["phase"]`,
		`["phase","run_id"]`,
		`["run_id","stage"]`,
		`["run_id","phase","phase"]`,
		`["run_id","phase","view","target"]`,
		`["run_id","phase","symbol","view"]`,
		`["run_id","phase","symbol","target","view"]`,
		`["target","run_id","phase"]`,
		`["target","view","symbol"]`,
		`["run_id","phase","target","target"]`,
		`["run_id","phase","attempt"]`,
		`["run_id","phase","Target"]`,
		`["run_id","phase",""]`,
		`"run_id"`,
		`[1,2]`,
		`{}`,
	} {
		f := mustForm(t, "run_id", "phase", "view")
		if err := json.Unmarshal([]byte(text), &f); err == nil {
			t.Errorf("UnmarshalJSON(%s) = %q, want an error", text, f.Fields())
		}
	}
	_, err := cohort.ParseKeyForm([]string{"run_id", "phase", "view", "target"})
	want := `key ["run_id" "phase" "view" "target"] is not run_id, phase, then any of target, view, symbol in this order`
	if got := message(err); got != want {
		t.Errorf("ParseKeyForm = %q, want %q", got, want)
	}
}

func TestKeyFormOf(t *testing.T) {
	full := cohort.Record{RunID: "r:1", Stage: "TRAINING", Target: "ret5", View: "v2", Symbol: "DE"}
	short := cohort.Record{RunID: "r:1", Stage: "TRAINING"}
	tests := []struct {
		form        string
		full, short cohort.Key
	}{
		{forms[0], "r:1:TRAINING", "r:1:TRAINING"},
		{forms[1], "r:1:TRAINING:ret5", "r:1:TRAINING:"},
		{forms[2], "r:1:TRAINING:v2", "r:1:TRAINING:"},
		{forms[3], "r:1:TRAINING:DE", "r:1:TRAINING:"},
		{forms[4], "r:1:TRAINING:ret5:v2", "r:1:TRAINING::"},
		{forms[5], "r:1:TRAINING:ret5:DE", "r:1:TRAINING::"},
		{forms[6], "r:1:TRAINING:v2:DE", "r:1:TRAINING::"},
		{forms[7], "r:1:TRAINING:ret5:v2:DE", "r:1:TRAINING:::"},
	}
	for _, test := range tests {
		var f cohort.KeyForm
		if err := json.Unmarshal([]byte(test.form), &f); err != nil {
			t.Fatalf("UnmarshalJSON(%s): %v", test.form, err)
		}
		if got := f.Of(full); got != test.full {
			t.Errorf("%s: Of(%v) = %q, want %q", test.form, full.Version(), got, test.full)
		}
		if got := f.Of(short); got.String() != string(test.short) {
			t.Errorf("%s: Of(%v) = %q, want %q", test.form, short.Version(), got, test.short)
		}
	}
}

func TestKeyFormValidate(t *testing.T) {
	r := cohort.Record{RunID: "r:1", Stage: "S", Target: "a:b", View: "v", Symbol: "X:Y"}
	tests := []struct {
		form cohort.KeyForm
		want string
	}{
		{cohort.KeyForm{}, ``},
		{mustForm(t, "run_id", "phase", "view"), ``},
		{mustForm(t, "run_id", "phase", "target"), `target "a:b" has a ':', which separates the parts of this root's key`},
		{mustForm(t, "run_id", "phase", "symbol"), `symbol "X:Y" has a ':', which separates the parts of this root's key`},
		{mustForm(t, "run_id", "phase", "view", "symbol"), `symbol "X:Y" has a ':', which separates the parts of this root's key`},
	}
	for _, test := range tests {
		if got := message(test.form.Validate(r)); got != test.want {
			t.Errorf("KeyForm(%q).Validate = %q, want %q", test.form.Fields(), got, test.want)
		}
	}
}

// Records that differ in a part of the key never share a key, wherever a ':' stands.
func TestKeysAreUnambiguous(t *testing.T) {
	texts := []string{"", "a", "b", ":", "a:", ":a", "a:b"}
	for _, form := range []cohort.KeyForm{{}, mustForm(t, "run_id", "phase", "target"), mustForm(t, "run_id", "phase", "target", "view")} {
		seen := make(map[cohort.Key]cohort.Record)
		for _, run := range texts {
			for _, stage := range texts {
				for _, target := range texts {
					for _, view := range texts {
						r := cohort.Record{RunID: run, Stage: stage}
						if form.Wide() {
							r.Target = target
						}
						if len(form.Fields()) == 4 {
							r.View = view
						}
						if r.Validate() != nil || form.Validate(r) != nil {
							continue
						}
						key := form.Of(r)
						if old, ok := seen[key]; ok && !cmp.Equal(old, r, fields) {
							t.Errorf("KeyForm(%q).Of = %q for two records:\n%s", form.Fields(), key, cmp.Diff(old, r, fields))
						}
						seen[key] = r
					}
				}
			}
		}
	}
}

func TestParseKey(t *testing.T) {
	type parts = cohort.KeyParts
	tests := []struct {
		name        string
		text, runID string
		want        parts
	}{
		// Without the value's own run_id.
		{"plain", "r-1", "", parts{RunID: "r-1"}},
		{"empty", "", "", parts{}},
		{"ours", "r-1:TRAINING", "", parts{RunID: "r-1", Stage: "TRAINING"}},
		{"ours, ':' in run_id", "a:b:TRAINING", "", parts{RunID: "a:b", Stage: "TRAINING"}},
		{"ours, two ':' in run_id", "a:b:c:TRAINING", "", parts{RunID: "a:b:c", Stage: "TRAINING"}},
		{"ours, not ASCII", "日次:北-2026-03-01:TRAINING", "", parts{RunID: "日次:北-2026-03-01", Stage: "TRAINING"}},
		{"long", "r-1:TRAINING:ret5:v2:DE", "",
			parts{RunID: "r-1", Stage: "TRAINING", Target: "ret5", View: "v2", Symbol: "DE"}},
		{"long, with attempt", "r-1:TRAINING:ret5:v2:DE:1", "",
			parts{RunID: "r-1", Stage: "TRAINING", Target: "ret5", View: "v2", Symbol: "DE", Attempt: "1"}},
		{"long, empty parts", "r-1:TRAINING:::", "", parts{RunID: "r-1", Stage: "TRAINING"}},
		{"long, empty parts, with attempt", "r-1:TRAINING::::2", "",
			parts{RunID: "r-1", Stage: "TRAINING", Attempt: "2"}},
		{"seven parts are no known form", "a:b:c:d:e:f:TRAINING", "", parts{RunID: "a:b:c:d:e:f", Stage: "TRAINING"}},
		{"no stage", "r-1:", "", parts{RunID: "r-1"}},
		{"no run_id", ":TRAINING", "", parts{Stage: "TRAINING"}},

		// With it.
		{"plain", "r-1", "r-1", parts{RunID: "r-1"}},
		{"plain, ':' in run_id", "a:b", "a:b", parts{RunID: "a:b"}},
		{"plain, looks long", "a:b:c:d:e", "a:b:c:d:e", parts{RunID: "a:b:c:d:e"}},
		{"ours", "r-1:TRAINING", "r-1", parts{RunID: "r-1", Stage: "TRAINING"}},
		{"ours, ':' in run_id", "a:b:TRAINING", "a:b", parts{RunID: "a:b", Stage: "TRAINING"}},
		{"ours, looks long", "a:b:c:d:TRAINING", "a:b:c:d", parts{RunID: "a:b:c:d", Stage: "TRAINING"}},
		{"ours, looks long with attempt", "a:b:c:d:e:TRAINING", "a:b:c:d:e", parts{RunID: "a:b:c:d:e", Stage: "TRAINING"}},
		{"ours, not ASCII", "日次:北-2026-03-01:TRAINING", "日次:北-2026-03-01",
			parts{RunID: "日次:北-2026-03-01", Stage: "TRAINING"}},
		{"wide, one part", "r-1:TRAINING:ret5", "r-1", parts{RunID: "r-1", Stage: "TRAINING", Target: "ret5"}},
		{"long", "r-1:TRAINING:ret5:v2:DE", "r-1",
			parts{RunID: "r-1", Stage: "TRAINING", Target: "ret5", View: "v2", Symbol: "DE"}},
		{"long, ':' in run_id", "a:b:TRAINING:ret5:v2:DE", "a:b",
			parts{RunID: "a:b", Stage: "TRAINING", Target: "ret5", View: "v2", Symbol: "DE"}},
		{"long, ':' in run_id, with attempt", "a:b:TRAINING:ret5:v2:DE:1", "a:b",
			parts{RunID: "a:b", Stage: "TRAINING", Target: "ret5", View: "v2", Symbol: "DE", Attempt: "1"}},
		{"parts beyond the known", "r-1:TRAINING:ret5:v2:DE:1:2", "r-1",
			parts{RunID: "r-1", Stage: "TRAINING", Target: "ret5", View: "v2", Symbol: "DE", Attempt: "1:2"}},

		// Where it does not fit, the text alone decides.
		{"other run_id", "r-1:TRAINING", "r-2", parts{RunID: "r-1", Stage: "TRAINING"}},
		{"run_id is a prefix without ':'", "r-10:TRAINING", "r-1", parts{RunID: "r-10", Stage: "TRAINING"}},
		{"run_id is longer", "r-1", "r-1:x", parts{RunID: "r-1"}},
	}
	for _, test := range tests {
		got := cohort.ParseKey(test.text, test.runID)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: ParseKey(%q, %q) (-want +got):\n%s", test.name, test.text, test.runID, diff)
		}
	}
}

// What the narrow form writes, ParseKey reads, given the run_id that stands in every value.
func FuzzParseKey(f *testing.F) {
	f.Add("r-1:TRAINING", "r-1", "TRAINING")
	f.Add("r-1:TRAINING:ret5:v2:DE:1", "", "S")
	f.Add("a:b:c:d:e", "a:b", "")
	f.Add(":::::::", ":", ":")
	f.Add("日次:北", "größe:", "\xff")
	f.Fuzz(func(t *testing.T, text, runID, stage string) {
		parts := cohort.ParseKey(text, runID)
		all := []string{parts.RunID, parts.Stage, parts.Target, parts.View, parts.Symbol, parts.Attempt}
		if got := strings.TrimRight(strings.Join(all, ":"), ":"); got != strings.TrimRight(text, ":") {
			t.Errorf("ParseKey(%q, %q) = %q, want parts that join to the text", text, runID, all)
		}
		r := cohort.Record{RunID: runID, Stage: stage}
		if r.Validate() != nil {
			return
		}
		key := cohort.KeyForm{}.Of(r)
		if got, want := cohort.ParseKey(key.String(), runID), (cohort.KeyParts{RunID: runID, Stage: stage}); got != want {
			t.Errorf("ParseKey(%q, %q) = %q, want %q", key, runID, got, want)
		}
	})
}
