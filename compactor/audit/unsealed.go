package audit

import (
	"cmp"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
)

// Unsealed is a stream without a seal, and what a fold will do about it.
type Unsealed struct {
	Stream string          `json:"stream"` // cohort/ULID
	State  compactor.State `json:"state"`
	Due    string          `json:"due,omitempty"` // from when on a fold does that, by the storage's clock, RFC 3339
	// Left is the time until Due by the clock of this machine, and 0 if it has passed or there is none.
	Left time.Duration `json:"left_ns"`
}

// Text is what becomes of the stream, for people.
func (u Unsealed) Text() string {
	left := "from now on"
	if u.Left > 0 {
		left = "in " + u.Left.Round(time.Second).String()
	}
	switch {
	case u.Due == "":
		return string(u.State)
	case u.State == compactor.InGrace:
		return "in reaped/: each fold reads it; deleted " + left + ", when two more folds have changed rows"
	}
	return string(u.State) + "; moved to reaped/ " + left + ", if it does not grow"
}

// unsealed tells of all streams of which everything is folded, but no seal.
func unsealed(store *generation.Store, cfg compactor.Config, newest generation.Manifest) (out []Unsealed, err error) {
	streams, _, err := store.Journal().Streams()
	if err != nil && len(streams) == 0 {
		return nil, err
	}
	for _, f := range compactor.Fates(store.Journal(), cfg, newest, streams) {
		u := Unsealed{Stream: f.Stream.String(), State: f.State}
		if f.Due > 0 {
			u.Due, u.Left = cohort.FormatTime(f.Due.Time()), max(f.Due.Time().Sub(store.Now()), 0)
		}
		out = append(out, u)
	}
	slices.SortStableFunc(out, func(a, b Unsealed) int { return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.Stream, b.Stream)) })
	return out, nil
}
