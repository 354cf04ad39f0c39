package durable

import "syscall"

// errsAway are what the SMB client returns while a server does not answer: ERROR_BAD_NETPATH, ERROR_NETWORK_BUSY,
// ERROR_DEV_NOT_EXIST, ERROR_UNEXP_NET_ERR, ERROR_NETNAME_DELETED, ERROR_BAD_NET_NAME, ERROR_SEM_TIMEOUT,
// ERROR_NETWORK_UNREACHABLE, ERROR_HOST_UNREACHABLE and ERROR_CONNECTION_ABORTED; and errStale.
var errsAway = []error{
	syscall.Errno(53), syscall.Errno(54), syscall.Errno(55), syscall.Errno(59), syscall.Errno(64), syscall.Errno(67), syscall.Errno(121),
	syscall.Errno(1231), syscall.Errno(1232), syscall.Errno(1236), errStale,
}
