package compactor

import (
	"fmt"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// Erasing counts what a fold met of runs that were erased.
type Erasing struct {
	Dropped        int `json:"dropped_erased,omitempty"`         // records
	DroppedActions int `json:"dropped_erased_actions,omitempty"` // actions
}

func (e *Erasing) plus(more Erasing) {
	e.Dropped += more.Dropped
	e.DroppedActions += more.DroppedActions
}

// DroppedErased tells that a fold met records of runs that were erased, and took none of them. The stream in which they stand still has them.
type DroppedErased struct{ Erasing }

func (n DroppedErased) String() string {
	return fmt.Sprintf("%d records and %d actions of erased runs were not taken, and their streams still hold them: compactd erase --continue --apply removes what it can, and names the rest",
		n.Dropped, n.DroppedActions)
}

// withoutErased takes the records and actions out of a batch that tombstones are about. Where nothing was erased it does not look.
func (b *batch) withoutErased(old *generation.Data) (gone Erasing, err error) {
	erased, err := old.Erased()
	if err != nil || erased.Len() == 0 {
		return gone, err
	}
	records, actions := len(b.records), len(b.actions)
	b.records = slices.DeleteFunc(b.records, func(c candidate) bool { return erased.Drops(c.key, c.Stamp) })
	b.actions = slices.DeleteFunc(b.actions, func(r cohort.Record) bool { return erased.DropsAction(r) })
	return Erasing{records - len(b.records), actions - len(b.actions)}, nil
}
