package generation

import (
	"time"

	"github.com/runfold/runfold/cohort"
)

// Firsts names the last ancestor of a generation that was the first of its hour, and the last that was the first of its day. So the
// manifests of what thinned retention keeps are a chain, too, when those between them are gone: each names the one before by its digest. Which
// generation is the first of its hour is fixed when it is committed, and so no sweep, whenever it runs, can choose another one.
type Firsts struct {
	Hour *First `json:"hour,omitempty"`
	Day  *First `json:"day,omitempty"`
}

// First is a generation that was the first of its hour or day.
type First struct {
	Generation cohort.Generation `json:"generation"`
	SHA256     string            `json:"sha256"` // of its manifest, in hex
	At         cohort.Stamp      `json:"at"`     // as it says
}

// Part of the format, do not change: hours and days are those of UTC.
const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// firsts are those of the child of m.
func (m *Manifest) firsts() Firsts {
	f := m.Firsts
	if m.digest == "" { // before the first, or made of files without a manifest
		return f
	}
	self := &First{m.Generation, m.digest, m.At}
	if f.Hour == nil || m.isFirstOf(hour) {
		f.Hour = self
	}
	if f.Day == nil || m.isFirstOf(day) {
		f.Day = self
	}
	return f
}

// isFirstOf tells whether m is the first generation of its hour or day. Where nobody knows when it was made, it is not.
func (m *Manifest) isFirstOf(period time.Duration) bool {
	before := m.Firsts.Hour
	if period == day {
		before = m.Firsts.Day
	}
	return m.At > 0 && (before == nil || !before.At.Time().Truncate(period).Equal(m.At.Time().Truncate(period)))
}

// areBefore tells whether they can stand in the manifest of generation g.
func (f Firsts) areBefore(g cohort.Generation) bool {
	for _, first := range []*First{f.Hour, f.Day} {
		if first != nil && (first.Generation == 0 || first.Generation >= g || len(first.SHA256) != 64 || first.At < 0) {
			return false
		}
	}
	return true
}

// madeAt is the file system's time, as late as it is known, for a manifest that is about to be created. 0 if it is not known. It stands in
// the manifest, as the time of the file itself does not last: a fold makes old files young, and a backup makes new ones.
func (d *Draft) madeAt() cohort.Stamp {
	at := d.store.Stamp(Manifest{Generation: d.Generation - 1})
	if len(d.made) == 0 {
		return at
	}
	// On SMB a file has the time of the machine that wrote it, and Stamp has asked the server.
	about, err := d.store.FS.Statfs(string(d.store.Root))
	if err == nil && about.IsSMB() {
		return at
	}
	info, err := d.store.FS.Stat(d.store.Root.Data(d.made[0]))
	if err != nil || info.ModTime().Before(time.Unix(0, 1)) {
		return at
	}
	return max(at, cohort.Stamp(info.ModTime().UnixNano()))
}
