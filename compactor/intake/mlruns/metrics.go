package mlruns

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// metrics reads all metrics of a run.
func (r *reader) metrics(dir string, run *tracker.Run) (ok bool) {
	names, ok := r.Files(r.ctx, dir, r.left)
	if !ok {
		return false
	}
	for _, name := range names {
		if !utf8.ValidString(name) {
			if !r.leave(path.Join(dir, name), errName) {
				return false
			}
			continue
		}
		if !r.metric(path.Join(dir, name), name, run) {
			return false
		}
	}
	return true
}

// metric reads one metric. Each line is "timestamp value step"; the first versions wrote no step. Later ones may write a data set after it: then
// MLflow's own store reads the step as 0, and this one as it was written.
func (r *reader) metric(file, name string, run *tracker.Run) (ok bool) {
	f, err := r.Open(file)
	if err != nil {
		return r.leave(file, err)
	}
	defer f.Close()
	series := tracker.NewSeries(r.options.Most())
	var last point
	bad, firstBad := 0, 0 // lines that MLflow itself cannot read
	lines := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := tracker.Line(lines, maxLine)
		torn := errors.Is(err, io.EOF)
		if torn && len(line) == 0 {
			break
		}
		if err != nil && !torn && !errors.Is(err, tracker.ErrLong) {
			return r.leave(file, err)
		}
		p, good := parsePoint(string(line))
		switch {
		case torn: // what is there may be half a number
			run.Torn = r.Path(file)
		case !good:
			if bad++; bad == 1 {
				firstBad = n
			}
		default:
			series.Add(tracker.Point{Step: strconv.FormatInt(p.step, 10), Time: strconv.FormatInt(p.time, 10), Value: p.token})
			if series.Len() == 1 || last.before(p) {
				last = p
			}
			if t := time.UnixMilli(p.time); t.After(run.Changed) && isTime(t) {
				run.Changed = t
			}
		}
	}
	if bad > 0 && !r.left(&tracker.LeftOutError{
		Where:  fmt.Sprintf("%s, line %d (of %d)", r.Path(file), firstBad, bad),
		Reason: "is not \"timestamp value step\": MLflow shows no run of this experiment until that is mended",
	}) {
		return false
	}
	if series.Len() == 0 {
		return true
	}
	run.Metrics.Point(name, tracker.Point{Value: last.token})
	run.History = append(run.History, tracker.History{Name: name, Series: series})
	return true
}

type point struct {
	time, step int64
	value      float64
	token      string
}

// before tells whether q is the value of the metric rather than p: where MLflow compares (step, timestamp, value).
func (p point) before(q point) bool {
	switch {
	case p.step != q.step:
		return p.step < q.step
	case p.time != q.time:
		return p.time < q.time
	}
	return p.value < q.value || math.IsNaN(p.value) && !math.IsNaN(q.value)
}

func parsePoint(line string) (p point, ok bool) {
	parts := strings.Split(strings.TrimSpace(line), " ")
	if n := len(parts); n != 2 && n != 3 && n != 5 {
		return p, false
	}
	var err error
	if p.time, err = strconv.ParseInt(parts[0], 10, 64); err != nil {
		return p, false
	}
	if p.token, p.value, ok = tracker.NumberOf(parts[1]); !ok {
		return p, false
	}
	if len(parts) > 2 {
		p.step, err = strconv.ParseInt(parts[2], 10, 64)
	}
	return p, err == nil
}

// maxLine bounds a line: three numbers and the name of a data set.
const maxLine = 64 << 10

// isTime tells whether a record can have a time: its year has four digits.
func isTime(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }
