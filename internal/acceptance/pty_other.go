//go:build !linux

package acceptance

import "github.com/rogpeppe/go-internal/testscript"

func onTerminal(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("a terminal is made on Linux only")
}
