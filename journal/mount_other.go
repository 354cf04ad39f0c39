//go:build !unix

package journal

import "github.com/runfold/runfold/cohort"

// isMountPoint is for messages only: here nothing tells it.
func isMountPoint(cohort.Root) bool { return false }
