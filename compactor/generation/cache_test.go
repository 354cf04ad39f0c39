package generation

import (
	"testing"

	"github.com/runfold/runfold/cohort"
)

// TestCacheIsBounded: a Cache keeps no more outlines than those of a number of files, and takes others once generations are gone.
func TestCacheIsBounded(t *testing.T) {
	const files = 1 << 10 // of each generation
	var c Cache
	note := func(g cohort.Generation) { c.note(nil, Manifest{Generation: g, Snapshots: make(Snapshots, files-1)}) }
	const most = cachedFiles / files
	for g := range cohort.Generation(2 * most) {
		note(g + 1)
		note(g + 1) // takes the place of the first
	}
	if len(c.outlines) != most || c.files != cachedFiles {
		t.Errorf("%d outlines with %d files: want %d and %d", len(c.outlines), c.files, most, cachedFiles)
	}
	c.keep([]cohort.Generation{1, 2, 2 * most})
	if len(c.outlines) != 2 || c.files != 2*files {
		t.Errorf("%d outlines with %d files after the others are gone: want 2 and %d", len(c.outlines), c.files, 2*files)
	}
	if note(2 * most); len(c.outlines) != 3 {
		t.Errorf("%d outlines: want 3", len(c.outlines))
	}
}
