package file

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// thisClock is the monotonic clock of this boot of this machine. It does not count while the machine is suspended, so a holder on the
// same machine is not found still after a night. A time namespace has a monotonic clock of its own.
func thisClock() Clock {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return processClock()
	}
	id := strings.TrimSpace(string(boot))
	if ns, err := os.Readlink("/proc/self/ns/time"); err == nil {
		id += " " + ns
	}
	return Clock{id, func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
			return 0 // then nobody stands still
		}
		return time.Duration(t.Nano())
	}}
}
