package durable

import "errors"

// FreeBytes is not known here: errors.ErrUnsupported.
func FreeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
