package journal

import (
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
)

// TestFine gives times of files, and the wall clock after the second of the file's time, in milliseconds.
func TestFine(t *testing.T) {
	second := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		name       string
		file, wall time.Duration
		want       time.Duration
	}{
		{"whole seconds, and the clocks agree", 0, 700 * time.Millisecond, 700 * time.Millisecond},
		{"even seconds, as FAT keeps them", 0, 1999 * time.Millisecond, 1999 * time.Millisecond},
		{"the wall clock is behind", 0, -time.Nanosecond, 0},
		{"the wall clock is ahead", 0, 2 * time.Second, 0},
		{"the wall clock is years ahead", 0, 30000 * time.Hour, 0},
		{"the storage has fractions", time.Nanosecond, 700 * time.Millisecond, time.Nanosecond},
	} {
		got := fine(second.Add(tt.file), second.Add(tt.wall)).Sub(second)
		if got != tt.want {
			t.Errorf("%s: %v after the second, want %v", tt.name, got, tt.want)
		}
	}
}

// TestWholeSeconds lets two writers begin in one second of a storage that keeps whole seconds. The later one stamps later.
func TestWholeSeconds(t *testing.T) {
	file := time.Now().Truncate(time.Second)
	first, second := clock{since: time.Since}, clock{since: time.Since}
	first.begin(file, time.Now(), 0)
	before := first.next()
	for time.Now().UnixNano() <= int64(before) { // the clock of Windows stands still for a while
	}
	second.begin(file, time.Now(), 0)
	if after := second.next(); after <= before {
		t.Errorf("stamp %d after %d", after, before)
	}
}

// beginsAt tells whether a first stamp is that of the storage, or within what storage that keeps whole seconds leaves open.
func beginsAt(stamp, storage cohort.Stamp) bool {
	whole := storage%cohort.Stamp(time.Second) == 0
	return stamp == storage || whole && stamp > storage && stamp < storage+cohort.Stamp(coarsest)
}
