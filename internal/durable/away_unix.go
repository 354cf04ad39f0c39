//go:build !windows

package durable

import "syscall"

// errsAway are what clients of NFS, SMB and FUSE return while a server does not answer, or for a file that it does not have any more.
var errsAway = []error{
	syscall.ENOTCONN, syscall.ESTALE, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.ENETRESET,
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ETIMEDOUT, syscall.ESHUTDOWN,
}
