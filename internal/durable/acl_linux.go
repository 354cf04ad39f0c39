package durable

import "syscall"

// hasDefaultACL tells whether new files in a directory get their permissions from its ACL, and not from the umask (acl(5)).
func hasDefaultACL(dir string) bool {
	n, err := syscall.Getxattr(dir, "system.posix_acl_default", nil)
	return err == nil && n > 0
}
