package mlruns

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/compactor/intake/tracker/trackertest"
)

// store writes files below a new directory, and returns it.
const (
	experimentMeta = "experiment_id: '1'\nname: x\n"
	runMeta        = "experiment_id: '1'\nrun_id: r\nstatus: 3\nstart_time: 1700000000000\n"
)

// all are the runs of a directory, and what was left out.
func all(dir string, o tracker.Options) (runs []tracker.Run, left []string) {
	return trackertest.Read(dir, Runs(context.Background(), dir, o))
}

func TestRun(t *testing.T) {
	dir := trackertest.Dir(t, map[string]string{
		"1/meta.yaml": experimentMeta, "1/tags/team": "a", "1/r/meta.yaml": runMeta + "end_time: null\nartifact_uri: 'file:///x'\n", "1/r/params/p": "1e-05",
		"1/r/params/deep/q": "007", "1/r/tags/t": "7", "1/r/metrics/m": "1700000000001 0.5 0\n1700000000002 nan 1\n", "1/r/inputs/i/meta.yaml": "source_id: d\nsource_type: DATASET\n",
		"1/datasets/d/meta.yaml": "name: wine\n",
	})
	runs, left := all(dir, tracker.Options{})
	if len(runs) != 1 || len(left) != 0 {
		t.Fatalf("%d runs, left out %q", len(runs), left)
	}
	const want = `{"run_id":"r","stage":"RUN","timestamp":"2023-11-14T22:13:20.002000Z","status":"FINISHED","start_time":"2023-11-14T22:13:20.000000Z","metrics":{"m":null},` +
		`"params":{"p":1e-05,"deep/q":"007"},"tags":{"t":"7"},"snapshot":{"tracker":"mlflow","experiment":{"experiment_id":"1","name":"x","tags":{"team":"a"}},` +
		`"run":{"experiment_id":"1","run_id":"r","status":3,"start_time":1700000000000,"end_time":null,"artifact_uri":"file:///x"},` +
		`"inputs":[{"source_id":"d","source_type":"DATASET","dataset":{"name":"wine"}}],` +
		`"history":{"m":{"step":[0,1],"timestamp":[1700000000001,1700000000002],"value":[0.5,null]}}}}`
	if got := trackertest.JSON(runs[0]); got != want {
		t.Errorf("record\n%s\nwant\n%s", got, want)
	}
	if n := runs[0].NonFinite(); n != 1 {
		t.Errorf("%d values are no numbers, want 1", n)
	}
	if again, _ := all(dir, tracker.Options{}); trackertest.JSON(again[0]) != want {
		t.Error("read twice, it is another record")
	}
}

// TestOdd reads trees that no MLflow leaves, or only one that was killed. Where left is empty nothing is left out.
func TestOdd(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		runs  int
		left  string
		torn  bool
	}{
		"torn metric":     {map[string]string{"1/r/metrics/m": "1 0.5 0\n2 0.25 1"}, 1, "", true}, // of step 12, perhaps
		"torn in a time":  {map[string]string{"1/r/metrics/m": "1 0.5 0\n17000"}, 1, "", true},
		"empty metric":    {map[string]string{"1/r/metrics/m": ""}, 1, "", false},
		"step of floats":  {map[string]string{"1/r/metrics/m": "1 0.5 0.5\n"}, 1, `1/r/metrics/m, line 1 (of 1): is not "timestamp value step": MLflow shows no run of this experiment until that is mended`, false},
		"binary metric":   {map[string]string{"1/r/metrics/m": strings.Repeat("\x00", 100000)}, 1, "1/r/metrics/m, line 1 (of 1): is not \"timestamp value step\": MLflow shows no run of this experiment until that is mended", false},
		"latin-1":         {map[string]string{"1/r/params/p": "gr\xfc\xdfe"}, 1, "1/r/params/p: is not UTF-8", false},
		"huge param":      {map[string]string{"1/r/params/p": strings.Repeat("x", 5<<20)}, 1, "1/r/params/p: has more than 4194304 bytes", false},
		"huge meta":       {map[string]string{"1/r/meta.yaml": strings.Repeat("#", 2<<20)}, 0, "1/r/meta.yaml: has more than 1048576 bytes", false},
		"alias":           {map[string]string{"1/r/meta.yaml": runMeta + "a: &a [1]\nb: *a\n"}, 0, "1/r: b: has an alias, which MLflow does not write", false},
		"deep meta":       {map[string]string{"1/r/meta.yaml": runMeta + "a: " + strings.Repeat("[", 60) + strings.Repeat("]", 60) + "\n"}, 0, "1/r: a: is nested deeper than 50 levels", false},
		"list":            {map[string]string{"1/r/meta.yaml": "- a\n"}, 0, "1/r/meta.yaml: is not a YAML mapping: was it cut short?", false},
		"far future":      {map[string]string{"1/r/meta.yaml": runMeta + "end_time: 99999999999999999\n"}, 0, `1/r/meta.yaml: has the end_time "99999999999999999", which is not a time in milliseconds`, false},
		"a folder there":  {map[string]string{"1/r/meta.yaml/x": ""}, 0, "1/r/meta.yaml: is not a file", false},
		"far metric time": {map[string]string{"1/r/metrics/m": "99999999999999999 0.5 0\n"}, 1, "", false},
		"experiment":      {map[string]string{"1/meta.yaml": "{{{"}, 1, "1/meta.yaml: is not YAML: yaml: line 1: did not find expected node content", false},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"1/meta.yaml": experimentMeta, "1/r/params/other": "1"}
			if _, ok := c.files["1/r/meta.yaml/x"]; !ok {
				files["1/r/meta.yaml"] = runMeta
			}
			for name, text := range c.files {
				files[name] = text
			}
			runs, left := all(trackertest.Dir(t, files), tracker.Options{})
			if got := strings.Join(left, "; "); len(runs) != c.runs || got != c.left {
				t.Errorf("%d runs, left out %q, want %d and %q", len(runs), got, c.runs, c.left)
			}
			if len(runs) == 1 && (runs[0].Torn != "") != c.torn {
				t.Errorf("torn: %q", runs[0].Torn)
			}
		})
	}
}

