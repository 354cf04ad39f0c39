package durable_test

import "syscall"

// awayHere are the errors of Windows, for TestAway.
var awayHere = []awayCase{
	{syscall.ERROR_FILE_NOT_FOUND, false, false},
	{syscall.ERROR_PATH_NOT_FOUND, false, false},
	{syscall.ERROR_ACCESS_DENIED, false, false},
	{syscall.Errno(32), false, false},  // ERROR_SHARING_VIOLATION: somebody has it open
	{syscall.Errno(33), false, false},  // ERROR_LOCK_VIOLATION
	{syscall.Errno(112), false, false}, // ERROR_DISK_FULL
	{syscall.Errno(53), true, true},    // ERROR_BAD_NETPATH
	{syscall.Errno(54), true, true},    // ERROR_NETWORK_BUSY
	{syscall.Errno(55), true, true},    // ERROR_DEV_NOT_EXIST
	{syscall.Errno(59), true, true},    // ERROR_UNEXP_NET_ERR
	{syscall.Errno(64), true, true},    // ERROR_NETNAME_DELETED
	{syscall.Errno(67), true, true},    // ERROR_BAD_NET_NAME
	{syscall.Errno(121), true, true},   // ERROR_SEM_TIMEOUT
	{syscall.Errno(1006), true, true},  // ERROR_FILE_INVALID
	{syscall.Errno(1231), true, true},  // ERROR_NETWORK_UNREACHABLE
	{syscall.Errno(1232), true, true},  // ERROR_HOST_UNREACHABLE
	{syscall.Errno(1236), true, true},  // ERROR_CONNECTION_ABORTED
}
