package journal

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/runfold/runfold/internal/durable"
)

// owner is the body of writer.lock, for people.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return "host " + host + "\nboot " + bootID() + "\npid " + strconv.Itoa(os.Getpid()) +
		"\nstarted " + time.Now().UTC().Format(time.RFC3339) + "\n"
}

// bootID tells one run of this machine from the next; empty where the system has no such thing.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// WriterIsGone tells whether the writer of a stream has certainly ended, or given the stream up: its lock
// is free, and the stream's header says that the lock was taken on this boot of this machine. It asks the
// operating system, so it is worth something only where flock(2) works between processes; elsewhere,
// for a stream without a header, and where the system does not tell its boots apart, it is false.
func (r Root) WriterIsGone(s Stream) (bool, error) {
	boot := bootID()
	if boot == "" {
		return false, nil
	}
	in, err := r.Open(r.InCohort(s), Position{})
	if err != nil {
		return false, err
	}
	defer in.Close()
	f, err := in.frame()
	if err != nil || f.kind != kindHeader {
		return false, nil
	}
	var h header
	if err := json.Unmarshal(f.payload, &h); err != nil || h.BootID != boot {
		return false, nil
	}
	return durable.LockIsFree(r.Dir.WriterLock(s.Cohort, s.ID))
}
