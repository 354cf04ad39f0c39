package history

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

const (
	// flushBytes and flushRecords bound the records that wait for an append.
	flushBytes   = 16 << 20
	flushRecords = 10_000
	// maxWriters bounds the streams that are open at once: each takes a few open files.
	maxWriters = 100
)

// appender appends records to their cohorts, many at once. Without Apply it does nothing.
type appender struct {
	root    journal.Root
	options journal.Options
	apply   bool
	reason  string                      // of withdrawals
	before  func([]cohort.Record) error // nil: nothing

	waiting map[cohort.ID][]cohort.Record
	bytes   int
	records int
	writers map[cohort.ID]*journal.Writer
	clock   func() time.Time // of the append that is under way
}

func (r *restoring) appender() *appender {
	a := &appender{
		root: r.store.Journal(), apply: r.o.Apply, before: r.o.before, reason: fmt.Sprintf("restore of generation %d", uint64(r.to)),
		waiting: map[cohort.ID][]cohort.Record{}, writers: map[cohort.ID]*journal.Writer{},
	}
	a.options = journal.Options{Program: r.cfg.Program, RootID: r.cfg.RootID, Now: func() time.Time { return a.clock() }}
	return a
}

// protections are the actions of a generation that protect runs.
func protections(s *side) (*cohort.InForce, error) {
	all := cohort.NewInForce(s.store.Settings.Key)
	for r, err := range s.data.Actions() {
		if err != nil {
			return nil, fmt.Errorf("read generation %d: %w", s.manifest.Generation, err)
		}
		if r.Action == cohort.Protect || r.Action == cohort.Unprotect {
			all.Add(r)
		}
	}
	return all, nil
}

// write appends a record that Remake made, now or with the next flush. It is a write of its own, so it gets an id of its own.
func (a *appender) write(rec cohort.Record) error {
	rec.ID = ""
	return a.add(rec)
}

// withdraw takes out the row of a key.
func (a *appender) withdraw(key cohort.Key, id cohort.ID) error {
	at, err := a.root.Settings.Key.AimAt(key)
	if err != nil {
		return err
	}
	rec, err := cohort.NewAction(cohort.Withdraw, at, a.reason)
	if err != nil {
		return fmt.Errorf("withdraw %q: %w", key, err)
	}
	rec.Cohort = id
	return a.add(rec)
}

func (a *appender) add(rec cohort.Record) error {
	if !a.apply {
		return nil
	}
	a.waiting[rec.Cohort] = append(a.waiting[rec.Cohort], rec)
	a.bytes += len(rec.JSON)
	if a.records++; a.bytes < flushBytes && a.records < flushRecords {
		return nil
	}
	return a.flush()
}

// flush makes durable what waits.
func (a *appender) flush() error {
	for _, id := range slices.Sorted(maps.Keys(a.waiting)) {
		if err := a.append(id, a.waiting[id]); err != nil {
			return err
		}
	}
	clear(a.waiting)
	a.bytes, a.records = 0, 0
	return nil
}

// append appends the records of one cohort. Those without a timestamp come apart: the clock of their append is the time of their rows, and the zero
// time where nobody knows it.
func (a *appender) append(id cohort.ID, recs []cohort.Record) error {
	w, err := a.writer(id)
	if err != nil {
		return err
	}
	var timed, untimed []cohort.Record
	for _, r := range recs {
		if r.Timestamp != "" || r.Action != cohort.NoAction {
			timed = append(timed, r)
		} else {
			untimed = append(untimed, r)
		}
	}
	slices.SortStableFunc(untimed, func(a, b cohort.Record) int { return a.Written.Compare(b.Written) })
	for len(untimed) > 0 {
		at, n := untimed[0].Written, 1
		for n < len(untimed) && untimed[n].Written.Equal(at) {
			n++
		}
		if err := a.appendAt(w, func() time.Time { return at }, untimed[:n]); err != nil {
			return err
		}
		untimed = untimed[n:]
	}
	return a.appendAt(w, time.Now, timed)
}

func (a *appender) appendAt(w *journal.Writer, clock func() time.Time, recs []cohort.Record) error {
	if len(recs) == 0 {
		return nil
	}
	if a.before != nil {
		if err := a.before(recs); err != nil {
			return err
		}
	}
	a.clock = clock
	return w.Append(recs)
}

// writer is that of a cohort. If too many are open, all others end.
func (a *appender) writer(id cohort.ID) (*journal.Writer, error) {
	if w := a.writers[id]; w != nil {
		return w, nil
	}
	if len(a.writers) >= maxWriters {
		if err := a.end(); err != nil {
			return nil, err
		}
	}
	w, err := a.root.Create(id, a.options)
	if err != nil {
		return nil, err
	}
	a.writers[id] = w
	return w, nil
}

// close ends all streams. What waits is dropped: an error has come, or flush has left nothing.
func (a *appender) close() error { return a.end() }

func (a *appender) end() error {
	var errs []error
	for _, w := range a.writers {
		errs = append(errs, w.Close())
	}
	clear(a.writers)
	return errors.Join(errs...)
}
