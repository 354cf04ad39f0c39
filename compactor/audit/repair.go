package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// RepairOptions say how far Repair goes.
type RepairOptions struct {
	// Apply makes the changes. Without it Repair only tells what it would do.
	Apply bool
	// Dead are streams whose writers have certainly ended, as the caller knows. They are reaped at once, and the valid entries
	// after a damaged place are read.
	Dead []journal.Stream
	// From is the directory of a backup: a copy of the root, or of some of its files, in any layout. Its files are read, and used
	// where they have the checksum of what is damaged or missing; so are its streams, where the root has lost them and needs them
	// again. If empty, only the root itself.
	From string
}

// Repaired is what Repair found. With Apply it is also what Repair did.
type Repaired struct {
	Applied bool `json:"applied"`
	// Newest is the highest generation that any file tells of. Good is the highest one whose manifest and data files are what
	// was committed, in their places or in copies. If they differ, the root goes back to Good.
	Newest cohort.Generation `json:"newest"`
	Good   cohort.Generation `json:"good"`
	// Missing says that manifests are missing, and which file says so; else it is empty.
	Missing string `json:"missing,omitempty"`
	// Anew tells that Good is committed anew, with a number above Newest. Rebuilt tells that it has no manifest of its own: it is made
	// of an index and of snapshots that fit. Their checksums are not known then: each page of the index was checked, and that the
	// snapshots have the same keys and seqs.
	Anew    bool `json:"anew"`
	Rebuilt bool `json:"rebuilt"`
	// Unerased tells that tombstones of erased runs may be missing of what is made of files: what was erased must be erased again, or records
	// of it may get in again.
	Unerased bool `json:"unerased,omitempty"`
	// Damaged are the damaged manifests and data files above Good, and those of Good that are restored.
	Damaged []Problem `json:"damaged"`
	// Old are damaged manifests and data files of generations before the newest. They are made anew from copies, or put aside.
	Old []Problem `json:"old"`
	// Restored are the data files, and segments of streams, that are made anew from whole copies.
	Restored []Restored `json:"restored"`
	// Published tells that the public files are those of Newest.
	Published bool `json:"published"`
	// NotYet tells that they are not, and that this needs no repair: a compactor at work has committed Newest, or the storage may show an
	// old state. Waiting or Unseen names them.
	NotYet bool `json:"not_yet_published,omitempty"`
	// Misfits are streams that no fold can read further: they are cut off, or belong to another root. They go to quarantine/.
	Misfits []Problem `json:"misfits"`
	// Back are streams in quarantine/ that are whole and belong to this root. They go to reaped/, where folds read them.
	Back []Problem `json:"back"`
	// Waiting are streams that end with bytes which are not an entry, perhaps not yet. Their writers are not known to be dead. With NotYet
	// they are public files, too.
	Waiting []Problem `json:"waiting"`
	// Unseen are streams, and with NotYet public files, that the storage does not show as they were read or made before, or for which it
	// does not answer. They stay where they are, and a later Repair tells more.
	Unseen []Problem `json:"unseen,omitempty"`
	// Lost are the entries that were folded above Good and whose streams are no longer on the disk.
	Lost []LostEntries `json:"lost"`
	// Imports are generations above Good that came from an import, which must be repeated. Unknown are
	// those whose manifests cannot be read: what they had folded is not known.
	Imports []cohort.Generation `json:"imports"`
	Unknown []cohort.Generation `json:"unknown"`
	// doubtful tells that the manifest above Good is too damaged to say whether Good is its parent. Good may be void.
	doubtful bool

	Generation cohort.Generation `json:"generation"` // the newest one at the end
	Fold       compactor.Report  `json:"fold"`       // what folding again did
}

// Restored is a file that is made anew from a whole copy.
type Restored struct {
	Path string `json:"path"` // relative to the root
	From string `json:"from"` // the same, or a path in the backup
}

