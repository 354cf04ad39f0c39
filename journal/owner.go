package journal

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/runfold/runfold/internal/durable"
)

// owner is the body of writer.lock, for people to read.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return "host " + host + "\nboot " + bootID() + "\npid " + strconv.Itoa(os.Getpid()) +
		"\nstarted " + time.Now().UTC().Format(time.RFC3339) + "\n"
}

// bootID is different after each boot of this machine. It is empty on a system that has none.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// WriterIsGone tells whether the writer of a stream has certainly ended or given the stream up: its lock
// is free, and the stream's header says that the lock was taken on this boot of this machine. The result is
// reliable only where flock(2) works between processes. It is false for a stream without a header, for one whose writer got no
// lock, and on a system without a boot id.
func (r Root) WriterIsGone(s Stream) (bool, error) {
	boot := bootID()
	if boot == "" {
		return false, nil
	}
	h, ok, err := r.header(r.InCohort(s))
	if err != nil || !ok || h.BootID != boot {
		return false, err
	}
	return durable.LockIsFree(r.Dir.WriterLock(s.Cohort, s.ID))
}

// Host is the machine whose process wrote a stream, as the stream's header says; empty if the stream has no header yet.
func (r Root) Host(p Place) (string, error) {
	h, _, err := r.header(p)
	return h.Host, err
}

// Writer is the machine and the process that wrote a stream, as the stream's header says; empty and 0 if it has no header that can be read.
func (r Root) Writer(p Place) (host string, pid int, err error) {
	h, _, err := r.header(p)
	return h.Host, h.PID, err
}

// header reads the header of a stream; ok is false if it has none that can be read.
func (r Root) header(p Place) (h Header, ok bool, err error) {
	in, err := r.Open(p, Position{})
	if err != nil {
		return Header{}, false, err
	}
	defer in.Close()
	f, err := in.frame()
	if err != nil || f.kind != kindHeader {
		return Header{}, false, nil
	}
	if err := json.Unmarshal(f.payload, &h); err != nil {
		return Header{}, false, nil
	}
	return h, true, nil
}
