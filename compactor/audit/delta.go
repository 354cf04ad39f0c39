package audit

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view/delta"
	"github.com/runfold/runfold/internal/durable"
)

// delta looks at the Delta table, if folds keep one.
func (c *checker) delta(ctx context.Context, newest generation.Manifest) error {
	if !newest.Delta || ctx.Err() != nil {
		return nil
	}
	_, err := delta.Check(c.Store, func(path, reason string) {
		c.damage(filepath.Join(string(c.Root), filepath.FromSlash(path)), "%s", reason)
	})
	if err != nil {
		return err
	}
	s, err := delta.Read(c.Store)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.note(c.Root.Delta(), "there is no table yet: the next fold makes it")
	case err == nil && s.Generation < newest.Generation:
		c.note(c.Root.Delta(), "it shows generation %d of %d: the next fold brings it up to date", s.Generation, newest.Generation)
	}
	return nil
}

// DeltaStatus is what the Delta table shows.
type DeltaStatus struct {
	On         bool              `json:"on"`                // folds keep it up to date
	Version    int64             `json:"version"`           // -1: there is no table
	Generation cohort.Generation `json:"generation"`        // that the version shows
	Behind     int64             `json:"behind"`            // generations
	Mapped     bool              `json:"mapped"`            // names need column mapping
	LeftOut    []string          `json:"left_out"`          // columns that the table cannot have
	Problem    string            `json:"problem,omitempty"` // why it is not brought up to date
}

// ReadDelta is what the Delta table of a root shows. It reads only.
func ReadDelta(store *generation.Store, newest generation.Manifest) DeltaStatus {
	d := DeltaStatus{On: newest.Delta, Version: -1, LeftOut: []string{}}
	s, err := delta.Read(store)
	switch {
	case err == nil:
		d.Version, d.Generation, d.Mapped = s.Version, s.Generation, s.Mapped
		d.Behind = int64(newest.Generation) - int64(s.Generation)
		d.LeftOut = append(d.LeftOut, s.LeftOut...)
		if err := delta.Look(store, s, newest); err != nil && !durable.IsAway(err) { // the next look tells more
			d.Problem = err.Error()
		}
	case !errors.Is(err, fs.ErrNotExist):
		d.Problem = err.Error()
	}
	return d
}

// lookAtDelta adds the Delta table to a status, if folds keep one.
func (s *Status) lookAtDelta(store *generation.Store, newest generation.Manifest) {
	if !newest.Delta {
		return
	}
	d := ReadDelta(store, newest)
	s.Delta = &d
	if d.Problem != "" {
		s.Damaged = append(s.Damaged, Problem{store.Root.Rel(store.Root.Delta()), d.Problem, true})
	}
}
