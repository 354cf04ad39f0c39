package compactor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// RepairOptions say how far Repair goes.
type RepairOptions struct {
	// Apply makes the changes. Without it Repair only tells what it would do.
	Apply bool
	// Dead are streams whose writers the caller knows to have ended: they are reaped at once, and what is
	// valid behind a hole is read.
	Dead []journal.Stream
}

// Repaired is what Repair found, and did if it was to.
type Repaired struct {
	Applied bool `json:"applied"`
	// Newest is the highest generation on the disk, Good the highest whose manifest and data files are what
	// was committed. Where they differ the root goes back to Good.
	Newest cohort.Generation `json:"newest"`
	Good   cohort.Generation `json:"good"`
	// Damaged are the manifests and data files above Good that are not in order.
	Damaged []Problem `json:"damaged"`
	// Published tells that the public files are those of Newest.
	Published bool `json:"published"`
	// Misfits are streams that no fold can read on: cut off, or of another root. They go to quarantine/.
	Misfits []Problem `json:"misfits"`
	// Waiting are streams with bytes that are no entry, or not yet: their writers are not known to be dead.
	Waiting []Problem `json:"waiting"`
	// Lost are the entries that were folded above Good from streams that are not on the disk any more.
	Lost []LostEntries `json:"lost"`
	// Imports are generations above Good that came from an import, which is to be repeated; Unknown are
	// those whose manifests cannot be read: what they had folded is told by nobody.
	Imports []cohort.Generation `json:"imports"`
	Unknown []cohort.Generation `json:"unknown"`
	// doubtful tells that nothing is left of the manifest above Good that says whether Good is its parent: it may be void.
	doubtful bool

	Generation cohort.Generation `json:"generation"` // the newest one at the end
	Fold       Report            `json:"fold"`       // what folding again did
}

