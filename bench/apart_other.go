//go:build !linux

package main

import "errors"

// apart is for Linux only, see fileSystems.
func apart(string) error { return errors.ErrUnsupported }

func settleApart() error { return errors.ErrUnsupported }
