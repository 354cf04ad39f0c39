package main

import (
	"fmt"
	"io"
	"os"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// rootIDVar is the environment variable that stands for --root-id.
const rootIDVar = "RUNFOLD_ROOT_ID"

// openRoot opens the root that is meant, and makes it only if that was asked for.
func (o options) openRoot(stderr io.Writer) (journal.Root, error) {
	root := cohort.Root(o.root)
	if !o.create {
		return journal.OpenRoot(root, journal.RootOptions{ID: o.rootID})
	}
	r, created, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{ID: o.rootID})
	if created {
		fmt.Fprintf(stderr, "journal-append: %s is a new root: id %s\n", root, r.Settings.RootID)
	}
	return r, err
}

// wantedRoot is the root id that the flag gives or, without the flag, the environment; empty if neither does. A flag
// that is given and empty was meant: an unset variable must not make any root right.
func wantedRoot(flag string, given bool) (string, error) {
	from, text := "--root-id", flag
	if !given {
		from, text = rootIDVar, os.Getenv(rootIDVar)
		if text == "" {
			return "", nil
		}
	}
	id, err := cohort.ParseRootID(text)
	if err != nil {
		return "", usageError{fmt.Errorf("%s: %w", from, err)}
	}
	return id, nil
}

// wayOut says what to do about a path that is no root.
func wayOut(none *journal.NoRootError) string {
	switch {
	case none.Lost:
		return "a copy of runfold.json in its place makes it a root again"
	case !none.Vacant:
		return "is the path right? A root is made in a directory that is new or empty"
	}
	return fmt.Sprintf("if the root is on a share, see whether it is mounted; a new root is made by compactd init --root %s, "+
		"or by --create with the first append", none.Root)
}
