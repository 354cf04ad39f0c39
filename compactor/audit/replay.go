package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// Replayed is what Check found, and what Replay derived again.
type Replayed struct {
	Checked
	Generation cohort.Generation `json:"generation"` // the one that was compared
	// NotDerived tells that a file of the generation is damaged: nothing was compared, and all counts below are 0.
	NotDerived bool `json:"not_derived,omitempty"`
	// Of are the rows of the generation, also the withdrawn ones. Each was derived again from its record in a stream, else compared
	// with the same write in an older generation, or it has no source any more.
	Of              int64 `json:"replayed_of"`
	FromStreams     int64 `json:"from_streams"`
	FromGenerations int64 `json:"from_generations"`
	NoSource        int64 `json:"no_source"`
	// Actions are those in force. ActionsNoSource are in no stream and in no older generation any more.
	Actions         int64 `json:"actions"`
	ActionsNoSource int64 `json:"actions_no_source"`
	// Oldest is the oldest generation that was compared with; 0: there was none but the newest.
	Oldest cohort.Generation `json:"oldest"`
	// Folds is of how many folds the order of the seqs was compared with the order of the writes.
	Folds       int   `json:"folds"`
	Differences int64 `json:"differences"` // they are damage, and counted in Problems as well
}

// String says exactly what was proven.
func (r Replayed) String() string {
	if r.Generation == 0 {
		return "there is no generation yet"
	}
	if r.NotDerived {
		return fmt.Sprintf("generation %d was not derived again: it is damaged", r.Generation)
	}
	text := fmt.Sprintf("generation %d: %d of %d rows were derived again", r.Generation, r.FromStreams+r.FromGenerations, r.Of)
	if r.Oldest > 0 {
		text += fmt.Sprintf(" (%d from streams, %d from generations, the oldest is %d)", r.FromStreams, r.FromGenerations, r.Oldest)
	} else {
		text += fmt.Sprintf(" (%d from streams)", r.FromStreams)
	}
	text += fmt.Sprintf(", %d rows have no source any more (streams deleted, generations not kept)", r.NoSource)
	if r.Actions > 0 {
		text += fmt.Sprintf("; %d of %d actions have a source", r.Actions-r.ActionsNoSource, r.Actions)
	}
	return text + fmt.Sprintf("; %d differences", r.Differences)
}

// Replay is Check, and then derives the newest generation again from all that is still in streams, and in the generations before it down to the
// first one that is not kept: below a gap, as retention leaves it, nothing is compared. It compares:
//
//	a row whose stream is still there     its record is folded again, into the columns that the root has now
//	a row that an older generation has    the content, in the index and in the snapshots, is the same
//	a row of an older generation          it stands still, or a later write of its key does; its seq never goes back
//	a row, an action                      its stream, where it is still there, has its record
//	an action of an older generation      it is still in force
//	rows that one fold read               their seqs are in the order of the writes
//
// Where a row stands, in the index or among the withdrawn rows, Check decides again from the actions. A row is the same if it has the same
// fields with the same values: whether a value stands in a column or in _extra depends on when its column came.
//
// So it finds a value that was changed together with all checksums. What it finds is damage. Replayed says how much has a source;
// nothing can be said of the rest, which is the most in a root that sweeps: Replay proves what came since the oldest generation that it reads.
//
// Like Check it only reads, takes no lock, and is right while others append and fold. It uses no temporary files: a disk that is full, or
// may not be written, is looked at as well. It holds of each row the key and about 250 bytes in memory. Files that several generations
// share are read once. yield is called in the calling goroutine.
func Replay(ctx context.Context, cfg compactor.Config, yield func(Problem)) (Replayed, error) {
	store, err := storeFor(ctx, cfg)
	if err != nil {
		return Replayed{}, err
	}
	done, err := check(ctx, store, yield)
	if err != nil {
		return Replayed{Checked: done}, err
	}
	for try := 0; ; try++ {
		again, found := Replayed{Checked: done}, []Problem(nil)
		r := &replayer{Store: store, ctx: ctx, out: &again, told: map[cohort.Key]bool{}, read: map[string]bool{}}
		r.yield = func(p Problem) { found = append(found, p) }
		err = r.all()
		if errors.Is(err, generation.ErrConflict) && try < maxSwept && ctx.Err() == nil {
			continue // the generation was swept meanwhile: the next one is compared
		}
		if err == nil {
			err = store.StillThere() // what is gone looks swept
		}
		if err != nil {
			return again, store.Doubt(err, 0)
		}
		for _, p := range found {
			if p.Damage {
				again.Problems++
			}
			yield(p)
		}
		return again, ctx.Err()
	}
}

// replayer is one replay of one generation.
type replayer struct {
	*generation.Store
	ctx   context.Context
	yield func(Problem)
	out   *Replayed

	newest  generation.Manifest
	data    *generation.Data
	before  []generation.Manifest // its ancestors on the disk, oldest first, whose content it must have
	read    map[string]bool       // data files that nothing is to be compared with any more
	rows    map[cohort.Key]*replayRow
	actions map[cohort.Version]*replayAction // those in force
	whole   map[cohort.StreamID]bool         // streams that were read from their first byte up to their watermark
	last    map[cohort.StreamID]cohort.Stamp // of what was read of them

	chunk      []replayed // records to be folded again
	chunkBytes int
	folded     map[int][]replayed // by the number of the fold among all ancestors and the newest
	pending    map[cohort.Key][]difference

	differing []difference
	told      map[cohort.Key]bool // rows of older generations whose place was told
}

