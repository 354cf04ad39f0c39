package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/runfold/runfold/internal/durable"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// Checked is what Check looked at.
type Checked struct {
	Versions int // of ours that could be read
	Files    int // that were compared with what was committed
}

// Check looks through a whole table: each version, that they are contiguous, that the checkpoint of _last_checkpoint is there, and that files have
// the bytes of the generations that they show, as far as manifests of these are kept. It calls tell for each thing that is wrong. It reads
// only, and may run at any time. A root without a table has nothing wrong.
func Check(s *generation.Store, tell func(path, reason string)) (done Checked, err error) {
	t := table{s}
	l, err := t.list()
	if err != nil || len(l.versions) == 0 {
		return done, err
	}
	c := checking{table: t, listing: l, tell: func(path string, format string, args ...any) {
		tell(t.Root.Rel(path), fmt.Sprintf(format, args...))
	}}
	if err := c.versions(); err != nil {
		return c.done, err
	}
	if err := c.newestCheckpoint(); err != nil {
		return c.done, err
	}
	return c.done, c.hint()
}

type checking struct {
	table
	listing listing
	tell    func(path, format string, args ...any)
	done    Checked
	last    State
}

// versions reads each version, oldest first.
func (c *checking) versions() error {
	seen := map[string]bool{}
	for i, v := range c.listing.versions {
		got, err := c.read(v)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a sweep removed it
		}
		if err != nil {
			return err
		}
		if i > 0 && c.listing.versions[i-1] != v-1 && c.listing.checkpoint(c.listing.newest()) < v {
			c.tell(c.version(v), "version %d is missing, and there is no checkpoint above it: readers cannot read the table: the next fold writes one", v-1)
		}
		if i == 0 && v > 0 && c.listing.checkpoint(c.listing.newest()) < v {
			c.tell(c.version(v), "the log begins with version %d, and there is no checkpoint: readers cannot read it: the next fold writes one", v)
		}
		newest := v == c.listing.newest()
		switch {
		case got.torn && newest:
			c.tell(c.version(v), "it is not complete: a publisher was killed where hard links are missing, or is at work")
		case got.torn:
			c.tell(c.version(v), "it is not complete")
		case got.state == nil || got.state.RootID != c.Settings.RootID:
			c.foreign(v, newest)
		default:
			c.done.Versions++
			if err := c.state(*got.state, newest, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// foreign tells of a version of others. Those that were taken back are history.
func (c *checking) foreign(v int64, newest bool) {
	if newest {
		c.tell(c.version(v), "%v: compactd delta sync --reassert takes it back", ErrForeign)
	}
}

// state looks at one version of ours.
func (c *checking) state(s State, newest bool, seen map[string]bool) error {
	if s.Generation < c.last.Generation {
		c.tell(c.version(s.Version), "it shows generation %d, and a version before it shows %d", s.Generation, c.last.Generation)
	}
	c.last = s
	there, err := c.isThere(&s)
	switch {
	case err != nil:
		return err
	case !there && newest && c.isNewest(s.Version) && !durable.IsAway(c.doubt(s.Version, ErrGone)):
		c.tell(c.file(s.File), "%v: compactd delta sync --reassert links it again", ErrGone)
	}
	if !there || seen[s.File] {
		return nil // those of older versions go with their generations
	}
	seen[s.File] = true
	return c.bytes(s)
}

// isNewest tells whether a version is still the newest.
func (c *checking) isNewest(v int64) bool {
	l, err := c.list()
	return err == nil && l.newest() == v
}

// bytes compares the file of a version with what was committed, if that is known.
func (c *checking) bytes(s State) error {
	m, err := c.Read(s.Generation)
	if err != nil {
		return nil // it was swept, or is told elsewhere
	}
	if m.Token != s.Token || m.Index.Name != s.Index {
		// A manifest never changes, so no old state of a share shows it otherwise.
		c.tell(c.version(s.Version), "it shows another generation %d than the root has: %v", s.Generation, ErrAhead)
		return nil
	}
	c.done.Files++
	link, err := c.FS.Stat(c.file(s.File))
	if err != nil {
		return nil
	}
	if data, err := c.FS.Stat(c.Root.Data(s.Index)); err == nil && durable.SameFile(link, data) {
		return nil // one file: it is looked at where it lies
	}
	sum, err := c.Checksum(c.file(s.File))
	if err == nil && sum != m.Index.CRC32C {
		c.tell(c.file(s.File), "its bytes are not those of generation %d", cohort.Generation(s.Generation))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// newestCheckpoint looks at the checkpoint that readers begin with.
func (c *checking) newestCheckpoint() error {
	v := c.listing.checkpoint(c.listing.newest())
	if v < 0 {
		return nil
	}
	data, err := durable.Read(c.FS, c.checkpoint(v), maxVersion)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a sweep removed it
	}
	if err == nil {
		if why := isReadable(data); why != nil {
			c.tell(c.checkpoint(v), "it is damaged, and readers begin with it: remove it, and the next fold writes it anew: %v", why)
		}
	}
	return err
}

// hint looks at _last_checkpoint.
func (c *checking) hint() error {
	data, err := durable.Read(c.FS, c.lastCheckpoint(), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var hint lastCheckpoint
	if err := json.Unmarshal(data, &hint); err != nil {
		c.tell(c.lastCheckpoint(), "it is not JSON: %v", err)
	} else if _, err := c.FS.Stat(c.checkpoint(hint.Version)); errors.Is(err, fs.ErrNotExist) && contains(c.listing.versions, hint.Version) {
		c.tell(c.lastCheckpoint(), "it names checkpoint %d, which is not there: readers may not find the newest version: the next fold writes it anew", hint.Version)
	}
	return nil
}
