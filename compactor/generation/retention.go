package generation

import (
	"encoding/json"
	"fmt"
	"time"
)

// Retention says how long generations stay after they are no longer the newest, beyond what Keep keeps in any case: all of them for a
// while, then the first of each hour, then the first of each day. It is a setting of a root: it stands in manifests, and changes by a commit
// (compactor.ChangeRetention).
type Retention struct {
	All    time.Duration // all generations that are younger
	Hourly time.Duration // the first of each hour that began later than so long ago
	Daily  time.Duration // the first of each day of UTC that began later than so long ago
	// Reserve is how many bytes of the disk these generations leave free: else the oldest of them go. If zero, a twentieth of the disk
	// and at most 4 GiB, and twice what the next fold may need.
	Reserve int64
}

// defaultRetention is that of a root whose settings say nothing of it.
var defaultRetention = Retention{All: time.Hour, Hourly: day, Daily: 30 * day}

// Keeps is how long generations stay in the root of m, as it was set or by default.
func (m *Manifest) Keeps() Retention {
	if m.Retention == nil {
		return defaultRetention
	}
	return *m.Retention
}

// Validate returns an error if a period or the reserve is negative, or a period is no number of seconds.
func (r Retention) Validate() error {
	for name, d := range map[string]time.Duration{"all": r.All, "hourly": r.Hourly, "daily": r.Daily} {
		if d < 0 || d%time.Second != 0 {
			return fmt.Errorf("%s is %v: it must be a number of seconds, and not negative", name, d)
		}
	}
	if r.Reserve < 0 {
		return fmt.Errorf("the reserve is %d bytes: it must not be negative", r.Reserve)
	}
	return nil
}

// retentionJSON is a Retention in the form of the file.
type retentionJSON struct {
	All     int64 `json:"all_seconds"`
	Hourly  int64 `json:"hourly_seconds"`
	Daily   int64 `json:"daily_seconds"`
	Reserve int64 `json:"reserve_bytes"`
}

// MarshalJSON writes the periods in seconds.
func (r Retention) MarshalJSON() ([]byte, error) {
	return json.Marshal(retentionJSON{int64(r.All / time.Second), int64(r.Hourly / time.Second), int64(r.Daily / time.Second), r.Reserve})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Retention) UnmarshalJSON(data []byte) error {
	var file retentionJSON
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	const most = int64(1<<63-1) / int64(time.Second)
	for _, n := range []int64{file.All, file.Hourly, file.Daily} {
		if n < 0 || n > most {
			return fmt.Errorf("retention of %d seconds", n)
		}
	}
	*r = Retention{time.Duration(file.All) * time.Second, time.Duration(file.Hourly) * time.Second, time.Duration(file.Daily) * time.Second, file.Reserve}
	return r.Validate()
}

// keeps tells whether m stays at a time of the file system. What decides is fixed when a generation is committed, and an hour leaves the
// hourly ones as a whole: so what stays at a time does not depend on when sweeps ran before.
func (r Retention) keeps(m *Manifest, now time.Time) bool {
	if m.At == 0 {
		return false
	}
	return now.Sub(m.At.Time()) < r.All || r.thins(m, now)
}

// thins tells whether m stays as the first of its hour or day, where those after it may have gone.
func (r Retention) thins(m *Manifest, now time.Time) bool {
	at := m.At.Time()
	return now.Sub(at) >= r.All && (m.isFirstOf(hour) && now.Sub(at.Truncate(hour)) < r.Hourly ||
		m.isFirstOf(day) && now.Sub(at.Truncate(day)) < r.Daily)
}
