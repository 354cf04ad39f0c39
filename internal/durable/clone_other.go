//go:build !linux

package durable

// Clone is not there: clonefile(2) of macOS clones whole files only, and Windows shares blocks on ReFS only.
func (createdFile) Clone(ReadFile, int64, int64) error { return ErrNoClone }
