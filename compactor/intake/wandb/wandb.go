// Package wandb reads the folders that wandb writes: wandb/offline-run-.../run-ID.wandb, and those of runs that were online, too. The folders of one
// run, which was resumed, are one run.
//
// # Backwards compatibility
//
// That of package tracker.
package wandb

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/internal/jsonscan"
)

// noProject is the project of runs that name none, as wandb calls it.
const noProject = "uncategorized"

// Runs reads all runs below a directory.
func Runs(ctx context.Context, dir string, o tracker.Options) tracker.Runs {
	return tracker.In(dir, func(folder *tracker.Folder, yield func(tracker.Run, error) bool) {
		left := func(e *tracker.LeftOutError) bool { return yield(tracker.Run{}, e) }
		groups, ok := find(ctx, folder, left)
		if ok && len(groups) == 0 {
			yield(tracker.Run{}, fmt.Errorf("%s has no runs of wandb: no folder in it has a file run-ID.wandb", dir))
			return
		}
		for i := 0; i < len(groups) && ok && ctx.Err() == nil; i++ {
			r := newRun(folder, o)
			for _, file := range groups[i] {
				if err := r.read(ctx, file); err != nil && !left(folder.LeftOut(file, err)) {
					return
				}
			}
			if r.id != "" && ctx.Err() == nil {
				ok = yield(r.run(groups[i]), nil)
			}
		}
	})
}

// find finds the files of each run, in their order.
func find(ctx context.Context, folder *tracker.Folder, left func(*tracker.LeftOutError) bool) (groups [][]string, ok bool) {
	at := map[string]int{}
	ok = folder.Walk(ctx, "", func(dir string, entries []fs.DirEntry) ([]string, bool) {
		found := false
		for _, e := range entries {
			id, isRun := strings.CutPrefix(e.Name(), "run-")
			id, isLog := strings.CutSuffix(id, ".wandb")
			if e.IsDir() || !isRun || !isLog {
				continue
			}
			found = true
			key := path.Dir(dir) + "\x00" + id
			i, ok := at[key]
			if !ok {
				i = len(groups)
				at[key] = i
				groups = append(groups, nil)
			}
			groups[i] = append(groups[i], path.Join(dir, e.Name()))
		}
		if found {
			return nil, true // what is below it are files of the run
		}
		return tracker.Names(entries), true
	}, left)
	for _, files := range groups {
		slices.SortStableFunc(files, func(a, b string) int { return cmp.Compare(begun(a), begun(b)) })
	}
	return groups, ok
}

// begun is when the process of a folder began, as its name says: offline-run-20260131_120000-ID.
func begun(file string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path.Base(path.Dir(file)), "offline-"), "run-")
}

// run is one run while it is read.
type run struct {
	folder  *tracker.Folder
	options tracker.Options

	id, entity, project, group, job, name, notes, sweep, host string
	tags                                                      []string
	start, last                                               time.Time
	config, summary, git, where                               tree
	names                                                     []string // of series
	series                                                    map[string]*tracker.Series
	exited                                                    bool
	exitCode, runtime                                         int64
	torn                                                      string
	other                                                     map[string]bool
}

func newRun(folder *tracker.Folder, o tracker.Options) *run {
	return &run{folder: folder, options: o, series: map[string]*tracker.Series{}, other: map[string]bool{}}
}

// read reads one file of it. Of a file that is damaged, what stands before the damage counts.
func (r *run) read(ctx context.Context, file string) error {
	f, err := r.folder.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return r.entries(ctx, f, file)
}

