package journal

import (
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// clock gives the stamps of one Writer: the time that the file system gave to the writer's own file,
// or the newest manifest's highest stamp if that is later, plus what has passed since on the monotonic
// clock. It never repeats and never goes back. The wall clock has no part in it: a machine whose clock
// is years off writes in the right order.
//
// It is guarded by the Writer's commit lock.
type clock struct {
	base  cohort.Stamp
	start time.Time // has a monotonic reading
	last  cohort.Stamp
	since func(time.Time) time.Duration // time.Since, or a test's
}

// begin sets the clock at the opening of a stream.
func (c *clock) begin(fileTime time.Time, floor cohort.Stamp) {
	c.base = max(cohort.Stamp(fileTime.UnixNano()), floor+1, c.last+1)
	c.start = time.Now()
}

func (c *clock) next() cohort.Stamp {
	c.last = max(c.last+1, c.base+cohort.Stamp(c.since(c.start)))
	return c.last
}

// highestStamp is that of the newest manifest that can be read, 0 if there is none. It is a floor that
// keeps order when the file system's clock was set back; an append never fails for want of it.
func highestStamp(fsys durable.FS, root cohort.Root) cohort.Stamp {
	entries, err := fsys.ReadDir(root.Manifests())
	if err != nil {
		return 0
	}
	for _, e := range slices.Backward(entries) {
		g, ok := cohort.ParseManifestName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		data, err := durable.Read(fsys, root.Manifest(g), cohort.MaxManifest)
		if err != nil {
			continue
		}
		if stamp, ok := cohort.HighestStamp(data); ok {
			return stamp
		}
	}
	return 0
}
