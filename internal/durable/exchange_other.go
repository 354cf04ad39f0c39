//go:build !linux

package durable

import "errors"

func exchangeNames(_, _ string) error { return errors.ErrUnsupported }
