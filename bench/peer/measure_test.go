package peer

import (
	"testing"
	"time"
)

// TestTurns: writers that append at a rate never append at one moment, be they goroutines or processes.
func TestTurns(t *testing.T) {
	const period = time.Second
	for _, load := range []struct{ processes, writers int }{{1, 1}, {1, 8}, {100, 1}, {3, 4}} {
		all := load.processes * load.writers
		seen := map[time.Duration]bool{}
		for process := range load.processes {
			w := Work{Writers: load.writers, Every: period, Process: process, All: load.processes}
			for writer := range load.writers {
				seen[w.turn(writer)] = true
			}
		}
		for n := range all {
			if at := period * time.Duration(n) / time.Duration(all); !seen[at] {
				t.Errorf("%d processes of %d writers: nobody appends at %s", load.processes, load.writers, at)
			}
		}
	}
}
