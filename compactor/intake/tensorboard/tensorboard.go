// Package tensorboard reads event files, as TensorFlow, PyTorch and others write them for TensorBoard. Each directory with such files is a run, as in
// TensorBoard: its name is the path below the directory that is read, and its experiment the name of that directory.
//
// It reads scalars, as numbers and as tensors, and the parameters of the hparams plugin. Images, histograms, graphs and the like are counted.
//
// # Backwards compatibility
//
// That of package tracker.
package tensorboard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// The fields that are read of an Event, its Summary, a Value and its metadata. TensorFlow's format, do not change.
const (
	eventTime    = 1
	eventStep    = 2
	eventSummary = 5

	valueTag      = 1
	valueSimple   = 2
	valueImage    = 4
	valueHisto    = 5
	valueAudio    = 6
	valueTensor   = 8
	valueMetadata = 9
)

// Runs reads all runs below a directory.
func Runs(ctx context.Context, dir string, o tracker.Options) tracker.Runs {
	return tracker.In(dir, func(folder *tracker.Folder, yield func(tracker.Run, error) bool) {
		name := filepath.Base(dir)
		if full, err := filepath.Abs(dir); err == nil {
			name = filepath.Base(full)
		}
		met := false
		ok := folder.Walk(ctx, "", func(at string, entries []fs.DirEntry) ([]string, bool) {
			var files []string
			for _, e := range entries {
				if !e.IsDir() && strings.Contains(e.Name(), "tfevents") {
					files = append(files, path.Join(at, e.Name()))
				}
			}
			if len(files) == 0 {
				return tracker.Names(entries), true
			}
			met = true
			r := newRun(folder, o, at, name)
			return tracker.Names(entries), r.read(ctx, files, yield)
		}, func(e *tracker.LeftOutError) bool { return yield(tracker.Run{}, e) })
		if ok && !met {
			yield(tracker.Run{}, fmt.Errorf("%s has no event files of TensorBoard: no file in it has \"tfevents\" in its name", dir))
		}
	})
}

// run is one run while it is read.
type run struct {
	folder          *tracker.Folder
	options         tracker.Options
	dir, experiment string

	metadata     map[string]string // the plugin of a tag, which only its first value names
	names        []string          // of series
	series       map[string]*tracker.Series
	first, last  float64 // times of events
	params       tracker.Fields
	about        tracker.Fields // what hparams says beside the parameters
	status       string
	start, ended float64
	torn         string
	other        map[string]bool
}

func newRun(folder *tracker.Folder, o tracker.Options, dir, experiment string) *run {
	return &run{folder: folder, options: o, dir: dir, experiment: experiment, metadata: map[string]string{}, series: map[string]*tracker.Series{}, other: map[string]bool{}}
}

// read reads the files of a run in the order of their names, which begin with a time.
func (r *run) read(ctx context.Context, files []string, yield func(tracker.Run, error) bool) (ok bool) {
	events := 0
	for _, file := range files {
		n, err := r.file(ctx, file)
		if events += n; err != nil && !yield(tracker.Run{}, r.folder.LeftOut(file, err)) {
			return false
		}
	}
	if events == 0 || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	return yield(r.run(), nil)
}

func (r *run) file(ctx context.Context, file string) (events int, err error) {
	f, err := r.folder.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return r.events(ctx, f, file)
}

func (r *run) events(ctx context.Context, data io.Reader, file string) (events int, err error) {
	records := records{r: bufio.NewReaderSize(data, 64<<10)}
	for ctx.Err() == nil {
		data, err := records.next()
		switch {
		case errors.Is(err, io.EOF):
			return events, nil
		case errors.Is(err, errTorn):
			r.torn = r.folder.Path(file)
			return events, nil
		case err != nil:
			return events, err
		}
		if err := r.event(data); err != nil {
			return events, err
		}
		events++
	}
	return events, nil
}

func (r *run) event(message []byte) error {
	var at float64
	var step int64
	var summary []byte
	err := each(message, func(f field) error {
		switch {
		case f.number == eventTime && f.kind == protowire.Fixed64Type:
			at = f.double()
		case f.number == eventStep && f.kind == protowire.VarintType:
			step = int64(f.n)
		case f.number == eventSummary:
			summary = f.data
		}
		return nil
	})
	if err != nil {
		return err
	}
	if at > 0 {
		if r.first == 0 || at < r.first {
			r.first = at
		}
		r.last = max(r.last, at)
	}
	p := tracker.Point{Step: strconv.FormatInt(step, 10), Time: tracker.Number(at)}
	return each(summary, func(f field) error {
		if f.number != 1 {
			return nil
		}
		return r.value(f.data, p)
	})
}

// value takes one value of a summary.
func (r *run) value(message []byte, p tracker.Point) error {
	var tag, plugin string
	var content, tensor []byte
	var simple *float64
	kind := ""
	err := each(message, func(f field) error {
		switch f.number {
		case valueTag:
			tag = string(f.data)
		case valueSimple:
			v := f.float()
			simple = &v
		case valueImage:
			kind = "images"
		case valueHisto:
			kind = "histograms"
		case valueAudio:
			kind = "audio"
		case valueTensor:
			tensor = f.data
		case valueMetadata:
			return each(f.data, func(f field) error {
				if f.number != 1 {
					return nil
				}
				return each(f.data, func(f field) error {
					switch f.number {
					case 1:
						plugin = string(f.data)
					case 2:
						content = f.data
					}
					return nil
				})
			})
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !utf8.ValidString(tag):
		return errWire
	}
	if plugin != "" {
		r.metadata[tag] = plugin
	}
	plugin = r.metadata[tag]
	switch {
	case plugin == "hparams":
		return r.hparams(content)
	case simple != nil:
		p.Value = tracker.Number(*simple)
		r.add(tag, p)
	case tensor != nil && (plugin == "scalars" || plugin == ""):
		token, ok := scalarOf(tensor)
		if !ok {
			r.other["tensors"] = true
			return nil
		}
		p.Value = token
		r.add(tag, p)
	case kind == "" && plugin != "":
		r.other[plugin] = true
	case kind != "":
		r.other[kind] = true
	}
	return nil
}

func (r *run) add(tag string, p tracker.Point) {
	s, ok := r.series[tag]
	if !ok {
		s = tracker.NewSeries(r.options.Most())
		r.series[tag] = s
		r.names = append(r.names, tag)
	}
	s.Add(p)
}

// run is what was read as a run.
func (r *run) run() tracker.Run {
	id := r.dir
	if id == "" {
		id = r.experiment // the directory itself, which TensorBoard calls "."
	}
	out := tracker.Run{
		Where: r.folder.Path(r.dir), Experiment: r.experiment, ID: id, Status: r.status, Params: r.params,
		Start: timeOf(r.first), End: timeOf(r.ended), Changed: timeOf(r.last), Torn: r.torn,
	}
	if r.start > 0 {
		out.Start = timeOf(r.start)
	}
	for _, name := range r.names {
		s := r.series[name]
		out.Metrics.Point(name, s.Last())
		out.History = append(out.History, tracker.History{Name: name, Series: s})
	}
	out.Rest.Text("tracker", "tensorboard")
	if r.about.Len() > 0 {
		out.Rest.Object("hparams", &r.about)
	}
	for kind := range r.other {
		out.Other = append(out.Other, kind)
	}
	slices.Sort(out.Other)
	return out
}

// timeOf is a time in seconds; zero if that is not a time.
func timeOf(seconds float64) time.Time {
	if seconds <= 0 || seconds > 1e11 || math.IsNaN(seconds) {
		return time.Time{}
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(part*1e6))*1e3)
}
