//go:build !unix

package journal

import "github.com/runfold/runfold/cohort"

// isMountPoint is only for messages. This system does not tell it.
func isMountPoint(cohort.Root) bool { return false }
