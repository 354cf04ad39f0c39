package durable

import "syscall"

// errStale is ERROR_FILE_INVALID: what SMB answers for an open file that was replaced.
const errStale = syscall.Errno(1006)
