//go:build !unix

package journal

import "github.com/runfold/runfold/cohort"

// systemChildren is empty on this system: see unix_test.go.
var systemChildren map[string]func(root cohort.Root) error
