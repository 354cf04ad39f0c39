package compactor_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake"
)

// TestPrevious asks before and after the last records are folded: with Unfolded the answers are the same.
func TestPrevious(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c",
		`{"run_id":"r1","stage":"S"}`, `{"run_id":"r2","stage":"S"}`, `{"run_id":"r2","stage":"OTHER"}`, `{"run_id":"r3","stage":"S"}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "d", `{"run_id":"r4","stage":"S"}`)
	appendTo(t, root, "c", `{"run_id":"r1","stage":"S","again":true}`) // r1 now comes after r3
	for _, isFolded := range []bool{false, true} {
		if isFolded {
			foldNow(t, compactor.Config{Root: root})
		}
		for _, test := range []struct{ cohort, run, stage, want string }{
			{"c", "r3", "S", "r2:S"}, {"c", "r2", "S", ""}, {"c", "r1", "S", "r3:S"}, {"c", "new", "S", "r1:S"},
			{"c", "r2", "OTHER", ""}, {"c", "new", "OTHER", "r2:OTHER"}, {"d", "r4", "S", ""}, {"none", "r1", "S", ""},
		} {
			q := compactor.Query{Cohort: cohort.ID(test.cohort), RunID: test.run, Stage: test.stage, Unfolded: !isFolded}
			got, ok, err := compactor.Previous(context.Background(), compactor.Config{Root: root}, q)
			if err != nil || string(got.Key) != test.want || ok != (test.want != "") {
				t.Errorf("Previous(%+v) = %q, %v, %v; want %q", q, got.Key, ok, err, test.want)
			}
			q.Unfolded = false
			got, _, err = compactor.Previous(context.Background(), compactor.Config{Root: root}, q)
			if want := map[string]string{"r1": "", "new": "r3:S"}[test.run]; err != nil || !isFolded && test.cohort == "c" && test.stage == "S" && want != "" && string(got.Key) != want {
				t.Errorf("Previous(%+v) of what is folded = %q, %v; want %q", q, got.Key, err, want)
			}
		}
	}
}

// TestPreviousOfAWideKey: the run before has the same key, without the run, and other fields can be asked for. The same
// before the fold and after it.
func TestPreviousOfAWideKey(t *testing.T) {
	for _, absent := range []string{"", cohort.AbsentNone} {
		form, err := cohort.ParseKeyForm([]string{"run_id", "phase", "cohort_id", "target", "view"})
		if err == nil {
			form, err = form.SpellAbsent(absent)
		}
		if err != nil {
			t.Fatal(err)
		}
		root := audited(t, newRootWith(t, cohort.Settings{Key: form}))
		appendTo(t, root, "c",
			`{"run_id":"r1","stage":"S","target":"ta"}`, `{"run_id":"r1","stage":"S","target":"tb","view":1,"by":"bot"}`,
			`{"run_id":"r2","stage":"S","target":"ta"}`, `{"run_id":"r2","stage":"S","target":"tb","view":2}`,
			`{"run_id":"r3","stage":"S","target":"tb","view":1}`,
			`{"run_id":"r4","stage":"S","target":"ta"}`, `{"run_id":"r4","stage":"S","target":"tb"}`, `{"run_id":"r4","stage":"S","target":"tb","view":1}`)
		appendTo(t, root, "d", `{"run_id":"r3","stage":"S","target":"ta"}`)
		for _, unfolded := range []bool{true, false} {
			if !unfolded {
				foldNow(t, compactor.Config{Root: root})
			}
			for _, test := range []struct{ run, where, want, said string }{
				{"r3", "", "r1:S:c:tb:1", ""}, // its one row says which
				{"r2", "target=ta", "r1:S:c:ta:", ""},
				{"r2", "target=tb view=2", "", ""}, // there is no other one with view 2
				{"r2", "", "", `run "r2" has several rows in cohort c, stage S: ["r2:S:c:ta:" "r2:S:c:tb:2"]: say which target, view is meant`},
				{"r4", "target=tb", "", `run "r4" has several rows in cohort c, stage S, target "tb": ["r4:S:c:tb:" "r4:S:c:tb:1"]: say which view is meant`},
				{"r4", "target=tb view=1", "r3:S:c:tb:1", ""},
				{"r4", "target=tb view=", "", ""},
				{"r4", "view= target=ta", "r2:S:c:ta:", ""},
				{"r4", "target=tb view=1 by=bot", "r1:S:c:tb:1", `run "r4" has no row in cohort c, stage S, by "bot", target "tb", view "1": the newest run there counts as the one before`},
				{"new", "", "r4:S:c:tb:1", `run "new" has no row in cohort c, stage S: the newest run there counts as the one before, whatever its target, view`},
				{"new", "target=ta", "r4:S:c:ta:", `run "new" has no row in cohort c, stage S, target "ta": the newest run there counts as the one before, whatever its view`},
				{"new", "target=tc", "", `there is no run at all in cohort c, stage S, target "tc"`},
				{"r1", "by=nobody", "", `there is no run at all in cohort c, stage S, by "nobody"`},
				{"r1", "cohort_id=d", "", `where cohort_id: only other top-level fields can be asked for, such as target`},
			} {
				q := compactor.Query{Cohort: "c", RunID: test.run, Stage: "S", Unfolded: unfolded, Where: map[string]string{}}
				for _, pair := range strings.Fields(test.where) {
					name, text, _ := strings.Cut(pair, "=")
					q.Where[name] = text
				}
				said := &notices{}
				got, ok, err := compactor.Previous(t.Context(), compactor.Config{Root: root, Notify: said.add}, q)
				if absent != "" {
					test.want, test.said = noneIn(test.want), noneIn(test.said)
				}
				if string(got.Key) != test.want || ok != (test.want != "") || said.text()+errText(err) != test.said {
					t.Errorf("unfolded %v: Previous(%s, %s) = %q, %v, says %q, want %q and %q", unfolded, test.run, test.where, got.Key, err, said.text(), test.want, test.said)
				}
			}
		}
	}
}

// noneIn is a text with keys in which an absent view is spelled NONE.
func noneIn(text string) string {
	for _, key := range []string{"r1:S:c:ta:", "r2:S:c:ta:", "r4:S:c:ta:", "r4:S:c:tb:"} {
		text = regexp.MustCompile(key+`("|$)`).ReplaceAllString(text, key+cohort.AbsentNone+"$1")
	}
	return text
}