func (r *replayer) all() (err error) {
	if r.newest, err = r.Newest(); err != nil || r.newest.Generation == 0 {
		return err
	}
	r.out.Generation = r.newest.Generation
	for _, f := range r.newest.Files() {
		r.read[f.Name] = true
		if err := r.CheckFile(f); err != nil {
			if _, lerr := r.FS.Stat(r.Root.Manifest(r.newest.Generation)); errors.Is(lerr, fs.ErrNotExist) {
				return generation.ErrConflict
			}
			if durable.IsAway(r.Doubt(err, 0)) {
				return err
			}
			r.out.NotDerived = true
			r.note(r.Root.Data(f.Name), "was not derived again: %v", err) // Check has told
			return nil
		}
	}
	if r.data, err = r.Data(r.newest); err != nil {
		return err
	}
	defer r.data.Close()
	if err := r.readNewest(); err != nil {
		return err
	}
	if err := r.ancestors(); err != nil {
		return err
	}
	for _, m := range r.before {
		if err := r.generation(m); err != nil {
			return err
		}
	}
	if err := r.streams(); err != nil {
		return err
	}
	if err := r.order(); err != nil {
		return err
	}
	r.count()
	return r.tell()
}

// ancestors reads the manifests from the newest down, as long as each is the parent of the one above. A generation that a repair committed
// anew may have less than the one before: it is the last one.
func (r *replayer) ancestors() error {
	child := r.newest
	for child.Generation > 1 && child.RepairedFrom == nil {
		m, err := r.Read(child.Generation - 1)
		if errors.Is(err, fs.ErrNotExist) || generation.IsDamage(err) || err == nil && !m.IsParentOf(&child) {
			break
		}
		if err != nil {
			return err
		}
		r.before = append(r.before, m)
		child = m
	}
	slices.Reverse(r.before)
	return nil
}

// had tells whether a stream must have what was written then. On storage that shows old listings a fold may not see a stream, and the next one may see
// less of it than was folded before: then what is missing is later than what it has up to its watermark.
func (r *replayer) had(s cohort.StreamID, at cohort.Stamp) bool {
	return r.whole[s] && (!r.IsRemote() || at <= r.last[s])
}

// count counts what has a source.
func (r *replayer) count() {
	r.out.Of, r.out.Actions = int64(len(r.rows)), int64(len(r.actions))
	var strangers []cohort.Key
	for key, row := range r.rows {
		switch {
		case row.inStream:
			r.out.FromStreams++
		case row.at.Digest != 0 && r.had(row.stream, row.at.Stamp):
			strangers = append(strangers, key)
		case row.inOlder:
			r.out.FromGenerations++
		default:
			r.out.NoSource++
		}
	}
	slices.Sort(strangers)
	for _, key := range strangers {
		row := r.rows[key]
		r.differ(difference{key: key, path: r.pathOf(row), text: fmt.Sprintf("row %q says that it came from stream %s, which does not have its record", key, row.stream)})
	}
	for _, v := range slices.SortedFunc(maps.Keys(r.actions), cohort.Version.Compare) {
		a := r.actions[v]
		switch {
		case a.hasSource:
		case r.had(a.Stream, v.Stamp):
			r.differ(difference{path: r.Root.Data(r.newest.Withdrawn.Actions.Name), text: fmt.Sprintf("action %s (%v %q) says that it came from stream %s, which does not have it", a.ID, a.Action, a.RunID, a.Stream)})
		default:
			r.out.ActionsNoSource++
		}
	}
}

// pathOf is the file in which a row stands.
func (r *replayer) pathOf(row *replayRow) string {
	if row.out {
		return r.Root.Data(r.newest.Withdrawn.Index.Name)
	}
	return r.Root.Data(r.newest.Index.Name)
}

func (r *replayer) note(path, format string, args ...any) {
	r.yield(Problem{r.Root.Rel(path), fmt.Sprintf(format, args...), false})
}

// unread notes what could not be read, and counts it where the storage does not answer, unless Check has told of it, or it is gone. Only the end of ctx ends more than that.
func (r *replayer) unread(path string, err error) error {
	if r.ctx.Err() == nil && !isTold(err) {
		if durable.IsAway(r.Doubt(err, 0)) {
			r.out.Unseen++
		}
		r.note(path, "was not read again: %v", err)
	}
	return r.ctx.Err()
}

// isTold tells whether Check tells of an error, or nothing is wrong: what others swept is gone.
func isTold(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, generation.ErrConflict) || errors.Is(err, cohort.ErrNewer) || journal.IsMisfit(err) || generation.IsDamage(err)
}

// open opens a stream. It is nil if it is gone.
func (r *replayer) open(p journal.Place) (*journal.Reader, error) {
	in, _, err := r.Journal().OpenAnywhere(p)
	if isTold(err) {
		return nil, nil
	}
	return in, err
}
