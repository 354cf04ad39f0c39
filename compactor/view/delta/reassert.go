package delta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/runfold/runfold/internal/durable"
)

// foreignAction is what replay must know of the actions of others.
type foreignAction struct {
	Add, Remove *struct {
		Path           string          `json:"path"`
		DeletionVector json.RawMessage `json:"deletionVector"`
	}
}

// replay finds the last version of ours, and which files the table has after the versions of others above it. It goes by versions, so these
// must all be there.
func (t table) replay() (h head, actives []remove, err error) {
	if h.listing, err = t.list(); err != nil {
		return h, nil, err
	}
	above := []int64{}
	for _, v := range slices.Backward(h.versions) {
		c, err := t.read(v)
		if err != nil {
			return h, nil, err
		}
		if c.state != nil && c.state.RootID == t.Settings.RootID {
			h.state = c.state
			break
		}
		above = append(above, v)
	}
	if h.state == nil {
		return h, nil, fmt.Errorf("%s: %w: %w", t.Root.Rel(t.dir()), ErrNotOurs, ErrForeign)
	}
	actives = []remove{{Path: h.state.File, DataChange: true}}
	for _, v := range slices.Backward(above) {
		if actives, err = t.follow(v, actives); err != nil {
			return h, nil, err
		}
	}
	// The next version stands above all of them, and says of itself all that ours says.
	last := *h.state
	last.Version = h.newest()
	h.state = &last
	return h, actives, nil
}

// follow applies a version of others to the files of the table.
func (t table) follow(v int64, actives []remove) ([]remove, error) {
	data, err := durable.Read(t.FS, t.version(v), maxVersion)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		var a foreignAction
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, fmt.Errorf("version %d cannot be read (%w): %w: %w", v, err, ErrNotOurs, ErrForeign)
		}
		if r := a.Remove; r != nil {
			actives = slices.DeleteFunc(actives, func(is remove) bool {
				return is.Path == r.Path && bytes.Equal(is.DeletionVector, r.DeletionVector)
			})
		}
		if n := a.Add; n != nil {
			actives = append(actives, remove{Path: n.Path, DataChange: true, DeletionVector: n.DeletionVector})
		}
	}
	return actives, nil
}
