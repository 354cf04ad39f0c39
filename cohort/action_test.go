package cohort

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAction(t *testing.T) {
	for _, test := range []struct{ json, err string }{
		{`{"action":"withdraw","run_id":"r"}`, ""},
		{`{"action":"undo","run_id":"r:1","stage":"T","target":"x","reason":"because"}`, ""},
		{`{"action":"protect","run_id":"r","phase":"T"}`, ""},
		{`{"action":"withdraw"}`, "run_id is missing"},
		{`{"run_id":"r"}`, `action "": written by a newer version of runfold`},
		{`{"action":"forget","run_id":"r"}`, `action "forget": written by a newer version of runfold`},
		{`{"action":"withdraw","run_id":"r","stage":"a:b"}`, `stage "a:b" has a ':', which separates run_id and stage in keys`},
		{`{"action":"withdraw","run_id":"r","action":"protect"}`, "action stands twice in an action: it is no further field of a key there"},
		{`{"action":"withdraw","run_id":"r","run_id":"r"}`, "run_id stands twice in an action: it is no further field of a key there"},
		{`{"action":"withdraw","run_id":"r","n":1}`, "n of an action must be a text"},
		{`{"action":"withdraw","run_id":"r","x":null}`, "x of an action must be a text"},
		{`{"action":"withdraw","run_id":"r","x":"\ud800"}`, "x of an action must be a text"},
		{`{"action":"withdraw","run_id":"` + strings.Repeat("r", maxText+1) + `"}`, "run_id or stage is too long: at most 1024 bytes"},
		{`{"action":"withdraw","run_id":"r","reason":"` + strings.Repeat("r", MaxReason+1) + `"}`, "reason of 4097 bytes is too long: at most 4096"},
		{`["action"]`, "record is a JSON array: it must be an object"},
		{``, "record is empty"},
	} {
		_, err := ParseAction([]byte(test.json))
		if got := fmt.Sprint(err); got != test.err && (err != nil || test.err != "") {
			t.Errorf("ParseAction(%.80s) = %s, want %s", test.json, got, test.err)
		}
	}
	if _, err := ActionNamed("withdrawn"); !errors.Is(err, ErrNewer) {
		t.Errorf("an unknown action is %v, want ErrNewer", err)
	}
}

