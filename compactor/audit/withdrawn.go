package audit

import (
	"errors"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// withdrawn checks the second pair of files as the first one, and that each row stands in the pair where the actions say. ids are
// the rows of the index.
func (c *checker) withdrawn(d *generation.Data, ids []identity, newest generation.Manifest) {
	if newest.Withdrawn == nil {
		return
	}
	for _, f := range newest.Withdrawn.Files() {
		c.lostOut = c.lostOut || c.bad[c.Root.Data(f.Name)]
	}
	if c.lostOut {
		return // dataFiles has told
	}
	path := c.Root.Data(newest.Withdrawn.Index.Name)
	if !d.Withdrawn.Index.Meta().Withdrawn {
		c.damage(path, "does not say that its rows are withdrawn")
	}
	out := c.pair(d.Withdrawn, newest.Withdrawn.Index, newest.Withdrawn.Snapshots, newest)
	acts := c.actions(d, newest)
	if c.lostOut {
		return // nobody knows where rows must stand
	}
	for _, h := range ids {
		if acts.Decide(h.key, h.at, h.cohort).Withdrawn {
			c.among(c.Root.Data(newest.Index.Name), "row %q is withdrawn and stands in the index", h.key)
		}
	}
	for _, h := range out {
		if !acts.Decide(h.key, h.at, h.cohort).Withdrawn {
			c.among(path, "row %q is not withdrawn and does not stand in the index", h.key)
		}
	}
}

// actions reads the actions in force.
func (c *checker) actions(d *generation.Data, newest generation.Manifest) *cohort.InForce {
	path := c.Root.Data(newest.Withdrawn.Actions.Name)
	acts := cohort.NewInForce(c.Settings.Key)
	c.acts = map[cohort.Version]bool{}
	var last cohort.Record
	n := int64(0)
	for r, err := range d.Actions() {
		if errors.Is(err, generation.ErrConflict) {
			c.lostOut = true // swept, because a later generation was committed
			return acts
		}
		if err != nil {
			c.damage(path, "action %d: %v", n+1, err)
			c.lostOut = true
			return acts
		}
		if n > 0 && generation.CompareActions(last, r) >= 0 {
			c.among(path, "action %d does not follow the one before", n+1)
		}
		if r.Stamp > newest.HighestStamp {
			c.among(path, "action %d has a stamp above the manifest's highest", n+1)
		}
		acts.Add(r)
		c.acts[r.Version()] = true
		last = r
		n++
	}
	if n != newest.Withdrawn.Actions.Rows {
		c.damage(path, "has %d actions, its manifest says %d", n, newest.Withdrawn.Actions.Rows)
	}
	return acts
}
