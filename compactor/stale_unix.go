//go:build !windows

package compactor

import "syscall"

// errStale is what a network file system answers for a file that was replaced on another machine.
const errStale = syscall.ESTALE
