package main

import (
	"github.com/runfold/runfold/cohort"
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