// TestPreviousInFile orders by snapshot_seq where both have one, else by timestamp, with one notice.
func TestPreviousInFile(t *testing.T) {
	const file = `{
		"r1:S": {"timestamp": "2025-01-01T00:00:00Z"},
		"r2:S": {"timestamp": "2025-01-05T00:00:00Z", "snapshot_seq": 2},
		"r3:S": {"timestamp": "2025-01-03T00:00:00Z", "snapshot_seq": 3},
		"r4:OTHER": {"timestamp": "2025-01-04T00:00:00Z"}}`
	for run, want := range map[string]string{"r3": "r2:S", "r2": "r1:S", "r1": "", "new": "r3:S"} {
		said := &notices{}
		got, ok, err := intake.PreviousInFile(strings.NewReader(file), compactor.Query{Cohort: "c", RunID: run, Stage: "S"}, said.add)
		if err != nil || ok != (want != "") || string(got.Key) != want {
			t.Errorf("PreviousInFile before %s = %q, %v; want %q", run, got.Key, err, want)
		}
		want := "1 snapshots have no snapshot_seq: ordered by timestamp"
		if run == "new" {
			want += "\nrun \"new\" has no row in cohort c, stage S: the newest run there counts as the one before"
		}
		if said.text() != want {
			t.Errorf("notices %q, want %q", said.text(), want)
		}
	}
}

// TestPreviousInFileOfLongKeys: what stands in a key after the stage must be the same, an attempt not; NONE is absent. Short keys, as
// older programs wrote them, say nothing of it.
func TestPreviousInFileOfLongKeys(t *testing.T) {
	const file = `{
		"r0:S": {"run_id": "r0", "snapshot_seq": 1},
		"o1:S": {"run_id": "o1", "snapshot_seq": 2, "target": "tz"},
		"r1:S:ta:NONE:x": {"run_id": "r1", "snapshot_seq": 3, "by": "bot"},
		"r1:S:tb:NONE:x:1": {"run_id": "r1", "snapshot_seq": 4},
		"r2:S:ta::x:1": {"run_id": "r2", "snapshot_seq": 5},
		"r2:S:ta::x:2": {"run_id": "r2", "snapshot_seq": 6},
		"r3:S:tb:v:x": {"run_id": "r3", "snapshot_seq": 7},
		"r4:S:ta:NONE:x": {"run_id": "r4", "snapshot_seq": 8},
		"r4:S:tb:NONE:x": {"run_id": "r4", "snapshot_seq": 9},
		"w1:S:DE": {"run_id": "w1", "stage": "S", "snapshot_seq": 10, "symbol": "DE"},
		"w2:S:FR": {"run_id": "w2", "stage": "S", "snapshot_seq": 11, "symbol": "FR"},
		"w3:S:DE": {"run_id": "w3", "stage": "S", "snapshot_seq": 12, "symbol": "DE"}}`
	for _, test := range []struct{ run, where, want, said string }{
		{"r2", "", "r1:S:ta:NONE:x", ""},
		{"r1", "", "", `run "r1" has several rows in cohort c, stage S: ["r1:S:ta:NONE:x" "r1:S:tb:NONE:x:1"]: say which target is meant`},
		{"r1", "target=tb", "", ""},
		{"r4", "target=tb", "r1:S:tb:NONE:x:1", ""},
		{"r4", "target=ta", "r2:S:ta::x:2", ""},
		{"r3", "", "r0:S", ""},
		{"w3", "", "w1:S:DE", ""},
		{"r2", "by=bot", "r1:S:ta:NONE:x", `run "r2" has no row in cohort c, stage S, by "bot": the newest run there counts as the one before`},
		{"typo", "target=none", "", `there is no run at all in cohort c, stage S, target "none"`},
	} {
		q := compactor.Query{Cohort: "c", RunID: test.run, Stage: "S"}
		if name, text, ok := strings.Cut(test.where, "="); ok {
			q.Where = map[string]string{name: text}
		}
		said := &notices{}
		got, ok, err := intake.PreviousInFile(strings.NewReader(file), q, said.add)
		if string(got.Key) != test.want || ok != (test.want != "") || said.text()+errText(err) != test.said {
			t.Errorf("PreviousInFile(%s, %s) = %q, says %q, want %q and %q", test.run, test.where, got.Key, said.text()+errText(err), test.want, test.said)
		}
	}
}
