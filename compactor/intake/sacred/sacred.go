// Package sacred reads the folders that Sacred's FileStorageObserver writes: one for each run, with run.json, config.json, metrics.json, info.json and
// cout.txt.
//
// # Backwards compatibility
//
// That of package tracker.
package sacred

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/internal/jsonscan"
)

// maxFile bounds a JSON file of a run.
const maxFile = 1 << 30

// Runs reads all runs below a directory.
func Runs(ctx context.Context, dir string, o tracker.Options) tracker.Runs {
	return tracker.In(dir, func(folder *tracker.Folder, yield func(tracker.Run, error) bool) {
		o.Zone = time.UTC // Sacred writes UTC, and does not say so
		met := false
		ok := folder.Walk(ctx, "", func(at string, entries []fs.DirEntry) ([]string, bool) {
			isRun := tracker.Has(entries, "run.json")
			if !isRun && !(tracker.Has(entries, "config.json") && tracker.Has(entries, "cout.txt")) {
				return tracker.Names(entries), true
			}
			met = true
			r := reader{folder: folder, dir: at, options: o}
			run, err := r.run(entries)
			if err != nil {
				return nil, yield(tracker.Run{}, err)
			}
			return nil, yield(run, nil)
		}, func(e *tracker.LeftOutError) bool { return yield(tracker.Run{}, e) })
		if ok && !met {
			yield(tracker.Run{}, fmt.Errorf("%s has no runs of Sacred's FileStorageObserver: no folder in it has a run.json", dir))
		}
	})
}

// reader reads one run.
type reader struct {
	folder  *tracker.Folder
	dir     string
	options tracker.Options
}

// statuses are those of Sacred.
var statuses = map[string]string{
	"QUEUED": tracker.Scheduled, "RUNNING": tracker.Running, "COMPLETED": tracker.Finished, "FAILED": tracker.Failed,
	"INTERRUPTED": tracker.Killed, "TIMEOUT": tracker.Killed,
}

var errNoRun = errors.New("is not there: the process was killed at its beginning")

// about is what of run.json is looked at.
type about struct {
	Experiment struct {
		Name string `json:"name"`
	} `json:"experiment"`
	Command   string `json:"command"`
	Status    string `json:"status"`
	Start     string `json:"start_time"`
	Stop      string `json:"stop_time"`
	Heartbeat string `json:"heartbeat"`
	Host      struct {
		Hostname string `json:"hostname"`
	} `json:"host"`
	Meta struct {
		Comment string `json:"comment"`
	} `json:"meta"`
	Result json.RawMessage `json:"result"`
}

// object reads a JSON file that holds an object: as JSON, and as it stands there.
func (r *reader) object(name string) (value, data []byte, err error) {
	if data, err = r.folder.Read(path.Join(r.dir, name), maxFile); err != nil {
		return nil, nil, err
	}
	value, _, ok := tracker.FromPython(data)
	if !ok || jsonscan.KindOf(value) != jsonscan.Object {
		return nil, nil, errors.New("is not a JSON object: the process was killed while it wrote it, or writes it now")
	}
	return value, data, nil
}

// run reads a run. Without a run.json that can be read there is no run; what else cannot be read makes none of it, because half a run would be taken for a
// whole one.
func (r *reader) run(entries []fs.DirEntry) (run tracker.Run, err error) {
	failed := func(name string, err error) (tracker.Run, error) {
		return run, r.folder.LeftOut(path.Join(r.dir, name), err)
	}
	if !tracker.Has(entries, "run.json") {
		return failed("run.json", errNoRun)
	}
	text, data, err := r.object("run.json")
	if err != nil {
		return failed("run.json", err)
	}
	var a about
	if err := json.Unmarshal(text, &a); err != nil {
		return failed("run.json", errors.New("is not what Sacred writes"))
	}
	run = tracker.Run{Where: r.folder.Path(r.dir), Experiment: a.Experiment.Name, ID: r.id(a.Experiment.Name)}
	if status, ok := statuses[a.Status]; ok {
		run.Status = status
	} else if a.Status != "" {
		return failed("run.json", fmt.Errorf("has the status %q, which Sacred does not have", a.Status))
	}
	for _, t := range [...]struct {
		text string
		to   *time.Time
	}{{a.Start, &run.Start}, {a.Stop, &run.End}, {a.Heartbeat, &run.Changed}} {
		if t.text == "" {
			continue
		}
		at, ok := run.Time(t.text, r.options)
		if !ok {
			return failed("run.json", fmt.Errorf("has %q, which is not a time", t.text))
		}
		*t.to = at
	}
	run.Zoned = 0 // it is known to be UTC
	for _, tag := range [...]struct{ name, text string }{{"command", a.Command}, {"host", a.Host.Hostname}, {"comment", a.Meta.Comment}} {
		if tag.text != "" {
			run.Tags.Text(tag.name, tag.text)
		}
	}
	run.Rest.Text("tracker", "sacred")
	run.Rest.Python("run", data)
	if result := scalar(a.Result); result != "" {
		run.Metrics.JSON("result", []byte(result))
	}
	for _, file := range [...]struct {
		name string
		take func(*tracker.Run, []byte, []byte) error
	}{{"config.json", config}, {"metrics.json", r.metrics}, {"info.json", info}} {
		if !tracker.Has(entries, file.name) {
			continue
		}
		value, data, err := r.object(file.name)
		if err != nil {
			return failed(file.name, err)
		}
		if err := file.take(&run, value, data); err != nil {
			return failed(file.name, err)
		}
	}
	if tracker.Has(entries, "cout.txt") {
		if err := r.output(&run); err != nil {
			return failed("cout.txt", err)
		}
	}
	return run, nil
}

