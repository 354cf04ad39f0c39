package audit

import (
	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// tombstones reads those of the newest generation. If they are damaged, records of erased runs seem to be missing.
func (c *checker) tombstones(d *generation.Data, newest generation.Manifest) {
	if newest.Erased == nil || c.bad[c.Root.Data(newest.Erased.Name)] {
		c.lostOut = c.lostOut || newest.Erased != nil
		return // dataFiles has told
	}
	var err error
	if c.erased, err = d.Erased(); err != nil {
		c.damage(c.Root.Data(newest.Erased.Name), "%v", err)
		c.lostOut = true
	}
}

// isErased tells whether a folded record or action is of an erased run, and tells of its stream.
func (c *checker) isErased(path string, rec cohort.Record) bool {
	is := c.erased.Drops(c.Settings.Key.Of(rec), rec.Stamp)
	if rec.Action != cohort.NoAction {
		is = c.erased.DropsAction(rec)
	}
	if is {
		c.unerased++
		if c.unerased == 1 {
			c.note(path, "holds records of erased runs: compactd erase --continue removes it, or says why it stays")
		}
	}
	return is
}
