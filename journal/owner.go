package journal

import (
	"os"
	"strconv"
	"strings"
	"time"
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
