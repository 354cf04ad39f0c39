// Package tracker is what the readers of trackers' files share: what a run is, a folder that nothing leads out of, a history that
// is thinned, and which cohort an experiment becomes.
//
// A reader, such as that of package mlruns, yields runs and, between them, a [LeftOutError] for each thing that it could not read. Package
// intake makes records of them.
//
// # Backwards compatibility
//
// Every later version makes the same record of the same files, or says in the changelog what changed: a record that changed is
// imported again.
package tracker

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Runs are the runs of a tracker in the order in which they were found, which is always the same for the same files. A LeftOutError is
// followed by others; any other error is the last. They end early when the context of their reader has ended.
type Runs = iter.Seq2[Run, error]

// Options say what a reader keeps.
type Options struct {
	// Steps is how many steps of each metric are kept. If zero, DefaultSteps; if negative, no steps are kept.
	Steps int
	// Zone is the zone of times that have none. If nil, UTC.
	Zone *time.Location
}

// DefaultSteps is how many steps of each metric are kept where nobody says it.
const DefaultSteps = 1000

// Most is how many steps are kept.
func (o Options) Most() int {
	switch {
	case o.Steps == 0:
		return DefaultSteps
	case o.Steps < 0:
		return 0
	}
	return o.Steps
}

// Run is one run as a tracker has it.
type Run struct {
	Where      string // the file or folder, for people
	Experiment string // its name, with any characters; empty if that is not known
	ID         string
	Name       string
	Status     string    // RUNNING, FINISHED, FAILED, KILLED or SCHEDULED; empty if that is not known
	Start, End time.Time // zero: not known
	Changed    time.Time // the last time that the tracker noted anything of the run; zero: not known
	Deleted    bool      // in the tracker

	Metrics, Params, Tags Fields
	Rest                  Fields // all else, for the snapshot
	History               []History

	Zoned int      // how many of its times had no zone
	Odd   int      // how many values are NaN or infinite, beside those that Fields and History count
	Torn  string   // the file that ends within an entry, which was read up to there; empty if none does
	Other []string // what kinds of data it has that are not taken, such as images
}

// Time reads a time as Python's isoformat writes it, with or without a zone, and counts it in Zoned if it has none. ok is false if it is no time.
func (r *Run) Time(text string, o Options) (t time.Time, ok bool) {
	if t, ok := cohort.ParseTime(text); ok {
		return t, true
	}
	zone := o.Zone
	if zone == nil {
		zone = time.UTC
	}
	text = strings.Replace(text, " ", "T", 1)
	offset, err := cohort.MissingZone(text, zone)
	if err != nil {
		return time.Time{}, false
	}
	if t, ok = cohort.ParseTime(text + offset); ok {
		r.Zoned++
	}
	return t, ok
}

// The words of Run.Status.
const (
	Scheduled = "SCHEDULED"
	Running   = "RUNNING"
	Finished  = "FINISHED"
	Failed    = "FAILED"
	Killed    = "KILLED"
)

// History is that of one metric.
type History struct {
	Name   string
	Series *Series
}

// LeftOutError is a run, or a part of one, that could not be read. The others can be.
type LeftOutError struct {
	Where  string // the file or folder
	Reason string // the same text for all of its kind
}

func (e *LeftOutError) Error() string { return fmt.Sprintf("%s: %s", e.Where, e.Reason) }

// Shape says how much of a run a record has, because it may be too large.
type Shape struct {
	Stage, Prefix string
	Most          int // steps of each metric
}

// JSON is the run as a record. cut is how many metrics have more steps than it has.
func (r *Run) JSON(s Shape) (record []byte, cut int) {
	var b Fields
	b.Text("run_id", s.Prefix+r.ID)
	b.Text("stage", s.Stage)
	b.time("timestamp", r.At())
	for _, f := range [...]struct{ name, text string }{{"status", r.Status}, {"name", r.Name}} {
		if f.text != "" {
			b.Text(f.name, f.text)
		}
	}
	b.time("start_time", r.Start)
	b.time("end_time", r.End)
	for _, group := range [...]struct {
		name string
		of   *Fields
	}{{"metrics", &r.Metrics}, {"params", &r.Params}, {"tags", &r.Tags}} {
		if group.of.Len() > 0 {
			b.Object(group.name, group.of)
		}
	}
	snapshot := r.Rest.clone()
	var history Fields
	for _, h := range r.History {
		if s.Most == 0 {
			break
		}
		text, isCut := h.Series.json(s.Most)
		history.JSON(h.Name, text)
		if isCut {
			cut++
		}
	}
	if history.Len() > 0 {
		snapshot.Object("history", &history)
	}
	b.Object("snapshot", &snapshot)
	return b.Bytes(), cut
}

// At is the time that orders the states of a run: when something was noted last.
func (r *Run) At() time.Time {
	at := r.Changed
	for _, t := range [...]time.Time{r.Start, r.End} {
		if t.After(at) {
			at = t
		}
	}
	return at
}

// NonFinite is how many values are NaN or infinite, which a record does not have.
func (r *Run) NonFinite() int {
	n := r.Odd + r.Metrics.nonFinite + r.Params.nonFinite + r.Tags.nonFinite + r.Rest.nonFinite
	for _, h := range r.History {
		n += h.Series.nonFinite
	}
	return n
}

// Quote is a text as JSON.
func Quote(text string) []byte { return jsonscan.Quote(text) }
