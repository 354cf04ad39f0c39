//go:build !linux

package durable

// FuseKind is not known on this system.
func FuseKind(string) string { return "" }
