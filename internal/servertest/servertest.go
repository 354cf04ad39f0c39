// Package servertest starts real servers for tests, and networks that are cut. Debian has all that it needs.
package servertest

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// errNone reports that a program is not installed.
type errNone struct{ program, in string }

func (e errNone) Error() string {
	return fmt.Sprintf("there is no %s (Debian has it in %s)", e.program, e.in)
}

// Skip skips a test that needs a server or a network, where making one has failed. It fails one that must run: what can be installed must be there, but no
// one can be made root.
func Skip(t testing.TB, why error) {
	t.Helper()
	none := errors.As(why, new(errNone)) || errors.Is(why, ErrNoIP)
	if !errors.Is(why, ErrNoNet) && (!none || os.Getenv("RUNFOLD_MUST_RUN") != "") {
		t.Fatal(why)
	}
	t.Skip(why)
}
