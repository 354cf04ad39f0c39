//go:build !unix

package journal

import "github.com/runfold/runfold/cohort"

// systemChildren are none here: see unix_test.go.
var systemChildren map[string]func(root cohort.Root) error
