//go:build !windows

package durable_test

import "syscall"

// awayHere are the errnos of this system, for TestAway.
var awayHere = []awayCase{
	{syscall.ENOENT, false, false},
	{syscall.EACCES, false, false},
	{syscall.ENOSPC, false, false},
	{syscall.EIO, false, true},
	{syscall.EAGAIN, false, true},
	{syscall.ENOTCONN, true, true},
	{syscall.ESTALE, true, true},
	{syscall.ETIMEDOUT, true, true},
}
