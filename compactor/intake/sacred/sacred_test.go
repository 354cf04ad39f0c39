package sacred

import (
	"context"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/compactor/intake/tracker/trackertest"
)

func runsOf(t testing.TB, files map[string]string) (runs []tracker.Run, left []string) {
	t.Helper()
	dir := trackertest.Dir(t, files)
	return trackertest.Read(dir, Runs(context.Background(), dir, tracker.Options{}))
}

const runJSON = `{"experiment": {"name": "x"}, "command": "main", "host": {"hostname": "h"}, "status": "COMPLETED", "start_time": "2026-01-31T12:00:00.5",
	"stop_time": "2026-01-31T12:01:00", "heartbeat": "2026-01-31T12:00:59", "result": {"py/object": "numpy.float64", "dtype": "float64", "value": 0.5}, "meta": {"comment": "c"}}`

func TestRun(t *testing.T) {
	runs, left := runsOf(t, map[string]string{
		"lab/7/run.json": runJSON, "lab/7/config.json": `{"lr": 0.10, "model": {"n": 3}, "__annotations__": {"a": "b"}, "nan": NaN}`,
		"lab/7/metrics.json": `{"loss": {"steps": [0, 1], "timestamps": ["2026-01-31T12:00:01", "2026-01-31T12:02:00"], "values": [1, NaN]}, "none": {"steps": [], "timestamps": [], "values": []}}`,
		"lab/7/info.json":    `{"a": [Infinity]}`, "lab/7/cout.txt": "hello\n", "lab/_sources/x.py": "", "lab/_resources/y": "",
	})
	if len(runs) != 1 || len(left) != 0 {
		t.Fatalf("%d runs, left out %q", len(runs), left)
	}
	const want = `{"run_id":"x-7","stage":"RUN","timestamp":"2026-01-31T12:02:00.000000Z","status":"FINISHED","start_time":"2026-01-31T12:00:00.500000Z","end_time":"2026-01-31T12:01:00.000000Z",` +
		`"metrics":{"result":0.5,"loss":null},"params":{"lr":0.10,"model.n":3,"nan":null},"tags":{"command":"main","host":"h","comment":"c"},"snapshot":{"tracker":"sacred","run":{`
	got := trackertest.JSON(runs[0])
	if !strings.HasPrefix(got, want) {
		t.Errorf("record\n%s\nwant\n%s", got, want)
	}
	const end = `"config":{"lr":0.10,"model":{"n":3},"__annotations__":{"a":"b"},"nan":null},"info":{"a":[null]},"cout":"hello\n",` +
		`"history":{"loss":{"step":[0,1],"timestamp":["2026-01-31T12:00:01","2026-01-31T12:02:00"],"value":[1,null]}}}}`
	if !strings.HasSuffix(got, end) {
		t.Errorf("record\n%s\nends not in\n%s", got, end)
	}
	if runs[0].Zoned != 0 {
		t.Errorf("%d times without a zone: Sacred has UTC", runs[0].Zoned)
	}
}

func TestOdd(t *testing.T) {
	const cut = "is not a JSON object: the process was killed while it wrote it, or writes it now"
	for name, c := range map[string]struct {
		files map[string]string
		runs  int
		left  string
	}{
		"empty run.json":     {map[string]string{"1/run.json": ""}, 0, "1/run.json: " + cut},
		"half a run.json":    {map[string]string{"1/run.json": runJSON[:100]}, 0, "1/run.json: " + cut},
		"a list":             {map[string]string{"1/run.json": "[1]"}, 0, "1/run.json: " + cut},
		"other types":        {map[string]string{"1/run.json": `{"status": 3}`}, 0, "1/run.json: is not what Sacred writes"},
		"other status":       {map[string]string{"1/run.json": `{"status": "ODD"}`}, 0, `1/run.json: has the status "ODD", which Sacred does not have`},
		"other time":         {map[string]string{"1/run.json": `{"start_time": "noon"}`}, 0, `1/run.json: has "noon", which is not a time`},
		"half a config":      {map[string]string{"1/run.json": runJSON, "1/config.json": "{"}, 0, "1/config.json: " + cut},
		"half the metrics":   {map[string]string{"1/run.json": runJSON, "1/metrics.json": `{"a": {"steps": [1], "values": [], "timestamps": []}}`}, 0, "1/metrics.json: has a metric that is not a list of steps, timestamps and values"},
		"no run.json":        {map[string]string{"1/config.json": "{}", "1/cout.txt": ""}, 0, "1/run.json: is not there: the process was killed at its beginning"},
		"no name":            {map[string]string{"1/run.json": `{"status": "RUNNING"}`}, 1, ""},
		"heartbeat is null":  {map[string]string{"1/run.json": `{"status": "RUNNING", "heartbeat": null, "result": null, "experiment": {"name": "x"}}`}, 1, ""},
		"a directory for it": {map[string]string{"1/run.json/x": ""}, 0, "1/run.json: is not a file"},
		"nothing":            {map[string]string{"1/x": ""}, 0, "DIR has no runs of Sacred's FileStorageObserver: no folder in it has a run.json"},
		"half a character":   {map[string]string{"1/run.json": runJSON, "1/cout.txt": strings.Repeat("ü", maxOutput) + "end"}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			runs, left := runsOf(t, c.files)
			if got := strings.Join(left, "; "); len(runs) != c.runs || got != c.left {
				t.Errorf("%d runs, left out %q, want %d and %q", len(runs), got, c.runs, c.left)
			}
			for _, r := range runs {
				if _, _, ok := tracker.FromPython([]byte(trackertest.JSON(r))); !ok {
					t.Errorf("not JSON: %s", trackertest.JSON(r))
				}
			}
		})
	}
}
