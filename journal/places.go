package journal

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/runfold/runfold/cohort"
)

// Place is a stream and its directory, which is in its cohort, or in reaped/ before the stream is deleted.
type Place struct {
	Stream
	Dir    string
	Reaped bool // it is in reaped/: it has its seal, or its writer is taken for dead
}

// InCohort is the place of a stream that was not moved, such as the stream of a record that was just appended.
func (r Root) InCohort(s Stream) Place { return Place{s, r.Dir.Stream(s.Cohort, s.ID), false} }

// InReaped is the place of a stream before it is deleted. A fold moves sealed streams there, and those of dead writers.
func (r Root) InReaped(s Stream) Place { return Place{s, r.Dir.Reaped(s.Cohort, s.ID), true} }

// Streams lists all streams, oldest first, also those in reaped/. What was folded from those may have to be folded
// again, and a writer that was taken for dead may still have written to one (docs/durability.md, R5).
//
// unknown are the paths among the streams that runfold did not make, and symbolic links. What volumes and
// file servers make by themselves is not in it (see cohort.IsSystemEntry). A cohort that cannot be read is reported in err, and
// the streams of all others are returned as well. A cohort that disappears meanwhile is no error.
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
		if seen[s] { // it was moved between the two listings, or somebody has brought it back
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

// isPublic tells whether a path among the streams is the published snapshots file of a cohort.
func (r Root) isPublic(path string) bool {
	id := cohort.ID(filepath.Base(filepath.Dir(path)))
	return r.Settings.Snapshots == cohort.PerCohort && path == r.Dir.SnapshotsOf(id)
}

// Quarantined lists the streams that lie in quarantine/ as a whole. Some are damaged, and a fold has taken what could be read
// of them; the others no fold can read. [Entries] reads what is left of one, at cohort.SegmentIn of Dir.Quarantined.
func (r Root) Quarantined() ([]Stream, error) {
	streams, _, err := streamsIn(r.fs(), r.Dir.QuarantineDir())
	return streams, err
}

// End is the position after the last entry of a stream: the last before bytes that are not an entry.
func (r Root) End(p Place) (Position, error) {
	in, err := r.Open(p, Position{})
	if err != nil {
		return Position{}, err
	}
	defer in.Close()
	in.ReuseMemory()
	for {
		before := in.Position()
		switch _, err := in.Next(); {
		case errors.Is(err, io.EOF):
			return in.Position(), nil
		case errors.Is(err, ErrCorrupt):
			return before, nil
		case err != nil:
			return Position{}, err
		}
	}
}

// OpenAnywhere opens a stream from its beginning, at its place, or in reaped/ if a fold has moved it there since it was listed. at is where it
// lies. If it is gone, the error matches fs.ErrNotExist.
func (r Root) OpenAnywhere(p Place) (in *Reader, at Place, err error) {
	in, err = r.Open(p, Position{})
	if errors.Is(err, fs.ErrNotExist) && !p.Reaped {
		p = r.InReaped(p.Stream)
		in, err = r.Open(p, Position{})
	}
	return in, p, err
}

// Open opens a stream at its place, at a position that an earlier Reader reached. The zero Position is the beginning.
// It never writes.
//
// A stream whose segment does not exist yet is empty. In reaped/ such a stream is fs.ErrNotExist, because nothing more can be
// added there; so is a stream whose directory is gone. A stream that is shorter than what was read before is a
// *CorruptError.
func (r Root) Open(p Place, from Position) (*Reader, error) {
	return open(&Reader{
		fsys: r.fs(), stream: p.Stream, rootID: r.Settings.RootID, path: cohort.SegmentIn(p.Dir), dead: p.Reaped, young: !p.Reaped, pos: from,
	})
}