func (r *run) entries(ctx context.Context, data io.Reader, file string) error {
	log, err := openLog(data)
	if err != nil {
		return err
	}
	r.exited, r.torn = false, ""
	for ctx.Err() == nil {
		entry, err := log.next()
		switch {
		case errors.Is(err, io.EOF):
			if r.id == "" {
				return errors.New("says nothing of its run: the process was killed at its beginning")
			}
			return nil
		case errors.Is(err, errTorn):
			if r.id == "" {
				return errors.New("ends before it says anything of its run: the process was killed at its beginning")
			}
			r.torn = r.folder.Path(file)
			return nil
		case err != nil:
			return err
		}
		if err := r.record(entry); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) record(entry []byte) error {
	return each(entry, func(number protowire.Number, data []byte, _ uint64) error {
		switch number {
		case recordHistory:
			return r.history(data)
		case recordSummary:
			return items(data, r.summary.set, r.summary.remove)
		case recordConfig:
			return items(data, r.config.set, r.config.remove)
		case recordRun:
			return r.about(data)
		case recordEnvironment:
			return r.environment(data)
		case recordExit:
			r.exited, r.exitCode, r.runtime = true, 0, 0
			return each(data, func(number protowire.Number, _ []byte, n uint64) error {
				switch number {
				case 1:
					r.exitCode = int64(int32(n))
				case 2:
					r.runtime = int64(int32(n))
				}
				return nil
			})
		}
		return nil
	})
}

// items reads a config or a summary: what is set, and what is removed.
func items(message []byte, set, remove func(item)) error {
	return each(message, func(number protowire.Number, data []byte, _ uint64) error {
		if number != 1 && number != 2 {
			return nil
		}
		it, err := itemOf(data)
		switch {
		case err != nil:
			return err
		case number == 1:
			set(it)
		default:
			remove(it)
		}
		return nil
	})
}

// about reads what the run says of itself. It may say it more than once.
func (r *run) about(message []byte) error {
	r.tags = nil
	return each(message, func(number protowire.Number, data []byte, _ uint64) (err error) {
		text := map[protowire.Number]*string{
			runID: &r.id, runEntity: &r.entity, runProject: &r.project, runGroup: &r.group, runJobType: &r.job, runName: &r.name, runNotes: &r.notes,
			runSweep: &r.sweep, runHost: &r.host,
		}[number]
		switch {
		case (text != nil || number == runTags) && !utf8.Valid(data):
			return errWire
		case text != nil:
			*text = string(data)
		case number == runTags:
			r.tags = append(r.tags, string(data))
		case number == runConfig:
			return items(data, r.config.set, r.config.remove)
		case number == runSummary:
			return items(data, r.summary.set, r.summary.remove)
		case number == runStartTime && r.start.IsZero(): // that of the first process
			r.start, err = timeOf(data)
		case number == runGit:
			r.git = tree{}
			return each(data, func(number protowire.Number, data []byte, _ uint64) error {
				name := map[protowire.Number]string{1: "remote_url", 2: "commit"}[number]
				if name != "" && utf8.Valid(data) {
					r.git.set(item{path: []string{name}, value: tracker.Quote(string(data))})
				}
				return nil
			})
		}
		return err
	})
}

// environment reads where a process of the run ran. It is written more than once, and a later one need not say all.
func (r *run) environment(message []byte) error {
	var args []string
	err := each(message, func(number protowire.Number, data []byte, _ uint64) error {
		name := map[protowire.Number]string{environmentOS: "os", environmentPython: "python", environmentProgram: "program", environmentExecutable: "executable"}[number]
		switch {
		case !utf8.Valid(data):
		case name != "":
			r.where.set(item{path: []string{name}, value: tracker.Quote(string(data))})
		case number == environmentArgs:
			args = append(args, string(data))
		}
		return nil
	})
	if len(args) > 0 {
		r.where.set(item{path: []string{"args"}, value: list(args)})
	}
	return err
}

// list is a JSON list of texts.
func list(texts []string) []byte {
	b := []byte{'['}
	for i, text := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, tracker.Quote(text)...)
	}
	return append(b, ']')
}