// LostEntries are the entries First to Last of a stream. The header is entry 1.
type LostEntries struct {
	Stream string `json:"stream"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
}

// Whole tells whether there is nothing to repair.
func (r Repaired) Whole() bool {
	return r.Newest == r.Good && !r.Anew && r.Missing == "" && len(r.Damaged)+len(r.Old) == 0 && len(r.Misfits) == 0 && len(r.Back) == 0 && (r.Published || r.NotYet || r.Newest == 0)
}

// Lossless tells whether going back to Good loses no row and no tombstone, as far as the manifests say. To go back by one generation is
// always lossless, except after an import: the streams that the generation folded are still on the disk.
func (r Repaired) Lossless() bool {
	lostUnknown := r.doubtful || len(r.Unknown) > 1 || len(r.Unknown) == 1 && r.Unknown[0] != r.Newest
	return len(r.Lost) == 0 && len(r.Imports) == 0 && !lostUnknown && !r.Unerased
}

// ErrNoGeneration reports a root in which every generation is damaged. Repair cannot go back to one, and a backup is needed.
var ErrNoGeneration = errors.New("no generation is whole")

// Repair repairs a damaged root so that it can be folded again, and says exactly which rows are lost, if any:
//
//	a data file is damaged or gone     make it anew from any file that has its checksum: a published file,
//	                                   one in quarantine/, one of a backup
//	the newest generation is damaged   go back to the newest whole one by committing it anew, and fold
//	                                   again what it had not folded from the streams that are still there
//	manifests are missing              take the rows of the highest generation of which any file tells, if an
//	                                   index and snapshots that fit it are whole
//	an older generation is damaged     the same from copies, else it is put aside: the newest is whole
//	a stream cannot be read on         move it to quarantine/
//	a stream in quarantine/ is whole   bring it back
//	a writer is declared dead          reap its stream, and read on after damaged places
//	the public files are not ours      publish the newest generation
//
// It deletes nothing: what it replaces or takes away, and what a sweep would remove, it keeps in quarantine/. Like a fold it
// commits by put-if-absent. It may be killed at any place, and others may fold meanwhile; a second Repair ends with the same
// result. Without Apply it takes no lock and writes nothing, and looks again where others have committed meanwhile. With Apply it fails with compactor.ErrLocked while another
// compactor holds the lock. Call it without Apply first, and look at [Repaired.Lossless].
func Repair(ctx context.Context, cfg compactor.Config, opts RepairOptions) (Repaired, error) {
	store, err := cfg.Store()
	if err == nil {
		err = suits(store)
	}
	if err != nil {
		return Repaired{}, err
	}
	if opts.From != "" {
		if _, err := store.FS.ReadDir(opts.From); err != nil {
			return Repaired{}, fmt.Errorf("read the backup: %w", err)
		}
	}
	if !opts.Apply {
		out, err := plan(ctx, store, opts)
		return out, store.Doubt(err, 0)
	}
	held, release, err := cfg.Take(ctx, store)
	if err != nil {
		return Repaired{}, err
	}
	defer release()
	cfg.Lock = lock.Already(held)
	r := newRepairer(store, opts)
	err = r.examine(ctx)
	if err == nil {
		err = r.apply(ctx, cfg)
	}
	return r.out, store.Doubt(err, 0)
}

func newRepairer(store *generation.Store, opts RepairOptions) *repairer {
	return &repairer{
		Store: store, opts: opts, why: map[string]error{}, told: map[string]bool{}, src: &sources{Store: store, from: opts.From},
		out: Repaired{ // lists that are empty, not null, in JSON
			Damaged: []Problem{}, Misfits: []Problem{}, Back: []Problem{}, Waiting: []Problem{}, Lost: []LostEntries{},
			Imports: []cohort.Generation{}, Unknown: []cohort.Generation{}, Restored: []Restored{}, Old: []Problem{},
		},
	}
}

// plan tells what is to be repaired. What looks wrong while others commit, and sweep what was before, is looked at again.
func plan(ctx context.Context, store *generation.Store, opts RepairOptions) (Repaired, error) {
	for try := 0; ; try++ {
		before, err := store.List()
		if err != nil {
			return newRepairer(store, opts).out, err
		}
		r := newRepairer(store, opts)
		err = r.examine(ctx)
		if err == nil && r.out.Whole() || ctx.Err() != nil {
			return r.out, err
		}
		now, lerr := store.List()
		if lerr != nil || generation.Last(now) == generation.Last(before) {
			return r.out, err
		}
		if try == maxSwept {
			return r.out, fmt.Errorf("others commit all the time: %w", generation.ErrConflict)
		}
	}
}

type repairer struct {
	*generation.Store
	opts RepairOptions
	out  Repaired

	good generation.Manifest   // the generation to go back to; generation 0 is the empty root
	lost []generation.Manifest // readable manifests above it, newest first

	src      *sources
	chain    []generation.Manifest // all manifests of the root that can be read, where files beside them are looked at
	top      cohort.Generation     // the highest that has a manifest
	restores []restore             // of data files of good
	old      []oldGeneration       // damaged ones before good, the highest first
	told     map[string]bool       // files of these

	streamCopies []streamCopy

	all  []journal.Place
	back []wrongly
	why  map[string]error // of each misfit, by its path in out.Misfits
}

// apply repairs what examine has found. After each step a fold, or another Repair, can go on with the root.
func (r *repairer) apply(ctx context.Context, cfg compactor.Config) error {
	for _, p := range r.out.Misfits {
		if err := r.putAside(filepath.Join(string(r.Root), filepath.FromSlash(p.Path)), r.why[p.Path]); err != nil {
			return err
		}
	}
	if len(r.out.Misfits) > 0 { // some of them may only have lain in the wrong cohort
		if err := r.wrongs(ctx); err != nil {
			return err
		}
	}
	if err := r.bringWhole(); err != nil {
		return err
	}
	reaped, err := r.reapDeclared()
	if err != nil {
		return err
	}
	if err := r.keepDamaged(); err != nil {
		return err
	}
	for _, d := range r.restores {
		if err := r.Restore(d.file, d.from); err != nil {
			return err
		}
	}
	for _, c := range r.streamCopies {
		if err := r.bringStream(c); err != nil {
			return err
		}
	}
	if r.out.Anew {
		if err := r.goBack(); err != nil {
			return err
		}
	}
	if err := r.mendOlder(); err != nil {
		return err
	}
	if err := r.publish(); err != nil {
		return err
	}
	r.out.Applied = true
	r.out.Fold, err = compactor.Fold(ctx, cfg)
	r.out.Fold.Reaped += reaped
	r.out.Generation = r.out.Fold.Generation
	r.out.Published = err == nil
	return err
}

// putAside moves a stream that cannot be read on to quarantine/, with a note that says why.
func (r *repairer) putAside(dir string, why error) error {
	s, err := streamAt(dir)
	if err != nil {
		return err
	}
	if err := compactor.NoteMisfit(r.Journal(), journal.Place{Stream: s, Dir: dir}, why); err != nil {
		return err
	}
	return durable.Move(r.FS, dir, r.Root.Quarantined(s.Cohort, s.ID))
}

// reapDeclared reaps the streams whose writers the caller declared dead, except those that were reaped before.
func (r *repairer) reapDeclared() (reaped int, err error) {
	var here []journal.Stream
	for _, s := range r.opts.Dead {
		_, err := r.FS.Stat(r.Journal().InCohort(s).Dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was reaped, quarantined or deleted before: see declared
		}
		if err != nil {
			return 0, fmt.Errorf("stream %v: %w", s, err)
		}
		here = append(here, s)
	}
	return compactor.Reap(r.Journal(), here, "its writer was declared dead", r.Notify), nil
}

// goBack commits the good generation again, with a number above all damaged ones. It writes new data files: those of the good
// generation may be swept before this one names them (R15).
func (r *repairer) goBack() error {
	if err := r.bringBack(); err != nil {
		return err
	}
	next, err := r.DraftAgain(r.good, r.out.Newest)
	if err != nil {
		return err
	}
	next.NextSeq, next.HighestStamp = r.afterLost()
	old, err := r.Summed(r.good)
	if err != nil {
		return err
	}
	defer old.Close()
	if r.out.Rebuilt {
		old.Index.Anew()
		if old.Withdrawn != nil {
			old.Withdrawn.Index.Anew()
		}
	}
	if err := r.SyncManifests(); err != nil { // before a data file says that the newest was committed (R21)
		return err
	}
	next.Schema, next.Columns = next.Columns.Apply(next.Schema, nil) // the files are those of today, and so are the rules for columns
	if _, err := next.Write(old, generation.Changes{Whole: true}); err != nil {
		return err
	}
	if _, err = next.Commit(); err != nil {
		return err
	}
	// The manifest of good may be damaged, where another file told what was in it. It is in quarantine/, and the new one does not
	// make it void, as its number is the one that was taken.
	if _, err := r.Read(r.out.Good); generation.IsDamage(err) {
		return durable.Remove(r.FS, r.Root.Manifest(r.out.Good))
	}
	return nil
}

// publish makes what was repaired public before the fold: what stood there is damage that the repair mends, and none that the
// fold finds.
func (r *repairer) publish() error {
	newest, err := r.Newest()
	if err == nil {
		err = r.Heal(newest)
	}
	if errors.Is(err, generation.ErrConflict) {
		return nil // others have committed since, and publish
	}
	return err
}

// seqGap is how many seqs are left out for a manifest that cannot be read and may have assigned seqs. One fold of a batch that
// fits into memory, or one import, cannot have used more.
const seqGap = 1 << 32

// afterLost is the next seq and the highest stamp. Both are above all that the lost generations may have assigned. So
// no snapshot_seq is assigned twice, not even if its first row is lost.
func (r *repairer) afterLost() (cohort.Seq, cohort.Stamp) {
	seq, stamp := max(r.good.NextSeq, 1), r.good.HighestStamp
	for _, h := range r.lost {
		seq, stamp = max(seq, h.NextSeq), max(stamp, h.HighestStamp)
	}
	return seq + cohort.Seq(len(r.out.Unknown))*seqGap, stamp
}

// makeDir makes a directory of the root. On success its name is durable, also if another process has made it.
func (r *repairer) makeDir(dir string) error {
	return durable.MkdirWithin(r.FS, string(r.Root), dir, r.Settings.DirMode.FS())
}

// keepDamaged keeps the damaged files under quarantine/, because a later sweep removes them from their places. If manifests are
// missing, it keeps all data files that no manifest names: the sweep takes them for what a killed fold has left.
func (r *repairer) keepDamaged() error {
	for _, p := range r.out.Damaged {
		path := filepath.Join(string(r.Root), filepath.FromSlash(p.Path))
		if durable.Regular(r.FS, path) != nil {
			continue // a link has no bytes of its own
		}
		if _, err := r.Keep(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if r.out.Missing == "" {
		return nil
	}
	return r.keepOrphans(r.top)
}

// bringBack moves streams that the lost generations had put into quarantine/ back to reaped/, where folds read them.
func (r *repairer) bringBack() error {
	kept, err := r.Journal().Quarantined()
	if err != nil {
		return err
	}
	again := map[journal.Stream]bool{} // folded by a lost generation
	for _, h := range r.lost {
		for _, m := range h.Streams {
			again[m.Stream] = true
		}
	}
	done := map[journal.Stream]bool{}
	for _, m := range r.good.Streams {
		done[m.Stream] = m.Sealed
	}
	for _, s := range kept {
		if done[s] || !again[s] && len(r.out.Unknown) == 0 {
			continue
		}
		err := r.makeDir(r.Root.Reaped(s.Cohort, ""))
		if err == nil {
			err = durable.Move(r.FS, r.Root.Quarantined(s.Cohort, s.ID), r.Root.Reaped(s.Cohort, s.ID))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("bring back stream %v: %w", s, err)
		}
	}
	return nil
}
