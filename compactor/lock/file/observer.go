package file

import (
	"encoding/json"
	"io/fs"
	"time"

	"github.com/runfold/runfold/internal/durable"
)

// standstill is how long the holder of a lock must not have counted until it is passed over.
const standstill = 10 * time.Minute

const (
	// lookEvery bounds how often a waiting observer reads the count. SMB shows no change at all to a reader that looks more
	// often than once a second.
	lookEvery = 10 * time.Second

	seenEnd     = ".seen" // of the file beside the lock file
	seenVersion = 1       // part of the format, do not change
	maxSeen     = 1 << 20 // bytes
	maxClocks   = 100
)

// sighting is the file in which observers note since when they have seen a holder at one count. It has one time for each clock:
// times of different clocks cannot be compared. docs/format/lock.md is its page.
type sighting struct {
	Version int                      `json:"version"`
	Sign    string                   `json:"sign"`     // of the holder and its count: durable.WhoHolds
	Since   map[string]time.Duration `json:"since_ns"` // by clock
}

// Clock measures a time that nobody can set: it only goes on, and two readings of Now, also of two processes, may be subtracted. ID is
// different for each boot of a machine.
type Clock struct {
	ID  string
	Now func() time.Duration
}

// observer watches the holder of a lock for one caller of Lock. What it sees it also notes in a file, for the callers to come: a
// fold of cron that meets a lock ends at once. If the file cannot be written, the caller alone knows.
type observer struct {
	fs    durable.FS
	clock Clock
	perm  fs.FileMode

	path   string // what was seen last
	sign   string
	since  time.Duration
	looked time.Duration
}

// stoodStill is how long the holder of a lock is known not to have counted.
func (o *observer) stoodStill(path string) time.Duration {
	now := o.clock.Now()
	if o.path == path && now-o.looked < lookEvery {
		return o.looked - o.since // only what was looked at counts
	}
	_, sign := durable.WhoHolds(path)
	if o.path != path || o.sign != sign {
		o.path, o.sign, o.since = path, sign, o.firstSeen(path, sign, now)
	}
	o.looked = now
	return now - o.since
}

// firstSeen is the reading of our clock at which the holder was first seen at this count. It is now, which is noted, if it was never.
func (o *observer) firstSeen(path, sign string, now time.Duration) time.Duration {
	seen, leave := o.read(path + seenEnd)
	// A time in the future is of a machine that was set back to a snapshot of itself.
	if since, ok := seen.Since[o.clock.ID]; ok && seen.Sign == sign && since <= now {
		return since
	}
	if leave {
		return now
	}
	if seen.Sign != sign || seen.Since == nil || len(seen.Since) >= maxClocks {
		seen = sighting{Sign: sign, Since: map[string]time.Duration{}}
	}
	seen.Version = seenVersion
	seen.Since[o.clock.ID] = now
	if data, err := json.Marshal(seen); err == nil {
		durable.Replace(o.fs, path+seenEnd, append(data, '\n'), o.perm) // an error is dropped: then only this process knows
	}
	return now
}

// read reads what was noted. What is damaged counts as nothing. leave tells that the file is not ours to write: it is a link, or of a
// later version.
func (o *observer) read(name string) (seen sighting, leave bool) {
	if err := durable.Regular(o.fs, name); err != nil {
		return sighting{}, true
	}
	data, err := durable.Read(o.fs, name, maxSeen)
	if err != nil || json.Unmarshal(data, &seen) != nil || seen.Version < 1 {
		return sighting{}, false
	}
	if seen.Version > seenVersion {
		return sighting{}, true
	}
	return seen, false
}
