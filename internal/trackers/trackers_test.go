package trackers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// run is what a tracker's own program says of a run. Numbers are texts, as Python's repr writes them; null is NaN or an infinity.
type run struct {
	ID         string              `json:"run_id"`
	Name       string              `json:"name"`
	Experiment string              `json:"experiment"`
	Status     string              `json:"status"`
	Start      *float64            `json:"start"` // milliseconds
	End        *float64            `json:"end"`
	StartText  string              `json:"-"` // where only the files say it
	Deleted    bool                `json:"deleted"`
	Artifacts  string              `json:"artifact_uri"`
	Params     map[string]any      `json:"params"`
	Tags       map[string]string   `json:"tags"`
	Metrics    map[string]string   `json:"metrics"`
	History    map[string][][3]any `json:"history"` // step, time, value
}

// venv is the Python that has the trackers. It skips the test if it is not there.
func venv(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".venv-trackers"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
		return dir
	} else if os.Getenv("RUNFOLD_MUST_RUN") != "" {
		t.Fatalf("%v: make test-trackers makes it", err)
	}
	t.Skip("make test-trackers makes what this test needs")
	return ""
}

// made has a script make files in a directory, and returns what it says of them. path is what Python looks for modules in first.
func made(t *testing.T, script, dir string, path ...string) []run {
	t.Helper()
	python := venv(t)
	for i := range path {
		path[i] = filepath.Join(python, path[i])
	}
	scripts, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(python, "bin", "python"), filepath.Join(scripts, script), dir)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PYTHONPATH="+strings.Join(path, string(os.PathListSeparator)), "HOME="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, errs.Bytes())
	}
	var says struct{ Runs []run }
	text := out.Bytes()[bytes.LastIndexByte(out.Bytes(), '\n')+1:] // after what a run prints itself
	if err := json.Unmarshal(text, &says); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out.Bytes())
	}
	if len(says.Runs) == 0 {
		t.Fatalf("%s made no runs", script)
	}
	return says.Runs
}

// commands builds compactd once, and says where it is.
var commands = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "trackers")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir+string(filepath.Separator), "../../cmd/...").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := commands(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// root is a root that compactd imports into.
type root struct {
	*testing.T
	dir string
}

func newRoot(t *testing.T) root { return root{t, filepath.Join(t.TempDir(), "runs")} }

// compactd runs a command, which must end with a code.
func (r root) compactd(code int, args ...string) (stdout, stderr []byte) {
	r.Helper()
	dir, err := commands()
	if err != nil {
		r.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "compactd"), append(args, "--root", r.dir)...)
	cmd.Env = append(os.Environ(), "RUNFOLD_ROOT_ID=")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		r.Fatalf("compactd %v: %v, want exit code %d\n%s", args, err, code, errs.Bytes())
	}
	return out.Bytes(), errs.Bytes()
}

// report is what of the report of an import is looked at.
type report struct {
	Found       int
	Taken       int
	Replaced    int
	Known       int
	Newer       int
	Deleted     int
	Left        int `json:"left_out"`
	Experiments []struct{ Name, Cohort string }
}

func (r root) take(code int, args ...string) (is report) {
	r.Helper()
	out, _ := r.compactd(code, append(append([]string{"import"}, args...), "--create", "--json")...)
	if err := json.Unmarshal(out, &is); err != nil {
		r.Fatalf("%v: %s", err, out)
	}
	return is
}

// shown is what compactd show says of a run.
type shown struct {
	RunID    string         `json:"run_id"`
	Stage    string         `json:"stage"`
	Cohort   string         `json:"cohort_id"`
	Time     string         `json:"timestamp"`
	Fields   map[string]any `json:"fields"`
	Snapshot map[string]any `json:"snapshot"`
}

func (r root) show(id string) (s shown) {
	r.Helper()
	out, _ := r.compactd(0, "show", id+":RUN", "--json")
	d := json.NewDecoder(bytes.NewReader(out))
	d.UseNumber()
	if err := d.Decode(&s); err != nil {
		r.Fatalf("%v: %s", err, out)
	}
	return s
}

