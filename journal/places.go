package journal

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// Place is a stream and where it lies: in its cohort, or in reaped/ on its way out.
type Place struct {
	Stream
	Dir    string
	Reaped bool // it is in reaped/: it has its seal, or its writer is taken for dead
}

// InCohort is the place of a stream that nobody has moved, such as that of a record that was just appended.
func (r Root) InCohort(s Stream) Place { return Place{s, r.Dir.Stream(s.Cohort, s.ID), false} }

// InReaped is the place of a stream on its way out: a fold moves sealed streams there, and those of dead writers.
func (r Root) InReaped(s Stream) Place { return Place{s, r.Dir.Reaped(s.Cohort, s.ID), true} }

// Streams lists all streams, oldest first, those in reaped/ included: what was folded from them may have to be folded
// again, and a writer that was taken for dead may have gone on writing (R5).
//
// unknown are the paths among them that runfold did not make, symbolic links included, but for what volumes and
// file servers make by themselves (see cohort.IsSystemEntry). A cohort that cannot be read is reported in err beside the
// streams of all others; one that disappears meanwhile is not.
func (r Root) Streams() (all []Place, unknown []string, err error) {
	streams, unknown, err := streamsIn(r.fs(), r.Dir.Cohorts())
	if err != nil && len(streams) == 0 {
		return nil, unknown, err
	}
	reaped, strange, rerr := streamsIn(r.fs(), r.Dir.ReapedDir())
	seen := make(map[Stream]bool, len(reaped))
	for _, s := range reaped {
		seen[s] = true
		all = append(all, r.InReaped(s))
	}
	for _, s := range streams {
		p := r.InCohort(s)
		if seen[s] { // moved between the two listings, or brought back by somebody
			if _, err := r.fs().Stat(p.Dir); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			all = slices.DeleteFunc(all, func(p Place) bool { return p.Stream == s })
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Place) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Cohort, b.Cohort))
	})
	unknown = slices.DeleteFunc(append(unknown, strange...), r.isPublic)
	return all, unknown, errors.Join(err, rerr)
}

// isPublic tells whether a path among the streams is the published snapshots of a cohort, or was about to be.
func (r Root) isPublic(path string) bool {
	dir, name := filepath.Split(path)
	id := cohort.ID(filepath.Base(dir))
	return r.Settings.Snapshots == cohort.PerCohort && (path == r.Dir.SnapshotsOf(id) || durable.IsTemp(name))
}

// Quarantined lists the streams that lie in quarantine/ whole: damaged ones, after all that could be read of them was
// folded, and those that no fold can read. [Entries] reads what is left of one, at cohort.SegmentIn of Dir.Quarantined.
func (r Root) Quarantined() ([]Stream, error) {
	streams, _, err := streamsIn(r.fs(), r.Dir.QuarantineDir())
	return streams, err
}

// Open opens a stream where it lies, at a position that an earlier Reader reached; the zero Position is its beginning.
// It never writes.
//
// A stream whose segment does not exist yet is empty, but in reaped/ such a one is fs.ErrNotExist, as nothing can still
// come, and so is a stream whose directory is gone. One that is shorter than what was read before is a
// *CorruptError.
func (r Root) Open(p Place, from Position) (*Reader, error) {
	return open(&Reader{
		fsys: r.fs(), stream: p.Stream, rootID: r.Settings.RootID, path: cohort.SegmentIn(p.Dir), dead: p.Reaped, young: !p.Reaped, pos: from,
	})
}
