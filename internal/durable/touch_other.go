//go:build !linux

package durable

import "errors"

// Touch does nothing: the times of a file could only be set by this machine's clock here, and manifests have the storage's.
func (osFS) Touch(string) error { return errors.ErrUnsupported }
