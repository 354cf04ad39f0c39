package generation

import (
	"io/fs"
	"slices"
	"sync"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// Cache is what one process knows of the manifests of one root, which never change. With it each is decoded once, and a sweep reads only those that it has
// not met before: else each fold of a root that keeps all generations of an hour reads them all. Each use looks at the disk first, because somebody may put
// another history there: at the bytes of a manifest that is built upon, and at the file of one that a sweep asks.
//
// The zero value is empty. Any number of Stores of one root may share one, and use it at once.
type Cache struct {
	mu       sync.Mutex
	whole    []Manifest // the last that were decoded, the newest at the end
	outlines map[cohort.Generation]cachedOutline
	files    int // that outlines name
}

// cachedOutline is an outline, and the file that it was read from.
type cachedOutline struct {
	file fs.FileInfo
	Manifest
}

const (
	// A fold reads the newest manifest, and the one before.
	cachedWhole = 4
	// Each file takes some 200 bytes of memory.
	cachedFiles = 1 << 17
)

// decoded is the manifest whose file has these bytes and this digest.
func (c *Cache) decoded(data []byte, digest string) (Manifest, error) {
	if m, ok := c.find(digest); ok {
		return m, nil
	}
	m, err := decode(data, digest, false)
	if err != nil {
		return Manifest{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.whole = append(c.whole, m); len(c.whole) > cachedWhole {
		c.whole = slices.Delete(c.whole, 0, 1)
	}
	return m, nil
}

func (c *Cache) find(digest string) (Manifest, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.whole, func(m Manifest) bool { return m.digest == digest })
	if i < 0 {
		return Manifest{}, false
	}
	return c.whole[i], true
}

// outline is the outline of a generation whose manifest is this file.
func (c *Cache) outline(g cohort.Generation, file fs.FileInfo) (Manifest, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, ok := c.outlines[g]
	return was.Manifest, ok && isUnchanged(was.file, file)
}

// note keeps an outline. file is what stood under the name before it was read: if that was replaced since, the next look finds another file.
func (c *Cache) note(file fs.FileInfo, outline Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(outline.Generation)
	n := len(outline.Files())
	if c.files+n > cachedFiles {
		return
	}
	if c.outlines == nil {
		c.outlines = map[cohort.Generation]cachedOutline{}
	}
	c.outlines[outline.Generation] = cachedOutline{file, outline}
	c.files += n
}

// keep forgets all outlines but those of these generations, which are sorted.
func (c *Cache) keep(gens []cohort.Generation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for g := range c.outlines {
		if _, there := slices.BinarySearch(gens, g); !there {
			c.forget(g)
		}
	}
}

// forget is called with mu held.
func (c *Cache) forget(g cohort.Generation) {
	if was, ok := c.outlines[g]; ok {
		c.files -= len(was.Files())
		delete(c.outlines, g)
	}
}

// isUnchanged tells whether a name has the file that it had, as it was.
func isUnchanged(was, now fs.FileInfo) bool {
	return durable.SameFile(was, now) && was.Size() == now.Size() && was.ModTime().Equal(now.ModTime())
}
