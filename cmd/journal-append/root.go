package main

import (
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/build"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// openRoot opens the root that is meant, and makes it only if that was asked for.
func (o options) openRoot(say func(format string, args ...any)) (journal.Root, error) {
	root := cohort.Root(o.root)
	if !o.create {
		return journal.OpenRoot(root, journal.RootOptions{ID: o.rootID})
	}
	r, created, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{ID: o.rootID})
	if created {
		say("%s is a new root: id %s", root, r.Settings.RootID)
	}
	return r, err
}

// isFoxml tells whether the root is there and has the profile foxml.
func (o options) isFoxml() bool {
	r, err := journal.OpenRoot(cohort.Root(o.root), journal.RootOptions{})
	return err == nil && r.Settings.Profile == cohort.Foxml
}

// away says of an error of the root that its storage does not answer, where it says so.
func (o options) away(err error) error {
	return durable.Away(err, func() bool { return durable.Remote(durable.OS, o.root) })
}

// begin opens the root, and begins a stream.
func (o options) begin(say func(format string, args ...any), notify func(told error)) (*appender, error) {
	root, err := o.openRoot(say)
	if err != nil {
		return nil, o.away(err)
	}
	w, err := newWriter(root, o.cohort, journal.Options{
		SealBytes: int64(o.sealBytes), SealAge: time.Duration(o.sealAge), Program: "journal-append " + build.Version(), Notify: notify,
	})
	if err != nil {
		return nil, o.away(err)
	}
	return &appender{options: o, w: w, form: root.Settings.Key, maxRecord: root.Settings.MaxRecord}, nil
}