func FuzzParseAction(f *testing.F) {
	f.Add([]byte(`{"action":"withdraw","run_id":"r","stage":"T","reason":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseAction(data)
		if err != nil {
			return
		}
		again, err := ParseAction(r.JSON)
		if err != nil || again.Action != r.Action || again.RunID != r.RunID || again.Stage != r.Stage {
			t.Errorf("ParseAction(%q) = %v %q %q, and its JSON gives %v %q %q, %v", data, r.Action, r.RunID, r.Stage, again.Action, again.RunID, again.Stage, err)
		}
	})
}

func TestAim(t *testing.T) {
	wide, err := ParseKeyForm([]string{"run_id", "phase", "cohort_id", "target"})
	if err != nil {
		t.Fatal(err)
	}
	none, err := wide.SpellAbsent(AbsentNone)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []KeyForm{{}, wide, none} {
		for _, json := range []string{`{"run_id":"a:b","stage":"S","target":"x"}`, `{"run_id":"a:b","stage":"S"}`} {
			r, err := ParseRecord([]byte(json), 0)
			if err != nil {
				t.Fatal(err)
			}
			r.Cohort = "c"
			key := form.Of(r)
			aim, err := form.AimAt(key)
			if err != nil {
				t.Fatal(err)
			}
			act, err := NewAction(Withdraw, aim, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := form.ValidateAction(act); err != nil {
				t.Errorf("%v: the action on %q is refused: %v", form, key, err)
			}
			got := form.AimOf(act)
			if !got.IsWhole(form) || got.Key(form, "c") != key || !got.Meets(form, key) {
				t.Errorf("%v: the aim at %q is whole %v, is about %q, meets it %v", form, key, got.IsWhole(form), got.Key(form, "c"), got.Meets(form, key))
			}
			if some := (Aim{RunID: "a:b"}); !some.Meets(form, key) || some.IsWhole(form) {
				t.Errorf("%v: the aim at run a:b meets %q %v, is whole %v", form, key, some.Meets(form, key), some.IsWhole(form))
			}
			for _, other := range []Aim{{RunID: "a"}, {RunID: "a:b", Stage: "T"}, {RunID: "b", Stage: "S"}} {
				if other.Meets(form, key) {
					t.Errorf("%v: %v meets %q", form, other, key)
				}
			}
		}
	}
	if (Aim{RunID: "r", Stage: "S", More: map[string]string{"target": "y"}}).Meets(wide, "r:S:c:x") {
		t.Error("an aim at target y meets a key with target x")
	}
	act, err := NewAction(Withdraw, Aim{RunID: "r", More: map[string]string{"target": "x"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := (KeyForm{}).ValidateAction(act); err == nil {
		t.Error("an action names a field that is not in the key, and is not refused")
	}
}

// TestActionOfReservedNames: what an action says itself is no field of a key. Else it would be about another run, or do something else.
func TestActionOfReservedNames(t *testing.T) {
	for name, reason := range map[string]string{"action": "", "run_id": "", "stage": "", "reason": "because"} {
		if r, err := NewAction(Withdraw, Aim{RunID: "r", Stage: "S", More: map[string]string{name: "protect"}}, reason); err == nil {
			t.Errorf("a further field %s gives %s", name, r.JSON)
		}
	}
}

// acted makes an action with a place in the order.
func acted(t *testing.T, a Action, at Aim, stamp Stamp) Record {
	t.Helper()
	r, err := NewAction(a, at, "")
	if err != nil {
		t.Fatal(err)
	}
	r.Cohort, r.Stamp, r.ID = "c", stamp, fmt.Sprintf("id-%d", stamp)
	return r
}

func TestDecide(t *testing.T) {
	run, row := Aim{RunID: "r"}, Aim{RunID: "r", Stage: "S"}
	for _, test := range []struct {
		name      string
		acts      []Record
		at        Stamp // of the row
		out       bool
		protected bool
		refused   int
	}{
		{name: "nothing", at: 5},
		{name: "a later withdrawal", acts: []Record{acted(t, Withdraw, row, 6)}, at: 5, out: true},
		{name: "of the whole run", acts: []Record{acted(t, Withdraw, run, 6)}, at: 5, out: true},
		{name: "an earlier one", acts: []Record{acted(t, Withdraw, row, 4)}, at: 5},
		{name: "of another stage", acts: []Record{acted(t, Withdraw, Aim{RunID: "r", Stage: "T"}, 6)}, at: 5},
		{name: "an undo after it", acts: []Record{acted(t, Withdraw, row, 6), acted(t, Undo, run, 7)}, at: 5},
		{name: "an undo before it", acts: []Record{acted(t, Withdraw, row, 7), acted(t, Undo, row, 6)}, at: 5, out: true},
		{name: "protected before", acts: []Record{acted(t, Protect, row, 3), acted(t, Withdraw, row, 6)}, at: 5, protected: true, refused: 1},
		{name: "protected after", acts: []Record{acted(t, Withdraw, row, 6), acted(t, Protect, row, 7)}, at: 5, out: true, protected: true},
		{name: "one before the protection, one after", acts: []Record{acted(t, Withdraw, row, 6), acted(t, Protect, row, 7), acted(t, Withdraw, row, 8)}, at: 5, out: true, protected: true, refused: 1},
		{name: "not protected any more", acts: []Record{acted(t, Protect, row, 1), acted(t, Unprotect, run, 2), acted(t, Withdraw, row, 6)}, at: 5, out: true},
		{name: "a protected row that was written again", acts: []Record{acted(t, Protect, row, 1), acted(t, Withdraw, row, 2)}, at: 5, protected: true},
	} {
		rnd := rand.New(rand.NewPCG(1, 2))
		for range 10 {
			set := NewInForce(KeyForm{})
			acts := slices.Concat(test.acts, test.acts) // each twice, as of a stream that came back
			rnd.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
			for _, r := range acts {
				set.Add(r)
			}
			got := set.Decide("r:S", Version{Stamp: test.at, RecordID: "x"}, "c")
			if got.Withdrawn != test.out || got.Protected != test.protected || len(got.Refused) != test.refused || (got.By != nil) != test.out {
				t.Errorf("%s: Decide = withdrawn %v, protected %v, %d refused", test.name, got.Withdrawn, got.Protected, len(got.Refused))
			}
			if diff := cmp.Diff(Verdict{}, set.Decide("r:S", Version{Stamp: test.at}, "other")); diff != "" {
				t.Errorf("%s: the row of another cohort (-nothing +got):\n%s", test.name, diff)
			}
		}
	}
}