// LostEntries are the entries First to Last of a stream. The header is entry 1.
type LostEntries struct {
	Stream string `json:"stream"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
}

// Whole tells that there is nothing to repair.
func (r Repaired) Whole() bool {
	return r.Newest == r.Good && len(r.Damaged) == 0 && len(r.Misfits) == 0 && (r.Published || r.Newest == 0)
}

// Lossless tells that going back to Good loses no row, as far as the manifests tell. One generation is
// always lossless but for imports: the streams that it folded are still on the disk.
func (r Repaired) Lossless() bool {
	lostUnknown := r.doubtful || len(r.Unknown) > 1 || len(r.Unknown) == 1 && r.Unknown[0] != r.Newest
	return len(r.Lost) == 0 && len(r.Imports) == 0 && !lostUnknown
}

// ErrNoGeneration reports a root in which no generation is whole.
var ErrNoGeneration = errors.New("no generation is whole")

// Repair makes a root that has damage fold again, and says exactly what is gone, if anything:
//
//	the newest generation is damaged   go back to the newest whole one by committing it anew, and fold
//	                                   again what it had not folded from the streams that are still there
//	a stream cannot be read on         move it to quarantine/
//	a writer is declared dead          reap its stream, and read behind its holes
//	the public files are not ours      publish the newest generation
//
// It deletes nothing: damaged files are kept in quarantine/ before a sweep can take them. Like a fold it
// commits by put-if-absent and may be cut off anywhere or raced by anybody; done again it ends the same.
// Without Apply it takes no lock and writes nothing.
func Repair(ctx context.Context, cfg Config, opts RepairOptions) (Repaired, error) {
	f, err := newFolder(cfg)
	if err != nil {
		return Repaired{}, err
	}
	r := &repairer{folder: f, opts: opts, out: Repaired{ // lists that a script can go through
		Damaged: []Problem{}, Misfits: []Problem{}, Waiting: []Problem{}, Lost: []LostEntries{},
		Imports: []cohort.Generation{}, Unknown: []cohort.Generation{},
	}}
	if !opts.Apply {
		err := r.examine(ctx)
		return r.out, err
	}
	unlock, err := f.Lock.Lock(ctx)
	if err != nil {
		return Repaired{}, err
	}
	err = r.examine(ctx)
	if err == nil {
		err = r.apply(ctx)
	}
	return r.out, errors.Join(err, unlock())
}

type repairer struct {
	*folder
	opts RepairOptions
	out  Repaired

	good head   // what to go back to; the zero head if that is before the first generation
	lost []head // readable manifests above it, newest first
	all  []place
}

// examine finds out all and changes nothing.
func (r *repairer) examine(ctx context.Context) error {
	if err := r.generations(ctx); err != nil {
		return err
	}
	var err error
	if r.all, _, err = r.places(); err != nil {
		return err
	}
	if err := r.streams(ctx); err != nil {
		return err
	}
	if err := r.declared(ctx); err != nil {
		return err
	}
	r.out.Generation = r.out.Newest
	switch {
	case r.out.Newest != r.out.Good:
		return r.account()
	case r.out.Newest > 0:
		r.out.Published, err = r.isPublished(r.good)
	}
	return err
}

// generations looks for the newest whole generation, from the top. It goes down as long as each manifest is the parent of
// the one above: what is below may be of a compactor that slept (R2), and says nothing about this root.
func (r *repairer) generations(ctx context.Context) error {
	gens, err := generations(r.FS, r.Root)
	if err != nil {
		return err
	}
	r.out.Newest = newestOf(gens)
	lowest := r.out.Newest // that the newest descends from
	child := head{}        // the manifest right above, if it can be read
	for i := len(gens) - 1; i >= 0; i-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		if gens[i]+1 < lowest {
			break // what was between is swept or lost
		}
		h, err := readManifest(r.FS, r.Root, gens[i])
		if errors.Is(err, cohort.ErrNewer) {
			return err // nothing that we could judge
		}
		if err != nil {
			r.damaged(r.Root.Manifest(gens[i]), err)
			r.out.Unknown = append(r.out.Unknown, gens[i])
			child, lowest = head{}, gens[i]
			continue
		}
		is, sure := true, true
		if gens[i] < r.out.Newest {
			is, sure = r.isParent(h, child)
		}
		if !is {
			break
		}
		if r.isWhole(h) {
			r.good, r.out.Good, r.out.doubtful = h, h.Generation, !sure
			return nil
		}
		if !sure {
			break
		}
		r.lost = append(r.lost, h)
		child, lowest = h, gens[i]
	}
	if lowest <= 1 {
		return nil // back to the beginning: what the streams hold is all there ever was
	}
	return fmt.Errorf("%w: restore manifests/ and data/ from a backup: the journals hold only what was appended since generation %d: %w",
		ErrNoGeneration, lowest, ErrCorrupt)
}

// isParent tells whether h is the parent of the manifest above. If that one cannot be read, child is the zero head, and what is
// left of its bytes tells. If they tell nothing, h may be the parent, and is not surely it.
func (r *repairer) isParent(h, child head) (is, sure bool) {
	if child.Generation != 0 {
		return child.Parent == h.digest, true
	}
	data, err := r.bytesOf(h.Generation + 1)
	if err != nil {
		return true, false
	}
	if bytes.Contains(data, []byte(h.digest)) {
		return true, true
	}
	said := parentLine.FindSubmatch(data)
	if said == nil {
		return true, false
	}
	equal := 0
	for i, c := range said[1] {
		if i < len(h.digest) && c == h.digest[i] {
			equal++
		}
	}
	return equal > len(h.digest)/2, true // the damage may be here; two digests have about 4 of 64 digits in common
}

// parentLine is what a manifest says of its parent, whose digits may be damaged.
var parentLine = regexp.MustCompile(`(?s)"parent": "(.{64})"`)

func (r *repairer) damaged(path string, err error) {
	r.out.Damaged = append(r.out.Damaged, Problem{r.Root.Rel(path), err.Error(), true})
}

// isWhole reads both data files of a generation and compares their checksums.
func (r *repairer) isWhole(h head) bool {
	whole := true
	for _, d := range h.files() {
		if err := r.dataFileError(d); err != nil {
			r.damaged(r.Root.Data(d.Name), err)
			whole = false
		}
	}
	return whole
}

// streams finds those that are in the way of every fold, and those that wait.
func (r *repairer) streams(ctx context.Context) error {
	marks := make(map[journal.Stream]Watermark, len(r.good.Streams))
	for _, m := range r.good.Streams {
		marks[m.Stream] = m
	}
	for _, p := range r.all {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := marks[p.Stream].Position
		if from.Sealed {
			continue
		}
		torn, err := r.tryStream(p, from)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, cohort.ErrNewer):
		case journal.IsMisfit(err):
			r.out.Misfits = append(r.out.Misfits, Problem{r.Root.Rel(p.dir), err.Error(), true})
		case err != nil:
			r.out.Waiting = append(r.out.Waiting, Problem{r.Root.Rel(p.dir), err.Error(), false})
		case torn > 0 && !p.reaped:
			r.out.Waiting = append(r.out.Waiting, Problem{r.Root.Rel(p.dir), fmt.Sprintf(
				"%d bytes are no entry, or not yet; if its writer has ended: --dead %v", torn, p.Stream), false})
		}
	}
	return nil
}

// tryStream reads a stream to its end. Damage that a fold passes over by itself is none of ours.
func (r *repairer) tryStream(p place, from journal.Position) (torn int64, err error) {
	s, err := r.open(p, from)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	for {
		_, err := s.Next()
		switch {
		case err == nil, errors.Is(err, journal.ErrCorrupt):
		case errors.Is(err, io.EOF):
			return s.Torn(), nil
		default:
			return 0, err
		}
	}
}

// account tells what was folded above the generation to go back to and cannot be folded again.
func (r *repairer) account() error {
	here := map[journal.Stream]bool{}
	for _, p := range r.all {
		here[p.Stream] = true
	}
	kept, err := r.inQuarantine()
	if err != nil {
		return err
	}
	for _, s := range kept {
		here[s] = true
	}
	read := map[journal.Stream]uint64{} // the last entry that good has folded
	for _, m := range r.good.Streams {
		read[m.Stream] = m.Seq
	}
	parent := r.good
	for i := len(r.lost) - 1; i >= 0; i-- { // oldest first
		h := r.lost[i]
		moved := false
		for _, m := range h.Streams {
			last := read[m.Stream]
			moved = moved || m.Seq > last
			if m.Seq > last && !here[m.Stream] {
				r.out.Lost = append(r.out.Lost, LostEntries{m.Stream.String(), last + 1, m.Seq})
			}
			read[m.Stream] = max(last, m.Seq)
		}
		if !moved && h.RepairedFrom == nil && h.Index.Name != parent.Index.Name {
			r.out.Imports = append(r.out.Imports, h.Generation)
		}
		parent = h
	}
	return nil
}

// inQuarantine lists the streams that were moved to quarantine/ whole.
func (r *repairer) inQuarantine() ([]journal.Stream, error) {
	streams, _, err := journal.StreamsIn(r.FS, r.Root.QuarantineDir())
	return streams, err
}

// apply does what examine has found. Each step leaves a root that every fold and another Repair can go on
// from.
func (r *repairer) apply(ctx context.Context) error {
	for _, p := range r.out.Misfits {
		if err := r.putAside(filepath.Join(string(r.Root), filepath.FromSlash(p.Path))); err != nil {
			return err
		}
	}
	if err := r.reapDeclared(); err != nil {
		return err
	}
	if r.out.Newest != r.out.Good {
		if err := r.goBack(); err != nil {
			return err
		}
	}
	r.out.Applied = true
	err := r.run(ctx)
	r.out.Fold, r.out.Generation = r.report, r.report.Generation
	r.out.Published = err == nil
	return err
}

// putAside moves a stream that cannot be read on to quarantine/.
func (r *repairer) putAside(dir string) error {
	s, err := streamAt(dir)
	if err != nil {
		return err
	}
	if err := r.makeDir(r.Root.Quarantine(s.Cohort)); err != nil {
		return err
	}
	return durable.Move(r.FS, dir, r.Root.Quarantined(s.Cohort, s.ID))
}

// reapDeclared reaps the streams whose writers the caller knows to have ended, where that is still to be done.
func (r *repairer) reapDeclared() error {
	for _, s := range r.opts.Dead {
		p := place{s, r.Root.Stream(s.Cohort, s.ID), false}
		_, err := r.FS.Stat(p.dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went its way before, see declared
		}
		if err != nil {
			return fmt.Errorf("stream %v: %w", s, err)
		}
		r.reap([]dead{{p, "its writer was declared dead"}})
	}
	return nil
}

// goBack commits the good generation anew, above all that is damaged.
func (r *repairer) goBack() error {
	if err := r.keepDamaged(); err != nil {
		return err
	}
	if err := r.bringBack(); err != nil {
		return err
	}
	prev := r.good
	prev.Generation, prev.digest = r.out.Newest, r.digestOf(r.out.Newest)
	next, err := r.nextManifest(prev, r.good.Streams)
	if err != nil {
		return err
	}
	next.RepairedFrom = &r.out.Good
	next.NextSeq, next.HighestStamp = r.afterLost()
	// New data files: those of the good generation may be swept until this one names them.
	old, err := r.openSummed(r.good)
	if err != nil {
		return err
	}
	defer old.Close()
	if err := r.writeData(&next, old, nil, changes{whole: true}); err != nil {
		return err
	}
	_, err = r.commit(next)
	return err
}

// digestOf is what a child says of its parent, whose file may be damaged or unreadable.
func (r *repairer) digestOf(g cohort.Generation) string {
	data, err := r.bytesOf(g)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// bytesOf are the bytes of a manifest, whatever they are.
func (r *repairer) bytesOf(g cohort.Generation) ([]byte, error) {
	if err := durable.Regular(r.FS, r.Root.Manifest(g)); err != nil {
		return nil, err
	}
	return durable.Read(r.FS, r.Root.Manifest(g), maxManifest)
}

// seqGap is left where a manifest that nobody can read may have given seqs away: more than one fold of any
// batch that fits into memory, or any import, can have used.
const seqGap = 1 << 32

// afterLost is the next seq and the highest stamp above all that the lost generations may have given:
// no snapshot_seq is given twice, also to rows that are gone.
func (r *repairer) afterLost() (cohort.Seq, cohort.Stamp) {
	seq, stamp := max(r.good.NextSeq, 1), r.good.HighestStamp
	for _, h := range r.lost {
		seq, stamp = max(seq, h.NextSeq), max(stamp, h.HighestStamp)
	}
	return seq + cohort.Seq(len(r.out.Unknown))*seqGap, stamp
}

// keepDamaged keeps the damaged files under quarantine/: the next sweeps take them from their places.
func (r *repairer) keepDamaged() error {
	dir := r.Root.DamagedGenerations()
	if err := r.makeDir(dir); err != nil {
		return err
	}
	for _, p := range r.out.Damaged {
		path := filepath.Join(string(r.Root), filepath.FromSlash(p.Path))
		err := durable.ReplaceWith(r.FS, filepath.Join(dir, filepath.Base(path)), path, r.settings.FileMode.FS())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep %s: %w", p.Path, err)
		}
	}
	return nil
}

// bringBack moves streams that the lost generations had put into quarantine/ to where they are read again.
func (r *repairer) bringBack() error {
	kept, err := r.inQuarantine()
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

// isVoid tells whether a repair that one of these manifests commits has gone back behind a generation.
func isVoid(all []head, g cohort.Generation) bool {
	for _, h := range all {
		if h.RepairedFrom != nil && *h.RepairedFrom < g && g < h.Generation {
			return true
		}
	}
	return false
}
