package pgclient

import (
	"errors"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bound makes the system give up a connection whose other end acknowledges nothing for so long. Without it, what was sent and is not acknowledged is sent again
// for some 15 minutes: keepalives begin only when nothing is under way. It also ends a connection to a server that reads nothing for so long.
func bound(silence time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return nil
		}
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
		})
		return errors.Join(err, set)
	}
}
