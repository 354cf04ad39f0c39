package generation

import (
	"fmt"

	"github.com/runfold/runfold/cohort"
)

// Notice is one fact of a run that a person should know. String says it on one line.
type Notice = fmt.Stringer

// Published tells that the root's public files now show a generation.
type Published struct {
	Generation cohort.Generation
	Rows       int64
	Healed     bool // a public file was missing or damaged
	Late       bool // committed by an earlier run that ended before it could publish; nothing was broken
}

func (n Published) String() string {
	switch text := fmt.Sprintf("published generation %d with %d rows", n.Generation, n.Rows); {
	case n.Healed:
		return "healed: " + text
	case n.Late:
		return text + ", which an earlier run had committed"
	default:
		return text
	}
}

// NotOurs tells that a public name showed something that no generation published: somebody wrote there, or the file was
// damaged. It was replaced.
type NotOurs struct {
	Path string // relative to the root
	Kept string // where the bytes are now, relative to the root; empty if it was no regular file
	// Import is the command that takes what was kept into the root, where other programs are expected to write the public names; else empty.
	Import string
}

func (n NotOurs) String() string {
	if n.Import != "" {
		return fmt.Sprintf("%s: another program has written it: replaced by the newest generation, and what it wrote is in %s: take its rows in with %s", n.Path, n.Kept, n.Import)
	}
	text := fmt.Sprintf("%s: was not what any kept generation published: replaced by the newest one", n.Path)
	if n.Kept != "" {
		text += "; kept in " + n.Kept
	}
	return text
}

// Conflicted tells that another compactor committed first. This is not a failure: the fold starts again.
type Conflicted struct{ Generation cohort.Generation }

func (n Conflicted) String() string {
	return fmt.Sprintf("another compactor committed generation %d first: folding again", n.Generation)
}

// NotSwept tells that something that is no longer needed could not be removed. The next fold tries
// again, and nothing depends on it.
type NotSwept struct {
	Path string
	Err  error
}

func (n NotSwept) String() string { return fmt.Sprintf("%s: not removed: %v", n.Path, n.Err) }

// ModeNotHeld tells that a manifest, and so probably all that this process makes in the root, does not have the mode that the root's
// settings give. The generation is as whole as any; others of the group may not be able to read it.
type ModeNotHeld struct{ Err error }

func (n ModeNotHeld) String() string { return n.Err.Error() }

// TwoHistories tells that files of two copies of the root lie in one directory. Records of one of them are missing in the
// index; nothing is removed.
type TwoHistories struct{ Generation cohort.Generation }

func (n TwoHistories) String() string {
	return fmt.Sprintf("generation %d is not of the same history as the one after it: two copies of this root were merged by a file tool, and "+
		"rows of one are missing; nothing is removed: take the copies apart, and take one into the other with compactd import", n.Generation)
}