// history reads one step.
func (r *run) history(message []byte) error {
	step, at := "", ""
	var values []item
	err := each(message, func(number protowire.Number, data []byte, _ uint64) error {
		switch number {
		case 1:
			it, err := itemOf(data)
			if err != nil {
				return err
			}
			if len(it.value) == 0 {
				return errWire
			}
			switch it.path[0] {
			case "_step":
				step = string(it.value)
			case "_timestamp":
				at = string(it.value)
			default:
				values = append(values, it)
			}
		case 2:
			return each(data, func(number protowire.Number, _ []byte, n uint64) error {
				if number == 1 && step == "" {
					step = strconv.FormatInt(int64(n), 10)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !tracker.IsNumber(at) {
		at = ""
	} else if t, ok := secondsOf(at); ok && t.After(r.last) {
		r.last = t
	}
	if !tracker.IsNumber(step) {
		step = ""
	}
	for _, it := range values {
		if isOwn(it.path[0]) { // such as _runtime
			continue
		}
		r.value(strings.Join(it.path, "."), it.value, tracker.Point{Step: step, Time: at})
	}
	return nil
}

// secondsOf is a time in seconds, as Python's time.time gives it.
func secondsOf(token string) (time.Time, bool) {
	v, err := strconv.ParseFloat(token, 64)
	if err != nil || v <= 0 || v > 1e11 {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(v * 1e6)), true
}

// value adds a value of a step. Numbers within an object, such as {"train": {"loss": 1}}, are metrics of their own.
func (r *run) value(name string, value json.RawMessage, p tracker.Point) {
	switch jsonscan.KindOf(value) {
	case jsonscan.Int, jsonscan.Double:
		p.Value = string(value)
	case jsonscan.Null: // NaN, or an infinity
	case jsonscan.Object:
		if kind := mediaOf(value); kind != "" {
			r.other[kind] = true
			return
		}
		for member, value := range jsonscan.Members(value) {
			r.value(name+"."+member, value, p)
		}
		return
	default:
		r.other["texts, truth values and lists in the history"] = true
		return
	}
	s, ok := r.series[name]
	if !ok {
		s = tracker.NewSeries(r.options.Most())
		r.series[name] = s
		r.names = append(r.names, name)
	}
	s.Add(p)
}

// mediaOf is the kind of an object that stands for an image, a table or the like; empty if it does not.
func mediaOf(object json.RawMessage) string {
	for name, value := range jsonscan.Members(object) {
		if name == "_type" && jsonscan.KindOf(value) == jsonscan.String {
			return jsonscan.Text(value)
		}
	}
	return ""
}

// isOwn tells whether a value is wandb's own, and no metric or parameter.
func isOwn(path string) bool { return strings.HasPrefix(path, "_") }

// run is what was read as a run.
func (r *run) run(files []string) tracker.Run {
	out := tracker.Run{
		Where: r.folder.Path(path.Dir(files[0])), Experiment: cmp.Or(r.project, noProject), ID: r.id, Name: r.name, Status: tracker.Running,
		Start: r.start, Changed: r.last, Torn: r.torn,
	}
	switch {
	case r.exited && r.exitCode == 0:
		out.Status = tracker.Finished
	case r.exited:
		out.Status = tracker.Failed
	}
	config, summary := r.config.json(), r.summary.json()
	out.Odd = r.config.oddities() // those of the summary are those of the history
	out.Params.Flat(config, func(path string, _ []byte) bool { return isOwn(path) })
	has := map[string]bool{}
	out.Metrics.Flat(summary, func(path string, value []byte) bool {
		if isOwn(path) || jsonscan.KindOf(value) == jsonscan.Object && mediaOf(value) != "" {
			return true
		}
		has[path] = true
		return !tracker.IsScalar(value) && jsonscan.KindOf(value) != jsonscan.Object
	})
	for _, name := range r.names { // of a run that was killed before it wrote its summary
		if p := r.series[name].Last(); !has[name] && p.Value != "null" {
			out.Metrics.JSON(name, []byte(p.Value))
		}
	}
	for _, tag := range [...]struct{ name, text string }{
		{"group", r.group}, {"job_type", r.job}, {"notes", r.notes}, {"entity", r.entity}, {"sweep", r.sweep}, {"host", r.host}, {"tags", strings.Join(r.tags, ",")},
	} {
		if tag.text != "" {
			out.Tags.Text(tag.name, tag.text)
		}
	}
	r.rest(&out, files, config, summary)
	for kind := range r.other {
		out.Other = append(out.Other, kind)
	}
	slices.Sort(out.Other)
	return out
}

// maxMetadata bounds wandb-metadata.json.
const maxMetadata = 1 << 20

func (r *run) rest(out *tracker.Run, files []string, config, summary []byte) {
	out.Rest.Text("tracker", "wandb")
	out.Rest.Text("project", out.Experiment)
	if len(r.tags) > 0 {
		out.Rest.JSON("tags", list(r.tags))
	}
	if r.exited {
		out.Rest.Int("exit_code", r.exitCode)
		out.Rest.Int("runtime", r.runtime)
	}
	if len(r.git.names) > 0 {
		out.Rest.JSON("git", r.git.json())
	}
	if len(r.where.names) > 0 {
		out.Rest.JSON("environment", r.where.json())
	}
	out.Rest.JSON("config", config)
	out.Rest.JSON("summary", summary)
	last := path.Dir(files[len(files)-1])
	if data, err := r.folder.Read(path.Join(last, "files", "wandb-metadata.json"), maxMetadata); err == nil {
		out.Rest.Python("metadata", data)
	}
	for _, name := range r.names {
		out.History = append(out.History, tracker.History{Name: name, Series: r.series[name]})
	}
}
