package compactor

import (
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// Report counts what one Fold did. What comes with a commit is counted once that has certainly happened: an attempt that
// another compactor was ahead of, or that failed, counts nothing. After an error it counts what was done until then.
type Report struct {
	Generation cohort.Generation `json:"generation"` // the newest one at the end
	Rows       int64             `json:"rows"`       // in the index at the end
	Commits    int               `json:"commits"`
	Records    int               `json:"records"`    // read from the streams
	Added      int               `json:"added"`      // new keys
	Replaced   int               `json:"replaced"`   // keys whose row was replaced
	Superseded int               `json:"superseded"` // records that an already known later write beat
	Duplicates int               `json:"duplicates"` // the same record again
	Repeated   int               `json:"repeated"`   // appended again with the id of the write that stands
	ByID       int               `json:"by_id"`      // of those, by the id alone, see RepeatedByID
	Extra      int64             `json:"extra"`      // values of these records that no column holds
	InExtra    index.Extras      `json:"in_extra"`   // the same by column and reason
	Rewrites   int               `json:"rewrites"`   // commits that wrote every row again, see Rewritten
	Narrowing
	Withdrawing
	Erasing
	generation.Merged

	Swept     int `json:"swept_streams"`
	SweptGens int `json:"swept_generations"`
	Reaped    int `json:"reaped_streams"`           // of dead writers, moved to reaped/
	TornTails int `json:"torn_tails"`               // of those, kept in quarantine/
	Damage    int `json:"damage"`                   // places in streams that could not be read, and public files of no generation
	Skipped   int `json:"skipped_streams"`          // not read to their end for another reason
	Unseen    int `json:"unseen_streams,omitempty"` // not read to their end, as the storage does not answer or shows an old state
	Conflicts int `json:"conflicts"`                // commits that another compactor won
	// DeltaFailed counts how often the Delta table could not be brought up to date, see NotShown.
	DeltaFailed int `json:"delta_failed,omitempty"`
	// Lock is the lock that was held.
	Lock    *generation.Lock `json:"lock,omitempty"`
	Elapsed time.Duration    `json:"elapsed_ns"`
}

// Clean tells whether every byte that the run met was in order. If not, all else was folded; audit.Check says more. A stream that is
// Unseen is in order, as far as is known.
func (r Report) Clean() bool { return r.Damage == 0 && r.Skipped == 0 }