// compare compares all of a run with what its tracker says of it.
func (r root) compare(want run, cohort string) {
	r.Helper()
	got := r.show(want.ID)
	text := map[string]string{"run_id": got.RunID, "cohort": got.Cohort}
	for _, name := range []string{"status", "name", "start_time", "end_time"} {
		text[name], _ = got.Fields[name].(string)
	}
	wanted := map[string]string{
		"run_id": want.ID, "cohort": cohort, "status": want.Status, "name": want.Name, "start_time": cmp.Or(timeText(want.Start), want.StartText), "end_time": timeText(want.End),
	}
	if diff := gocmp.Diff(wanted, text); diff != "" {
		r.Errorf("run %s (-tracker +runfold):\n%s", want.ID, diff)
	}
	fields := map[string]map[string]any{"metrics": {}, "params": {}, "tags": {}}
	for name, value := range got.Fields {
		if group, member, ok := strings.Cut(name, "."); ok && fields[group] != nil {
			fields[group][member] = value
		}
	}
	for name, value := range want.Metrics {
		have, ok := fields["metrics"][name]
		if value == "null" && !ok || ok && isNumber(have, value) {
			delete(fields["metrics"], name)
			continue
		}
		r.Errorf("run %s: metric %s is %v, want %s", want.ID, name, have, value)
	}
	for name, value := range want.Params {
		if have, ok := fields["params"][name]; !ok && value != nil || ok && !isParam(have, value) {
			r.Errorf("run %s: param %s is %v (%T), want %v", want.ID, name, have, have, value)
		}
		delete(fields["params"], name)
	}
	for name, value := range want.Tags {
		if have := fields["tags"][name]; have != value {
			r.Errorf("run %s: tag %s is %v, want %q", want.ID, name, have, value)
		}
		delete(fields["tags"], name)
	}
	for group, rest := range fields {
		if len(rest) > 0 {
			r.Errorf("run %s: %s has %v, which the tracker does not say", want.ID, group, rest)
		}
	}
	r.compareHistory(want, got)
}

func (r root) compareHistory(want run, got shown) {
	r.Helper()
	history, _ := got.Snapshot["history"].(map[string]any)
	if len(history) != len(want.History) {
		r.Errorf("run %s: %d histories, want %d", want.ID, len(history), len(want.History))
	}
	for name, points := range want.History {
		h, _ := history[name].(map[string]any)
		columns := [3][]any{}
		for i, column := range []string{"step", "timestamp", "value"} {
			columns[i], _ = h[column].([]any)
		}
		if len(columns[2]) != len(points) {
			r.Errorf("run %s: %d steps of %s, want %d", want.ID, len(columns[2]), name, len(points))
			continue
		}
		for i, p := range points {
			for c, value := range p {
				if value == nil {
					continue
				}
				if i >= len(columns[c]) || !isPoint(columns[c][i], value) {
					r.Errorf("run %s: point %d of %s is %v %v %v, want %v", want.ID, i, name, at(columns[0], i), at(columns[1], i), at(columns[2], i), p)
					return
				}
			}
		}
	}
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

func timeText(ms *float64) string {
	if ms == nil {
		return ""
	}
	return time.UnixMicro(int64(math.Round(*ms * 1000))).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// isNumber tells whether a value is the float64 that a text spells.
func isNumber(have any, want string) bool {
	token, ok := have.(json.Number)
	if !ok {
		return have == nil && want == "null"
	}
	a, err := strconv.ParseFloat(string(token), 64)
	b, berr := strconv.ParseFloat(want, 64)
	return err == nil && berr == nil && a == b
}

// isParam tells whether a parameter is what the tracker says: the same value, or the same text where the tracker has only texts.
func isParam(have, want any) bool {
	switch want := want.(type) {
	case string:
		if token, ok := have.(json.Number); ok {
			return string(token) == want || isNumber(have, want)
		}
		return have == want
	case float64:
		return isNumber(have, strconv.FormatFloat(want, 'g', -1, 64))
	case nil:
		return have == nil
	}
	a, err := json.Marshal(have)
	b, berr := json.Marshal(want)
	return err == nil && berr == nil && bytes.Equal(a, b)
}

func isPoint(have, want any) bool {
	switch want := want.(type) {
	case string:
		return isNumber(have, want) || have == want
	case float64:
		return isNumber(have, strconv.FormatFloat(want, 'g', -1, 64))
	}
	return false
}

func living(runs []run) (some []run) {
	for _, r := range runs {
		if !r.Deleted {
			some = append(some, r)
		}
	}
	return some
}

// cohortsOf are the cohorts of experiments, by the report. Each experiment has one of its own.
func (r root) cohortsOf(is report) map[string]string {
	r.Helper()
	of := map[string]string{}
	var seen []string
	for _, x := range is.Experiments {
		if slices.Contains(seen, x.Cohort) {
			r.Errorf("two experiments are cohort %s", x.Cohort)
		}
		seen = append(seen, x.Cohort)
		of[x.Name] = x.Cohort
	}
	return of
}

// takeAll imports, compares all runs, imports again, and checks the root.
func (r root) takeAll(runs []run, args ...string) {
	r.Helper()
	first := r.take(0, args...)
	if first.Taken != len(runs) || first.Left != 0 {
		r.Errorf("took %+v, want %d runs", first, len(runs))
	}
	cohorts := r.cohortsOf(first)
	for _, want := range runs {
		r.compare(want, cohorts[want.Experiment])
	}
	again := r.take(0, args...)
	if again.Taken != 0 || again.Known != len(runs) {
		r.Errorf("the same again: %+v, want %d known", again, len(runs))
	}
	r.compactd(0, "check")
}
