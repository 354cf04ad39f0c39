package optuna

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/compactor/intake/tracker/trackertest"
)

func runsOf(t testing.TB, journal string, o tracker.Options) (runs []tracker.Run, left []string) {
	t.Helper()
	file := filepath.Join(trackertest.Dir(t, map[string]string{"journal.log": journal}), "journal.log")
	return trackertest.Read(file, Runs(context.Background(), file, o))
}

const (
	floats = `"{\"name\": \"FloatDistribution\", \"attributes\": {\"low\": 0, \"high\": 1, \"log\": false, \"step\": null}}"`
	ints   = `"{\"name\": \"IntDistribution\", \"attributes\": {\"low\": 0, \"high\": 9, \"log\": false, \"step\": 1}}"`
	kinds  = `"{\"name\": \"CategoricalDistribution\", \"attributes\": {\"choices\": [\"adam\", null, true, 0.5, NaN]}}"`
	study1 = `{"op_code":0,"worker_id":"w","study_name":"s","directions":[1]}` + "\n"
	trial1 = `{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":"2026-01-31T12:00:00.5"}` + "\n"
)

func param(trial int, name, value, distribution string) string {
	return fmt.Sprintf(`{"op_code":5,"worker_id":"w","trial_id":%d,"param_name":%q,"param_value_internal":%s,"distribution":%s}`+"\n", trial, name, value, distribution)
}

func state(trial, state int, values string) string {
	return fmt.Sprintf(`{"op_code":6,"worker_id":"w","trial_id":%d,"state":%d,"values":%s,"datetime_complete":"2026-01-31T12:00:01"}`+"\n", trial, state, values)
}

func TestTrial(t *testing.T) {
	runs, left := runsOf(t, study1+trial1+param(0, "x", "0.5", floats)+param(0, "n", "3.0", ints)+param(0, "k", "0", kinds)+param(0, "none", "1", kinds)+
		`{"op_code":7,"worker_id":"w","trial_id":0,"step":10,"intermediate_value":0.25}`+"\n"+`{"op_code":7,"worker_id":"w","trial_id":0,"step":9,"intermediate_value":NaN}`+"\n"+
		`{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"who":"ann"}}`+"\n"+`{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"list":[1]}}`+"\n"+
		`{"op_code":9,"worker_id":"w","trial_id":0,"system_attr":{"seed":7}}`+"\n"+state(0, 1, "[0.125]")+
		param(0, "late", "1", floats)+state(0, 3, "[1]"), tracker.Options{}) // which Optuna ignores
	if len(runs) != 1 || len(left) != 0 {
		t.Fatalf("%d runs, left out %q", len(runs), left)
	}
	const want = `{"run_id":"s-0","stage":"RUN","timestamp":"2026-01-31T12:00:01.000000Z","status":"FINISHED","start_time":"2026-01-31T12:00:00.500000Z","end_time":"2026-01-31T12:00:01.000000Z",` +
		`"metrics":{"value":0.125},"params":{"x":0.5,"n":3,"k":"adam","none":null},"tags":{"state":"COMPLETE","who":"ann"},"snapshot":{"tracker":"optuna","study":{"name":"s","directions":["MINIMIZE"]},` +
		`"number":0,"user_attrs":{"who":"ann","list":[1]},"system_attrs":{"seed":7},"history":{"intermediate_value":{"step":[9,10],"value":[null,0.25]}}}}`
	if got := trackertest.JSON(runs[0]); got != want {
		t.Errorf("record\n%s\nwant\n%s", got, want)
	}
	if runs[0].Zoned != 2 || runs[0].NonFinite() != 1 {
		t.Errorf("%d times without a zone, %d values that are no numbers", runs[0].Zoned, runs[0].NonFinite())
	}
}

