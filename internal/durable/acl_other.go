//go:build !linux

package durable

// hasDefaultACL is true nowhere else: ACLs of macOS add to the mode, and do not replace the umask.
func hasDefaultACL(string) bool { return false }
