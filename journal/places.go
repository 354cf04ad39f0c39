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

// Root is an open root: where its streams lie, and what is known of them. It is a value without state of its own: any
// number of goroutines may use one.
type Root struct {
	// FS makes every call on the disk. If nil, the operating system does; nothing else is for use outside this module.
	FS durable.FS
	// Dir is the directory, and Settings are what its runfold.json says.
	Dir      cohort.Root
	Settings cohort.Settings
}

// Place is a stream and where it lies: in its cohort, or in reaped/ on its way out.
type Place struct {
	Stream
	Dir    string
	Reaped bool
}

// InCohort is the place of a stream that nobody has moved.
func (r Root) InCohort(s Stream) Place { return Place{s, r.Dir.Stream(s.Cohort, s.ID), false} }

// InReaped is its place on its way out.
func (r Root) InReaped(s Stream) Place { return Place{s, r.Dir.Reaped(s.Cohort, s.ID), true} }

func (r Root) fs() durable.FS {
	if r.FS == nil {
		return durable.OS
	}
	return r.FS
}

// Places lists all streams, oldest first. Those in reaped/ are read like the others: what was folded from them may
// have to be folded again, and a writer that was taken for dead may have gone on writing (R5). unknown are the paths
// that runfold did not make. A cohort that cannot be read is reported in err beside all others.
func (r Root) Places() (all []Place, unknown []string, err error) {
	streams, unknown, err := Streams(r.fs(), r.Dir)
	if err != nil && len(streams) == 0 {
		return nil, unknown, err
	}
	reaped, strange, rerr := StreamsIn(r.fs(), r.Dir.ReapedDir())
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

// Open opens a stream where it lies, at a position that an earlier Reader reached. A stream whose segment does not exist
// yet is empty, but in reaped/ such a one is fs.ErrNotExist: nothing can still come. It never writes.
func (r Root) Open(p Place, from Position) (*Reader, error) {
	path := cohort.SegmentIn(p.Dir)
	if p.Reaped {
		if _, err := r.fs().Stat(path); err != nil {
			return nil, err
		}
	}
	in, err := OpenSegment(r.fs(), r.Dir, path, p.Stream, from)
	if err != nil {
		return nil, err
	}
	in.InRoot(r.Settings.RootID)
	if p.Reaped {
		in.Dead()
	}
	return in, nil
}
