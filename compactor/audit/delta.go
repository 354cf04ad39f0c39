package audit

import (
	"context"
	"errors"
	"fmt"
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
	told := false
	_, err := delta.Check(c.Store, func(path, reason string) {
		told = true
		c.damage(filepath.Join(string(c.Root), filepath.FromSlash(path)), "%s", reason)
	})
	if err != nil && !durable.IsAway(err) && !errors.Is(err, generation.ErrConflict) && !errors.Is(err, fs.ErrPermission) {
		c.damage(c.Root.Delta(), "%v", err) // such as a link, or a file, in its place: all else of the root can be looked at
		return nil
	}
	if err != nil {
		return err
	}
	d, err := ReadDelta(c.Store, newest)
	switch {
	case err != nil:
		return err
	case d.Problem != "" && !told:
		c.damage(c.Root.Delta(), "%s", d.Problem)
	case d.Version < 0 && d.Problem == "":
		c.note(c.Root.Delta(), "there is no table yet: the next fold makes it")
	case d.Problem == "" && d.Behind > 0:
		c.note(c.Root.Delta(), "it shows generation %d of %d: the next fold brings it up to date", d.Generation, newest.Generation)
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

// String is the status in words.
func (d DeltaStatus) String() string {
	text := "off"
	if d.On {
		text = "on"
	}
	switch {
	case d.Problem != "":
		return text + ": " + d.Problem
	case d.Version < 0:
		return text + ", no table yet"
	}
	text += fmt.Sprintf(", version %d shows generation %d", d.Version, d.Generation)
	if d.Behind > 0 {
		text += fmt.Sprintf(", which is %d behind", d.Behind)
	}
	if d.Mapped {
		text += ", with column mapping"
	}
	if len(d.LeftOut) > 0 {
		text += fmt.Sprintf(", without the columns %q", d.LeftOut)
	}
	return text
}

// ReadDelta is what the Delta table of a root shows, whose newest generation was newest a moment ago. It reads only. What needs a person is a Problem;
// the error says that it could not be looked at.
func ReadDelta(store *generation.Store, newest generation.Manifest) (d DeltaStatus, err error) {
	for try := 0; ; try++ {
		if d, err = readDelta(store, newest); !errors.Is(err, generation.ErrConflict) || try == maxSwept {
			break
		}
		// The table was dropped meanwhile, or brought up to date with a later generation.
		if now, nerr := store.Newest(); nerr != nil {
			err = nerr
			break
		} else if now.Generation > newest.Generation {
			newest = now
		}
	}
	if err = store.Doubt(err, 0); delta.IsWrong(err) {
		d.Problem, err = err.Error(), nil
	}
	return d, err
}

func readDelta(store *generation.Store, newest generation.Manifest) (DeltaStatus, error) {
	d := DeltaStatus{On: newest.Delta, Version: -1, LeftOut: []string{}}
	s, err := delta.Read(store)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	d.Version, d.Generation, d.Mapped = s.Version, s.Generation, s.Mapped
	d.Behind = max(0, int64(newest.Generation)-int64(s.Generation))
	d.LeftOut = append(d.LeftOut, s.LeftOut...)
	return d, delta.Look(store, s, newest)
}

// lookAtDelta adds the Delta table to a status, if folds keep one.
func (s *Status) lookAtDelta(store *generation.Store, newest generation.Manifest) {
	if !newest.Delta {
		return
	}
	d, err := ReadDelta(store, newest)
	s.Delta = &d
	path := store.Root.Rel(store.Root.Delta())
	if d.Problem != "" {
		s.add(Problem{path, d.Problem, true})
	}
	if err != nil {
		s.add(Problem{path, err.Error(), !durable.IsAway(err)})
	}
}
