package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/terminal"
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
	w              writer
	form           cohort.KeyForm // of the root's keys
	maxRecord      int
	room           *semaphore.Weighted // for lines that are read and not answered
	stdout, stderr io.Writer
	start          time.Time
	progress       *progress
	batch          []numbered // for the next one

	appended, refused, nonFinite int
	zoned                        int // timestamps that got the zone of --assume-zone
	bytes                        int64
	files                        []string // what is to be read, in its order
	at                           int      // of files: where the last line came from that was dealt with
	answered                     int      // the number of that line
	ended                        bool     // nothing more comes of that file
	lost                         bool     // a line was not made durable: those behind it do not count as answered
	last                         place    // the last line that is durable; its number is 0 if there is none
	unread                       []unread
	ackErr                       error // the first error of standard output
}

// errStrict ends the input after a bad line under --strict; the line itself was reported.
var errStrict = errors.New("stopped at the first bad line (--strict)")

// lines appends everything that comes. It takes what is there, up to a batch, and never waits for a
// batch to fill: a slow pipe gets its acknowledgement at once.
func (a *appender) lines(in <-chan line) error {
	waiting := func() (l line, ok bool) {
		select {
		case l, ok = <-in:
		default:
		}
		return l, ok
	}
	for l := range in {
		if err := a.append(a.collect(l, waiting)); err != nil {
			a.leave()
			return err
		}
	}
	return nil
}

// numbered is a line, and the record that it holds, or why it holds none.
type numbered struct {
	line
	record cohort.Record
	zoned  bool
	lost   bool // err ended the append: it is told once for all

	mayRepeat bool // of one that is lost: the same append may succeed, under --multiplex
}

// collect parses l and the lines that are already waiting. Under --strict a batch ends with the first bad line.
func (a *appender) collect(l line, waiting func() (line, bool)) (batch []numbered) {
	size := 0
	batch = a.batch[:0] // the one before is answered
	defer func() { a.batch = batch }()
	for more := true; more; {
		batch = append(batch, numbered{line: l})
		n := &batch[len(batch)-1]
		if n.err == nil && !n.blank {
			n.record, n.zoned, n.err = a.parse(l)
		}
		size += len(l.data)
		if n.err != nil && a.strict || len(batch) >= maxBatch || size >= maxBatchBytes {
			break
		}
		l, more = waiting()
	}
	return batch
}

// parse reads the record of a line, and tells whether its timestamp got a zone.
func (a *appender) parse(l line) (r cohort.Record, zoned bool, err error) {
	if l.action != nil {
		return *l.action, false, nil
	}
	given, err := cohort.ParseRecord(l.data, a.maxRecord)
	if err != nil {
		return cohort.Record{}, false, explain(l.data, err)
	}
	if r, err = a.inZone(given); err != nil {
		return cohort.Record{}, false, err
	}
	return r, r.Timestamp != given.Timestamp, a.form.ValidateRecord(r)
}

// append makes a batch durable and answers each line of it, in order. A record that only the root refuses (its key form) is
// reported like a bad line, and the others are appended.
func (a *appender) append(batch []numbered) error {
	batch, err := a.write(batch)
	for i := range batch {
		a.answer(&batch[i])
	}
	a.room.Release(cost(batch))
	a.progress.show(a.appended, a.bytes)
	if err == nil && a.strict && len(batch) > 0 && batch[len(batch)-1].err != nil {
		return errStrict
	}
	return err
}

// cost is what the lines of a batch take of the room.
func cost(batch []numbered) (sum int64) {
	for i := range batch {
		sum += batch[i].cost
	}
	return sum
}

// write appends the records of a batch. What comes back is the batch, with the reason at each line that is not durable; under
// --strict, as far as the first of them.
func (a *appender) write(batch []numbered) ([]numbered, error) {
	for {
		at := make([]int, 0, len(batch)) // where the records stand in batch
		recs := make([]cohort.Record, 0, len(batch))
		for i := range batch {
			if n := &batch[i]; n.err == nil && !n.blank {
				at, recs = append(at, i), append(recs, n.record)
			}
		}
		if len(recs) == 0 {
			return batch, nil
		}
		err := a.away(a.w.Append(recs))
		var bad *journal.RecordError
		switch {
		case errors.As(err, &bad):
			i := at[bad.Index]
			batch[i].err = bad.Err
			if a.strict {
				batch = batch[:i+1]
			}
			continue
		case err != nil:
			err = fmt.Errorf("append: %w", err)
			for _, i := range at {
				batch[i].err, batch[i].lost = err, true
			}
			return batch, err
		}
		for k, i := range at {
			batch[i].record = recs[k]
		}
		return batch, nil
	}
}

// say writes a message on a line of its own.
func (a *appender) say(format string, args ...any) {
	a.progress.clear()
	fmt.Fprintf(a.stderr, "journal-append: %s\n", terminal.Line(fmt.Sprintf(format, args...)))
}
