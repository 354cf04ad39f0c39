package main

import "syscall"

// errQuota is ERROR_DISK_FULL: what ENOSPC is elsewhere.
const errQuota = syscall.Errno(112)
