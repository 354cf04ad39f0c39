//go:build !linux

package pgclient

import (
	"syscall"
	"time"
)

// bound leaves it to the system when a connection whose other end acknowledges nothing is given up: Windows does so in less than a minute, and macOS in some
// minutes.
func bound(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }
