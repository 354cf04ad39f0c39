// Package cohort is the domain of runfold: what a run record is, how it is named and ordered, and
// where everything lies in a root. It does no I/O: every rule here can be tested with plain values.
//
// # Words
//
// A root holds cohorts. A cohort is a named group of runs that are compared with each other. A
// record is one JSON object about one stage of one run. Its [Key] says which row of the index it
// becomes; its [Stamp] and record id say which of several records with one key is the last.
//
//	r, err := cohort.ParseRecord([]byte(`{"run_id":"r-17","stage":"TRAINING","metrics":{"auc":0.71}}`), 0)
//	key := cohort.KeyForm{}.Of(r) // "r-17:TRAINING"
//
// # What a program needs
//
// [ParseRecord] makes a [Record] of JSON: it is the one way to make what a journal accepts. [ID] names a cohort, and
// [ParseID] checks a name that comes from outside. [Root] is the directory of a root: a plain string with methods for
// every path in it. [Settings] are the settings of a new root. [Key], [Seq], [Stamp], [Generation] and
// [StreamID] are what the other packages answer with.
//
// [Parser] and [Memory] are for programs that parse millions of records and keep few. The names of data files, [Token] and
// the functions about manifests are for the other packages of this module; docs/format/manifest.md describes what
// they read and write.
//
// All types are values. Those with methods on a pointer (Parser, Memory) are for one goroutine.
//
// # Backwards compatibility
//
// Every spelling that this package ever wrote to a disk is read by every later version. What it
// accepts beyond that (old key forms) is listed at [ParseKey].
package cohort

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNewer reports a file written by a later version of runfold than this one. It is never a sign of
// damage: the bytes are fine and the answer is to use the newer program.
var ErrNewer = errors.New("written by a newer version of runfold")

// ID names a cohort: 1 to 200 bytes of A-Z a-z 0-9 . _ = -, not starting with a dot. As it becomes a
// directory name, no other character is accepted, and so no ID can point out of its root.
type ID string

// maxID bounds an ID so that names built from it stay below the 255 bytes of every file system.
const maxID = 200

// ParseID accepts exactly the names that the type describes. The error says what is wrong with s.
func ParseID(s string) (ID, error) {
	switch {
	case s == "":
		return "", errors.New("cohort name is empty")
	case len(s) > maxID:
		return "", fmt.Errorf("cohort name of %d bytes is too long: at most %d", len(s), maxID)
	case s[0] == '.':
		return "", fmt.Errorf("cohort name %q starts with a dot", s)
	}
	for i := 0; i < len(s); i++ {
		if !isIDByte(s[i]) {
			return "", fmt.Errorf("cohort name %q has %q: only A-Z a-z 0-9 . _ = - are allowed", s, s[i:i+1])
		}
	}
	return ID(s), nil
}

func isIDByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '.' || c == '_' || c == '=' || c == '-'
}

// EqualFold tells whether two names differ at most in letter case. Such names are one directory on SMB,
// macOS and Windows, so the second is refused when it would be created.
func (id ID) EqualFold(other ID) bool { return strings.EqualFold(string(id), string(other)) }

func (id ID) String() string { return string(id) }
