package durable

import "syscall"

const (
	// errStale is ERROR_FILE_INVALID: what SMB answers for an open file that was replaced.
	errStale = syscall.Errno(1006)
	// errQuota is ERROR_DISK_FULL, which is what ENOSPC is elsewhere.
	errQuota = syscall.Errno(112)
)
