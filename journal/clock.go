package journal

import (
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// clock gives the stamps of one Writer. It begins at the time that the file system gave to the writer's own directory,
// or at the newest manifest's highest stamp if that is later. From there it runs with the monotonic
// clock. A stamp never repeats and never goes back. The wall clock has no effect on it, so a machine whose clock
// is years off writes in the right order (docs/durability.md, P7).
//
// It is guarded by the Writer's commit lock.
type clock struct {
	base  cohort.Stamp
	start time.Time // has a monotonic reading
	last  cohort.Stamp
	since func(time.Time) time.Duration // time.Since, or a test's
}

// begin sets the clock at the opening of a stream, whose directory the file system made at storage; start is the same moment by
// the monotonic clock of this machine. What was done since then, such as a slow look at the manifests, counts.
func (c *clock) begin(storage, start time.Time, floor cohort.Stamp) {
	c.base = max(cohort.Stamp(fine(storage, start).UnixNano()), floor+1, c.last+1)
	c.start = start
}

func (c *clock) next() cohort.Stamp {
	c.last = max(c.last+1, c.base+cohort.Stamp(c.since(c.start)))
	return c.last
}

// highestStamp is the highest stamp in the newest manifest that can be read, 0 if there is none. New stamps are above it. This
// keeps the order after the file system's clock was set back. If no manifest can be read, an append goes on without it.
func highestStamp(fsys durable.FS, root cohort.Root) cohort.Stamp {
	gens, err := manifestsOf(fsys, root)
	if err != nil {
		return 0
	}
	for _, g := range slices.Backward(gens) {
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