// TestDeep finds a store in any depth, up to a bound that is told, and ends with its context.
func TestDeep(t *testing.T) {
	deep := strings.Repeat("d/", 70)
	dir := trackertest.Dir(t, map[string]string{"a/b/c/1/meta.yaml": experimentMeta, "a/b/c/1/r/meta.yaml": runMeta, deep + "1/meta.yaml": experimentMeta})
	runs, left := all(dir, tracker.Options{})
	if len(runs) != 1 || len(left) != 1 || !strings.HasSuffix(left[0], ": lies deeper than 64 folders") {
		t.Errorf("%d runs, left out %q", len(runs), left)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for run, err := range Runs(ctx, dir, tracker.Options{}) {
		t.Errorf("after the end of the context: %v, %v", run.ID, err)
	}
}

// TestNone tells what a directory without a store may be.
func TestNone(t *testing.T) {
	for name, database := range map[string]bool{"x": false, "mlflow.db": true} {
		n := 0
		for _, err := range Runs(context.Background(), trackertest.Dir(t, map[string]string{name: ""}), tracker.Options{}) {
			var none *NoneError
			if n++; !errors.As(err, &none) || none.Database != database {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d errors, want 1", name, n)
		}
	}
}

// TestSteps keeps steps evenly, with the first and the last.
func TestSteps(t *testing.T) {
	var b strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&b, "%d %d.5 %d\n", int64(1700000000000)+int64(i), i, i)
	}
	dir := trackertest.Dir(t, map[string]string{"1/meta.yaml": experimentMeta, "1/r/meta.yaml": runMeta, "1/r/metrics/m": b.String()})
	for _, most := range []int{5, 2, 1, 1000} {
		runs, _ := all(dir, tracker.Options{Steps: most})
		text, cut := runs[0].JSON(tracker.Shape{Stage: "RUN", Most: most})
		_, steps, _ := strings.Cut(string(text), `"step":[`)
		steps, _, _ = strings.Cut(steps, "]")
		list := strings.Split(steps, ",")
		if len(list) != most || list[len(list)-1] != "9999" || most > 1 && list[0] != "0" || cut != 1 || !strings.Contains(string(text), `"points":10000`) {
			t.Errorf("%d steps: %v", most, list)
		}
		if most == 5 && (len(list[1]) != 4 || list[1][0] != '2') {
			t.Errorf("5 steps do not lie evenly: %v", list)
		}
	}
	runs, _ := all(dir, tracker.Options{Steps: -1})
	if text, _ := runs[0].JSON(tracker.Shape{Stage: "RUN"}); strings.Contains(string(text), "history") || !strings.Contains(string(text), `"m":9999.5`) {
		t.Errorf("without steps: %s", text)
	}
}
