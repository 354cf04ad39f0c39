//go:build !windows

package main

import "syscall"

// errQuota is a full quota, which is a full disk to us.
const errQuota = syscall.EDQUOT
