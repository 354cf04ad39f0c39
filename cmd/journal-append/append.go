package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

const (
	// maxBatch bounds what shares one fsync, so that the first of a batch does not wait long.
	maxBatch      = 256
	maxBatchBytes = 256 << 10
)

// appender takes lines to a Writer and keeps the books.
type appender struct {
	options
	w              *journal.Writer
	maxRecord      int
	stdout, stderr io.Writer
	start          time.Time
	progress       *progress

	appended, refused, nonFinite int
	zoned                        int // timestamps that got the zone of --assume-zone
	bytes                        int64
	ackErr                       error // the first error of standard output
}

// errStrict ends the input after a bad line under --strict; the line itself was reported.
var errStrict = errors.New("stopped at the first bad line (--strict)")

// lines appends everything that comes. It takes what is there, up to a batch, and never waits for a
// batch to fill: a slow pipe gets its acknowledgement at once.
func (a *appender) lines(in <-chan line) error {
	for l := range in {
		batch, more, err := a.collect(l, in)
		if aerr := a.append(batch); aerr != nil {
			return aerr
		}
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
	return nil
}

// entry is a record and the line that it came from.
type numbered struct {
	line
	record cohort.Record
	zoned  bool
}

// collect parses l and the lines that are already waiting. more is false when the input has ended.
func (a *appender) collect(l line, in <-chan line) (batch []numbered, more bool, err error) {
	size := 0
	for {
		n, err := a.parse(l)
		if err != nil {
			a.refuse(l, err)
			if a.strict {
				return batch, false, errStrict
			}
		} else {
			batch = append(batch, n)
			size += len(l.data)
		}
		if len(batch) >= maxBatch || size >= maxBatchBytes {
			return batch, true, nil
		}
		select {
		case next, ok := <-in:
			if !ok {
				return batch, false, nil
			}
			l = next
		default:
			return batch, true, nil
		}
	}
}

func (a *appender) parse(l line) (numbered, error) {
	if l.err != nil {
		return numbered{}, l.err
	}
	given, err := cohort.ParseRecord(l.data, a.maxRecord)
	if err != nil {
		return numbered{}, err
	}
	r, err := a.inZone(given)
	if err != nil {
		return numbered{}, err
	}
	return numbered{l, r, r.Timestamp != given.Timestamp}, r.Validate()
}

func (a *appender) refuse(l line, err error) {
	a.refused++
	a.progress.clear()
	fmt.Fprintf(a.stderr, "journal-append: %s: %v\n", l.where(), err)
}

// append makes a batch durable. A record that only the root refuses (its key form) is reported like a
// bad line and the others are appended.
func (a *appender) append(batch []numbered) error {
	for len(batch) > 0 {
		recs := make([]cohort.Record, len(batch))
		for i, n := range batch {
			recs[i] = n.record
		}
		err := a.w.Append(recs)
		var bad *journal.RecordError
		if errors.As(err, &bad) {
			a.refuse(batch[bad.Index].line, bad.Err)
			if a.strict {
				if err := a.append(batch[:bad.Index]); err != nil {
					return err
				}
				return errStrict
			}
			batch = append(batch[:bad.Index:bad.Index], batch[bad.Index+1:]...)
			continue
		}
		if err != nil {
			a.refused += len(batch)
			return fmt.Errorf("append: %w", err)
		}
		a.count(batch, recs)
		return nil
	}
	return nil
}

func (a *appender) count(batch []numbered, recs []cohort.Record) {
	for i, r := range recs {
		a.appended++
		a.nonFinite += r.NonFinite + batch[i].nonFinite
		if batch[i].zoned {
			a.zoned++
		}
		a.bytes += int64(len(r.JSON))
		if a.ack {
			a.acknowledge(batch[i].line, r)
		}
	}
	a.progress.show(a.appended, a.bytes)
}

// acknowledgement is a line of --ack.
type acknowledgement struct {
	File     string          `json:"file"`
	Line     int             `json:"line"`
	RunID    string          `json:"run_id"`
	Stage    string          `json:"stage"`
	RecordID string          `json:"record_id"`
	Stream   cohort.StreamID `json:"stream"`
	Stamp    cohort.Stamp    `json:"stamp"`
}

// acknowledge prints one line. That nobody reads them any more does not undo the records, so the input
// goes on and the exit code tells.
func (a *appender) acknowledge(l line, r cohort.Record) {
	if a.ackErr != nil {
		return
	}
	a.ackErr = a.printJSON(acknowledgement{l.file, l.number, r.RunID, r.Stage, r.ID, r.Stream, r.Stamp})
}

func (a *appender) printJSON(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(append(data, '\n'))
	return err
}

// summary is the closing line.
type summary struct {
	Cohort    string  `json:"cohort"`
	Appended  int     `json:"appended"`
	Refused   int     `json:"refused"`
	NonFinite int     `json:"non_finite_to_null"`
	Zoned     int     `json:"zones_assumed"`
	Bytes     int64   `json:"bytes"`
	Seconds   float64 `json:"seconds"`
	zone      string
}

// finish prints the summary and turns what went wrong into one error.
func (a *appender) finish(closed error) error {
	a.progress.clear()
	s := summary{a.cohort, a.appended, a.refused, a.nonFinite, a.zoned, a.bytes, time.Since(a.start).Seconds(), a.assumeZone}
	switch a.summary {
	case "json":
		a.ackErr = errors.Join(a.ackErr, a.printJSON(s))
	case "text":
		fmt.Fprintf(a.stderr, "journal-append: %s\n", s)
	}
	var err error
	if a.refused > 0 {
		err = fmt.Errorf("%d of %d records were not appended", a.refused, a.refused+a.appended)
	}
	if a.ackErr != nil {
		err = errors.Join(err, fmt.Errorf("standard output: %w", a.ackErr))
	}
	if closed != nil { // what was acknowledged is durable all the same
		fmt.Fprintf(a.stderr, "journal-append: the stream has no seal, which loses nothing: %v\n", closed)
	}
	return err
}

func (s summary) String() string {
	text := fmt.Sprintf("%s: %d appended, %d refused", s.Cohort, s.Appended, s.Refused)
	if s.NonFinite > 0 {
		text += fmt.Sprintf(", %d NaN or Infinity became null", s.NonFinite)
	}
	if s.Zoned > 0 {
		text += fmt.Sprintf(", %d timestamps without a zone taken as %s", s.Zoned, s.zone)
	}
	return text
}
