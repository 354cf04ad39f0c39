package cohort_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// forms are all that the first version of runfold.json had, and some others.
var forms = []string{
	`["run_id","phase"]`,
	`["run_id","phase","target"]`,
	`["run_id","phase","view"]`,
	`["run_id","phase","symbol"]`,
	`["run_id","phase","target","view"]`,
	`["run_id","phase","target","symbol"]`,
	`["run_id","phase","view","symbol"]`,
	`["run_id","phase","target","view","symbol"]`,
	`["run_id","phase","cohort_id"]`,
	`["run_id","phase","cohort_id","model_family"]`,
	`["run_id","phase","view","target"]`,
	`["run_id","phase","a:b","日 次","Target","target","1","2","3","4"]`,
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
		`["run_id","phase","run_id"]`,
		`["run_id","phase","stage"]`,
		`["run_id","phase","timestamp"]`,
		`["run_id","phase","snapshot"]`,
		`["run_id","phase","tags.of"]`,
		`["run_id","phase","_key"]`,
		`["run_id","phase","a\nb"]`,
		`["run_id","phase","1","2","3","4","5","6","7","8","9"]`,
		`["target","run_id","phase"]`,
		`["target","view","symbol"]`,
		`["run_id","phase","target","target"]`,
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
	_, err := cohort.ParseKeyForm([]string{"run_id", "phase", "tags.of"})
	want := `key ["run_id" "phase" "tags.of"]: tags.of is not a top-level field`
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

// TestKeyOfAnyField: cohort and top-level fields as they are spelled in their columns, absent ones as the root says.
func TestKeyOfAnyField(t *testing.T) {
	form := mustForm(t, "run_id", "phase", "cohort_id", "model_family", "fold no", "view")
	none, err := form.SpellAbsent(cohort.AbsentNone)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		json           string
		want, wantNone cohort.Key
	}{
		{`"model_family":"lgbm","fold no":3,"view":"v"`, "r:1:S:c:lgbm:3:v", "r:1:S:c:lgbm:3:v"},
		{`"fold no":"3"`, "r:1:S:c::3:", "r:1:S:c:NONE:3:NONE"},
		{`"fold\u0020no":9223372036854775807`, "r:1:S:c::9223372036854775807:", "r:1:S:c:NONE:9223372036854775807:NONE"},
		{`"fold no":1,"fold no":"last","cohort_id":"of the record"`, "r:1:S:c::last:", "r:1:S:c:NONE:last:NONE"},
		{`"model_family":null,"fold no":"","x":{"view":"v"}`, "r:1:S:c:::", "r:1:S:c:NONE:NONE:NONE"},
		{`"model_family":"\u00fc \"quoted\""`, "r:1:S:c:ü \"quoted\"::", "r:1:S:c:ü \"quoted\":NONE:NONE"},
	}
	for _, test := range tests {
		r, err := cohort.ParseRecord([]byte(`{"run_id":"r:1","stage":"S",`+test.json+`}`), 0)
		if err != nil {
			t.Fatal(err)
		}
		r.Cohort = "c"
		for form, want := range map[cohort.KeyForm]cohort.Key{form: test.want, none: test.wantNone} {
			key := form.Of(r)
			if key != want || form.Validate(r) != nil {
				t.Errorf("%s: Of = %q, Validate = %v, want %q", test.json, key, form.Validate(r), want)
			}
			run, stage, more, ok := form.Split(key)
			all := []string{run, stage, string(r.Cohort)}
			for _, text := range more[1:] {
				all = append(all, cmp0(text, form.Absent()))
			}
			if got := strings.Join(all, ":"); !ok || got != string(want) {
				t.Errorf("Split(%q) = %q, %q, %q, %v", key, run, stage, more, ok)
			}
		}
	}
	if _, _, _, ok := form.Split("r:S:c:x"); ok {
		t.Error("Split takes a key with too few parts")
	}
}

func cmp0(text, absent string) string {
	if text == "" {
		return absent
	}
	return text
}

// TestKeyFieldsThatAreRefused: what would be spelled otherwise in its column, or like something else in the key.
func TestKeyFieldsThatAreRefused(t *testing.T) {
	none, err := mustForm(t, "run_id", "phase", "target", "m").SpellAbsent(cohort.AbsentNone)
	if err != nil {
		t.Fatal(err)
	}
	const mustBe = `: it is in this root's key, so it must be a text or an integer`
	for json, want := range map[string]string{
		`"m":1.5`:                 `m is a double` + mustBe,
		`"m":true`:                `m is a bool` + mustBe,
		`"m":["a"]`:               `m is an array` + mustBe,
		`"target":{}`:             `target is an object` + mustBe,
		`"target":2.0`:            `target is a double` + mustBe,
		`"m":-0`:                  `m -0 is no integer of 64 bits: it is in this root's key, so write it as a text`,
		`"m":9223372036854775808`: `m 9223372036854775808 is no integer of 64 bits: it is in this root's key, so write it as a text`,
		`"m":"a:b"`:               `m "a:b" has a ':', which separates the parts of this root's key`,
		`"m":"NONE"`:              `m "NONE" is how this root's key spells an absent m: leave it out`,
		`"m":"\ud800"`:            `m has an escape that is no character`,
		`"m":"` + strings.Repeat("x", 1025) + `"`: `m of 1025 bytes is too long for a key: at most 1024`,
		`"m":-1`:             ``,
		`"x":true,"y":"a:b"`: ``,
	} {
		r, err := cohort.ParseRecord([]byte(`{"run_id":"r","stage":"S",`+json+`}`), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := message(none.Validate(r)); got != want {
			t.Errorf("%s: Validate = %q, want %q", json, got, want)
		}
		if err := (cohort.KeyForm{}).Validate(r); err != nil {
			t.Errorf("%s: in a root with the usual key: %v", json, err)
		}
	}
	if _, err := (cohort.KeyForm{}).SpellAbsent("NONE"); err == nil {
		t.Error("NONE goes with a key whose fields are in each record")
	}
	if _, err := none.SpellAbsent("none"); err == nil {
		t.Error("any spelling will do")
	}
}

// TestFacets: the fields in which two results differ, by the names that users know.
func TestFacets(t *testing.T) {
	r, err := cohort.ParseRecord([]byte(`{"target":"t","view":2,"symbol":null,"model_family":"lgbm"}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	r.Cohort = "a"
	other := cohort.Facets{Cohort: "b", Target: "t", View: "2", Symbol: "s"}
	want := []cohort.Difference{{"cohort_id", "a", "b"}, {"symbol", "", "s"}, {"model_family", "lgbm", ""}}
	if diff := cmp.Diff(want, r.Facets().Differences(other)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := r.Facets().Differences(r.Facets()); got != nil {
		t.Errorf("a result differs from itself in %v", got)
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
