//go:build !windows

package durable

import "syscall"

const (
	errStale = syscall.ESTALE
	errQuota = syscall.EDQUOT
)