// id is the run_id: the folders of an experiment are numbered from 1, and so are those of another.
func (r *reader) id(experiment string) string {
	name := path.Base(r.dir)
	if r.dir == "" {
		name = path.Base(strings.ReplaceAll(r.folder.Path("."), "\\", "/"))
	}
	if experiment == "" {
		return name
	}
	return experiment + "-" + name
}

func config(run *tracker.Run, value, data []byte) error {
	run.Params.Flat(value, func(path string, _ []byte) bool { return strings.HasPrefix(path, "__") })
	run.Rest.Python("config", data)
	return nil
}

func info(run *tracker.Run, _, data []byte) error {
	run.Rest.Python("info", data)
	return nil
}

// metrics reads the history of all metrics: lists of steps, times and values.
func (r *reader) metrics(run *tracker.Run, value, _ []byte) error {
	for name, value := range jsonscan.Members(value) {
		var m struct {
			Steps  []json.RawMessage `json:"steps"`
			Times  []string          `json:"timestamps"`
			Values []json.RawMessage `json:"values"`
		}
		if json.Unmarshal(value, &m) != nil || len(m.Steps) != len(m.Values) || len(m.Times) != len(m.Values) {
			return fmt.Errorf("has a metric that is not a list of steps, timestamps and values")
		}
		if len(m.Values) == 0 {
			continue
		}
		s := tracker.NewSeries(r.options.Most())
		for i := range m.Values {
			p := tracker.Point{Step: scalar(m.Steps[i]), Time: string(tracker.Quote(m.Times[i])), Value: scalar(m.Values[i])}
			s.Add(p)
			if at, ok := new(tracker.Run).Time(m.Times[i], r.options); ok && at.After(run.Changed) {
				run.Changed = at
			}
		}
		run.Metrics.Point(name, s.Last())
		run.History = append(run.History, tracker.History{Name: name, Series: s})
	}
	return nil
}

// scalar is a number, also one of numpy as jsonpickle writes it; empty if it is not a number.
func scalar(value json.RawMessage) string {
	if len(value) == 0 {
		return ""
	}
	if tracker.IsScalar(value) {
		return string(value)
	}
	if jsonscan.KindOf(value) != jsonscan.Object {
		return ""
	}
	for name, member := range jsonscan.Members(value) {
		if name == "value" && tracker.IsScalar(member) {
			return string(member)
		}
	}
	return ""
}

// maxOutput is how much of what a run printed is kept: the end of it.
const maxOutput = 64 << 10

// output takes the end of cout.txt.
func (r *reader) output(run *tracker.Run) error {
	f, err := r.folder.Open(path.Join(r.dir, "cout.txt"))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > maxOutput {
		if _, err := f.Seek(-maxOutput, io.SeekEnd); err != nil {
			return err
		}
	}
	text, err := tail(f)
	if err != nil || text == "" {
		return err
	}
	run.Rest.Text("cout", text)
	if info.Size() > maxOutput {
		run.Rest.Int("cout_bytes", info.Size())
	}
	return nil
}

// tail reads to the end, and replaces what is not UTF-8, such as half a character at its beginning.
func tail(f *os.File) (string, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxOutput))
	for len(data) > 0 && !utf8.RuneStart(data[0]) {
		data = data[1:]
	}
	return strings.ToValidUTF8(string(data), "\ufffd"), err
}
