// Package rootid finds which root a command means, and says what to do if it is not there.
package rootid

import (
	"fmt"
	"os"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// Var is the environment variable that stands for --root-id.
const Var = "RUNFOLD_ROOT_ID"

// Wanted is the root id that the flag --root-id gives or, without the flag, the environment; empty if neither does. A flag that is
// given and empty was meant: an unset variable must not make any root right.
func Wanted(flag string, given bool) (id string, err error) {
	from, text := "--root-id", flag
	if !given {
		from, text = Var, os.Getenv(Var)
		if text == "" {
			return "", nil
		}
	}
	id, err = cohort.ParseRootID(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", from, err)
	}
	return id, nil
}

// WayOut says what to do about a path that is no root. byAppend says how an append makes one.
func WayOut(none *journal.NoRootError, byAppend string) string {
	switch {
	case none.Manifests:
		return anew(none.Root)
	case none.Lost:
		return "a copy of runfold.json in its place makes it a root again"
	case !none.Vacant:
		return "is the path right? A root is made in a directory that is new or empty"
	}
	return fmt.Sprintf("if the root is on a share, see whether it is mounted; a new root is made by compactd init --root %s, or by %s",
		none.Root, byAppend)
}
