//go:build !windows

package durable

import "os"

func openToRead(name string) (*os.File, error) { return os.Open(name) }

func rename(old, new string) error { return os.Rename(old, new) }