// TestJournal applies operations as Optuna does.
func TestJournal(t *testing.T) {
	finished := func(n int) string { return state(n, 1, "[1]") }
	for name, c := range map[string]struct {
		journal string
		want    string // ids with their states, and what was left out
		torn    bool
	}{
		"two trials, one waits": {study1 + trial1 + `{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":null,"state":4}` + "\n", "s-0 RUNNING, s-1 SCHEDULED", false},
		"it runs, and again":    {study1 + `{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":null,"state":4}` + "\n" + `{"op_code":6,"trial_id":0,"state":0,"values":null,"datetime_start":"2026-01-31T12:00:00"}` + "\n", "s-0 RUNNING", false},
		"deleted study":         {study1 + trial1 + `{"op_code":1,"study_id":0}` + "\n" + study1 + trial1 + strings.Replace(trial1, `_id":0`, `_id":1`, 1), "s-0 RUNNING deleted, s-0 RUNNING", false},
		"study twice":           {study1 + study1 + trial1, "s-0 RUNNING", false},
		"no such study":         {study1 + trial1 + strings.Replace(trial1, `_id":0`, `_id":7`, 1), "s-0 RUNNING", false},
		"no such trial":         {study1 + finished(3), "", false},
		"other distribution":    {study1 + trial1 + trial1 + param(0, "x", "0.5", floats) + param(1, "x", "3", ints), "s-0 RUNNING x=0.5, s-1 RUNNING", false},
		"pruned and failed":     {study1 + trial1 + trial1 + state(0, 2, "[2]") + state(1, 3, "null"), "s-0 KILLED, s-1 FAILED", false},
		"torn":                  {study1 + trial1 + `{"op_code":6,"trial_`, "s-0 RUNNING", true},
		"unterminated but good": {study1 + strings.TrimSpace(trial1), "s-0 RUNNING", false},
		"bad line":              {study1 + "{\n" + trial1 + "[1]\n", "s-0 RUNNING; line 2: is not an operation of Optuna's journal; line 4: is not an operation of Optuna's journal", false},
		"newer":                 {study1 + trial1 + `{"op_code":12}` + "\n", "s-0 RUNNING; line 3: has the operation 12, which is not known: it may be of a newer Optuna", false},
		"choice out of bounds":  {study1 + trial1 + param(0, "k", "9", kinds), "s-0 RUNNING; line 3: has a parameter that its distribution does not have: choice 9 of 5", false},
		"odd distribution":      {study1 + trial1 + param(0, "k", "9", `"{}"`), "s-0 RUNNING; line 3: has a distribution that is not one of Optuna", false},
		"newer distribution":    {study1 + trial1 + param(0, "k", "1", `"{\"name\":\"Normal\"}"`), "s-0 RUNNING; line 3: has a parameter that its distribution does not have: Normal is not known: it may be of a newer Optuna", false},
		"newer state":           {study1 + trial1 + state(0, 9, "null"), "s-0 FAILED; line 3: has the state 9, which is not known: it may be of a newer Optuna", false},
		"no time":               {study1 + strings.Replace(trial1, "2026-01-31T12:00:00.5", "noon", 1), `;: trial 0 of study "s": started at "noon", which is not a time, or not one of that zone`, false},
		"nothing":               {"", ";DIR has no operation of Optuna's JournalStorage: each line of such a file is a JSON object with an op_code", false},
		"text":                  {strings.Repeat("no\n", 1000), ";DIR has no operation of Optuna's JournalStorage: each line of such a file is a JSON object with an op_code", false},
	} {
		t.Run(name, func(t *testing.T) {
			runs, left := runsOf(t, c.journal, tracker.Options{})
			var got []string
			torn := false
			for _, r := range runs {
				text := r.ID + " " + r.Status
				if r.Deleted {
					text += " deleted"
				}
				if r.Params.Len() > 0 {
					text += " " + strings.NewReplacer(`{"`, "", `":`, "=", "}", "").Replace(string(r.Params.Bytes()))
				}
				got = append(got, text)
				torn = torn || r.Torn != ""
			}
			all := strings.Join(append([]string{strings.Join(got, ", ")}, left...), ";")
			if all != c.want || torn != c.torn {
				t.Errorf("%q, torn %v, want %q, %v", all, torn, c.want, c.torn)
			}
		})
	}
}

// TestNames gives the values of several objectives the names of the study.
func TestNames(t *testing.T) {
	two := strings.Replace(study1, "[1]", "[1,2]", 1)
	for attrs, want := range map[string]string{
		"": `{"values_0":1,"values_1":2.5}`,
		`{"op_code":3,"study_id":0,"system_attr":{"study:metric_names":["loss","auc"]}}` + "\n": `{"loss":1,"auc":2.5}`,
		`{"op_code":3,"study_id":0,"system_attr":{"study:metric_names":["loss"]}}` + "\n":       `{"values_0":1,"values_1":2.5}`,
	} {
		runs, left := runsOf(t, two+attrs+trial1+state(0, 1, "[1, 2.5]"), tracker.Options{})
		if len(left) > 0 || string(runs[0].Metrics.Bytes()) != want {
			t.Errorf("%s: %s, %q, want %s", attrs, runs[0].Metrics.Bytes(), left, want)
		}
	}
}

func TestZone(t *testing.T) {
	runs, _ := runsOf(t, study1+trial1, tracker.Options{Zone: time.FixedZone("", 3600)})
	if want := time.Date(2026, 1, 31, 11, 0, 0, 5e8, time.UTC); !runs[0].Start.Equal(want) {
		t.Errorf("start %v, want %v", runs[0].Start, want)
	}
}

// FuzzJournal applies any lines. What is taken is a record.
func FuzzJournal(f *testing.F) {
	f.Add(trial1 + param(0, "x", "0.5", floats) + state(0, 1, "[NaN]"))
	f.Add(`{"op_code":4,"study_id":0,"datetime_start":null,"state":1,"params":{"a":1},"distributions":{"a":` + ints + `},"intermediate_values":{"1":2}}` + "\n")
	f.Add(`{"op_code":5,"trial_id":0,"param_name":"x","distribution":` + floats + "}\n" + `{"op_code":7,"trial_id":0}` + "\n")
	f.Fuzz(func(t *testing.T, lines string) {
		j := journal{file: "journal.log"}
		ctx := context.Background()
		if _, err := j.read(ctx, strings.NewReader(study1+trial1+lines), func(*tracker.LeftOutError) bool { return true }); err != nil {
			t.Fatal(err)
		}
		j.runs(ctx, func(r tracker.Run, err error) bool {
			if _, _, ok := tracker.FromPython([]byte(trackertest.JSON(r))); err == nil && !ok {
				t.Errorf("not JSON: %s", trackertest.JSON(r))
			}
			return true
		})
	})
}
