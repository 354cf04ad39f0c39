package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
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

// addErased finds the tombstones that were written with the index of a rebuilt generation. Those of the generation that it is based on stand
// for it if there are none: an earlier set is better than none. Then the candidate says that some may be missing. So it does where there are
// none at all, and any file tells that the root had some.
func (r *repairer) addErased(c *candidate, of index.Meta) error {
	name, base := cohort.ErasedName(of.Generation, of.Token), c.manifest.Erased
	files, err := r.src.named("erased-")
	if err != nil {
		return err
	}
	for _, f := range files {
		if g, _, ok := cohort.ParseDataName(filepath.Base(f.path)); ok && g <= of.Generation {
			c.unerased = true // unless the right one is found
		}
		if !strings.HasPrefix(filepath.Base(f.path), name) {
			continue
		}
		all, err := r.erasedIn(f)
		if err != nil && !generation.IsDamage(err) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		sum, readable := r.sumOf(c, f.path, name)
		if err != nil || !readable || base != nil && int64(all.Len()) < base.Rows { // no tombstone ever goes: it was cut off after a line
			continue
		}
		since := cohort.Generation(0)
		for _, t := range all.All() {
			since = max(since, t.Generation)
		}
		file := generation.DataFile{Name: name, Size: f.size, Rows: int64(all.Len()), CRC32C: sum}
		c.restores = append(c.restores, restore{file, f.path})
		c.manifest.SetErased(&generation.Erased{DataFile: file, Since: since})
		c.unerased = false
		return nil
	}
	c.unerased = c.unerased || base != nil
	return nil
}

func (r *repairer) erasedIn(f source) (*cohort.Erased, error) {
	file, err := r.FS.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return generation.ReadErased(file, r.Settings.Key)
}

// isErased tells whether a folded record or action is of an erased run, and tells of its stream.
func (c *checker) isErased(path string, rec cohort.Record) bool {
	is := c.erased.DropsRecord(rec)
	if is {
		c.unerased++
		if c.unerased == 1 {
			c.note(path, "holds records of erased runs: compactd erase --continue removes it, or says why it stays")
		}
	}
	return is
}
