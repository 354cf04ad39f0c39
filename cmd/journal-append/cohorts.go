package main

import (
	"errors"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// writer is a journal.Writer, or one for the records of many cohorts.
type writer interface {
	Append(recs []cohort.Record) error
	Close() error
}

// errNoCohort is about a call, or a line, that names no cohort, in a root that does not take it from the records.
var errNoCohort = errors.New(`"cohort" is missing: records name it themselves only in a root with the profile foxml`)

// newWriter is a writer for one cohort, or without one for that of each record.
func newWriter(root journal.Root, id string, o journal.Options) (writer, error) {
	if id != "" {
		return root.Create(cohort.ID(id), o)
	}
	if root.Settings.Profile != cohort.Foxml {
		return nil, errNoCohort
	}
	return &cohorts{root: root, options: o, writers: map[cohort.ID]*journal.Writer{}}, nil
}

// cohorts appends records to the cohorts that they name themselves. One goroutine uses it.
type cohorts struct {
	root    journal.Root
	options journal.Options
	writers map[cohort.ID]*journal.Writer
	order   []cohort.ID // of writers, oldest first
}

// maxWriters bounds the streams that are open at once.
const maxWriters = 100

// Append is that of a journal.Writer: an error about a record comes before any is written. After another error some of them may be durable, as there.
func (c *cohorts) Append(recs []cohort.Record) error {
	ids := make([]cohort.ID, len(recs))
	for i, r := range recs {
		var err error
		if ids[i], err = c.of(r); err != nil {
			return &journal.RecordError{Index: i, Err: err}
		}
	}
	for from := 0; from < len(recs); { // those in a row go together, and the order stays
		to := from + 1
		for to < len(recs) && ids[to] == ids[from] {
			to++
		}
		w, err := c.writer(ids[from])
		if err == nil {
			err = w.Append(recs[from:to])
		}
		if err != nil {
			return err
		}
		from = to
	}
	return nil
}

// of is the cohort of a record, or why it cannot be appended.
func (c *cohorts) of(r cohort.Record) (cohort.ID, error) {
	form := c.root.Settings.Key
	if err := errors.Join(form.ValidateRecord(r), form.Validate(r)); err != nil {
		return "", err
	}
	id, err := r.CohortIn(form)
	if err == nil && id == "" {
		err = errors.New("cohort_id is missing: give --cohort, or let the record name its cohort")
	}
	return id, err
}

func (c *cohorts) writer(id cohort.ID) (*journal.Writer, error) {
	if w := c.writers[id]; w != nil {
		return w, nil
	}
	if len(c.order) == maxWriters {
		oldest := c.order[0]
		c.order = c.order[1:]
		w := c.writers[oldest]
		delete(c.writers, oldest)
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	w, err := c.root.Create(id, c.options)
	if err != nil {
		return nil, err
	}
	c.writers[id], c.order = w, append(c.order, id)
	return w, nil
}

// Close ends all streams.
func (c *cohorts) Close() error {
	var errs []error
	for _, id := range c.order {
		errs = append(errs, c.writers[id].Close())
	}
	return errors.Join(errs...)
}
