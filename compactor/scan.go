package compactor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// place is where a stream lies: in its cohort, or in reaped/ on its way out.
type place struct {
	journal.Stream
	dir    string
	reaped bool
}

// places lists all streams, oldest first. Those in reaped/ are read like the others: what was folded from them may
// have to be folded again, and who was taken for dead may have gone on writing (R5).
func (f *folder) places() (all []place, unknown []string, err error) {
	streams, unknown, err := journal.Streams(f.FS, f.Root)
	if err != nil && len(streams) == 0 {
		return nil, unknown, err
	}
	reaped, strange, rerr := journal.StreamsIn(f.FS, f.Root.ReapedDir())
	seen := make(map[journal.Stream]bool, len(reaped))
	for _, s := range reaped {
		seen[s] = true
		all = append(all, place{s, f.Root.Reaped(s.Cohort, s.ID), true})
	}
	for _, s := range streams {
		dir := f.Root.Stream(s.Cohort, s.ID)
		if seen[s] { // moved between the two listings, or brought back by somebody
			if _, err := f.FS.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			all = slices.DeleteFunc(all, func(p place) bool { return p.Stream == s })
		}
		all = append(all, place{s, dir, false})
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Cohort, b.Cohort))
	})
	unknown = slices.DeleteFunc(append(unknown, strange...), f.isPublic)
	return all, unknown, errors.Join(err, rerr)
}

// isPublic tells whether a path among the streams is the published snapshots of a cohort, or was about to be.
func (f *folder) isPublic(path string) bool {
	dir, name := filepath.Split(path)
	id := cohort.ID(filepath.Base(dir))
	return f.settings.Snapshots == cohort.PerCohort && (path == f.Root.SnapshotsOf(id) || durable.IsTemp(name))
}

// scan reads the streams behind their watermarks, oldest stream first, until the budget is read.
// A stream that is gone loses its watermark; should it come back (a stale listing), it is read again
// from its start, and every record of it is a duplicate or superseded.
func (f *folder) scan(ctx context.Context, prev head) (batch, error) {
	b, unread, err := f.unread(prev, newBudget(f.BatchBytes))
	if err != nil {
		return batch{}, err
	}
	if err := f.readAll(ctx, unread, &b); err != nil {
		return batch{}, err
	}
	b.full = b.cut || b.left.all <= 0
	slices.SortFunc(b.marks, func(a, b Watermark) int {
		return strings.Compare(a.Stream.String(), b.Stream.String())
	})
	return b, nil
}

// unread lists the streams that may hold more than prev has folded, and begins a batch with the watermarks of the
// others.
func (f *folder) unread(prev head, left budget) (batch, []*reading, error) {
	streams, unknown, err := f.places()
	if err != nil && len(streams) == 0 {
		return batch{}, nil, err
	}
	for _, path := range unknown {
		f.once(Unknown{f.Root.Rel(path)})
	}
	marks := make(map[journal.Stream]Watermark, len(prev.Streams))
	for _, m := range prev.Streams {
		marks[m.Stream] = m
	}
	b := batch{marks: make([]Watermark, 0, len(streams)), now: f.now(prev), left: left, shapes: index.NewShapes(prev.Schema)}
	if err != nil {
		f.skip(journal.Stream{}, err, &b)
	}
	var unread []*reading
	for _, s := range streams {
		m := marks[s.Stream]
		m.Stream = s.Stream
		if m.Sealed {
			b.marks = append(b.marks, m)
		} else {
			unread = append(unread, &reading{p: s, old: m, mark: m})
		}
	}
	return b, unread, nil
}

// Streams are read side by side, as parsing is most of the work, and taken in their order. What was read ahead and the
// budget does not know of yet is memory, too: as many streams as there are cores, and up to readAhead while they are small.
const (
	readAhead = 64
	aheadSize = 8 << 20
)

// readAll reads streams into b until its budget is taken; the others keep their watermarks.
func (f *folder) readAll(ctx context.Context, unread []*reading, b *batch) error {
	for r := range f.readings(unread, b) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if b.left.all <= 0 {
			b.marks = append(b.marks, r.old)
		} else if err := f.take(r, b); err != nil {
			return err
		}
	}
	return nil
}

// readings reads streams with all cores, and yields one after the other while those behind it are being read. None is
// begun once nothing is left of b's budget. Each may hold a part of the records that b may still hold.
func (f *folder) readings(unread []*reading, b *batch) iter.Seq[*reading] {
	return func(yield func(*reading) bool) {
		var all sync.WaitGroup
		defer all.Wait()
		cores := runtime.GOMAXPROCS(0)
		shapers := make(chan *index.Shaper, cores)
		for range cores {
			shapers <- b.shapes.Shaper()
		}
		ahead, begun := cores+1, 0
		for i, r := range unread {
			for ; begun < min(i+ahead, len(unread)) && b.left.all > 0; begun++ {
				next, left, done := unread[begun], b.left.share(min(ahead, len(unread))), make(chan struct{})
				next.done = done
				all.Go(func() {
					defer close(done)
					shaper := <-shapers
					f.read(next, left, shaper)
					shapers <- shaper
				})
			}
			if r.done != nil {
				<-r.done
			}
			if !yield(r) {
				return
			}
			if ahead = min(ahead+1, max(readAhead, cores+1)); r.bytes*int64(ahead) > aheadSize {
				ahead = cores + 1
			}
		}
	}
}

// reading is what was read of one stream.
type reading struct {
	p         place
	old, mark Watermark
	done      chan struct{} // closed when all below stands; nil: it is not being read

	records []candidate // without their texts until texts are whole
	texts   []byte      // of all records: key, then id
	ends    []textEnds  // of each record
	refs    []ref
	held    []cohort.Record
	bytes   int64
	shapes  int64 // what those take in memory that no other stream had before
	cut     bool  // its share of what shapes may take is used up, and it may have more
	damage  []*journal.CorruptError
	atEnd   bool
	gone    bool
	torn    int64
	err     error // what is wrong with the stream as a whole
}

// read reads the new records of one stream, as many as the budget allows. It changes nothing but r.
func (f *folder) read(r *reading, left budget, shaper *index.Shaper) {
	in, err := f.open(r.p, r.old.Position)
	switch {
	case errors.Is(err, fs.ErrNotExist) && r.p.reaped: // it never had a segment, or is half deleted
		r.atEnd, r.torn = true, r.old.Torn
		return
	case errors.Is(err, fs.ErrNotExist):
		r.gone = true // swept by another compactor since the listing
		return
	case err != nil:
		r.err = err
		return
	}
	defer in.Close()
	defer r.cutTexts()
	in.Borrow()
	for left.all > 0 && left.shapes > 0 {
		rec, err := in.Next()
		r.mark.Position = in.Position()
		var damage *journal.CorruptError
		switch {
		case errors.As(err, &damage):
			r.damage = append(r.damage, damage)
			r.mark.Damaged = true
		case errors.Is(err, io.EOF):
			r.atEnd, r.torn = true, in.Torn()
			return
		case err != nil:
			r.err = err
			return
		default:
			shape, size := shaper.Of(rec)
			left.takeShape(size)
			r.shapes += size
			r.add(f.settings.Key, rec, in.Ref(), shape, left.take(rec))
		}
	}
	r.cut = true
}

func (r *reading) add(form cohort.KeyForm, rec cohort.Record, at journal.Ref, shape index.Shape, held bool) {
	to := ref{Ref: at, shape: shape}
	r.bytes += int64(len(rec.JSON))
	if held {
		rec.JSON, rec.Top = bytes.Clone(rec.JSON), nil
		r.held = append(r.held, rec)
		to.held = int32(len(r.held))
	}
	c := candidateOf(form, rec, int32(len(r.refs)))
	r.texts = append(r.texts, c.key...)
	key := len(r.texts)
	r.texts = append(r.texts, c.RecordID...)
	r.ends = append(r.ends, textEnds{key, len(r.texts)})
	c.key, c.RecordID = "", ""
	r.records, r.refs = append(r.records, c), append(r.refs, to)
}

// textEnds are where the key and the id of a record end in the texts of its stream.
type textEnds struct{ key, id int }

// cutTexts gives each candidate its texts. Those of a whole stream are one piece of memory.
func (r *reading) cutTexts() {
	all, from := string(r.texts), 0
	for i, end := range r.ends {
		c := &r.records[i]
		c.key, c.RecordID = cohort.Key(all[from:end.key]), all[end.key:end.id]
		from = end.id
	}
	r.texts, r.ends = nil, nil
}

// take adds what was read of one stream to b, and keeps what was damaged before its watermark passes it. What
// is wrong with one stream is noted and never stops the others; the error is that of keeping damage.
func (f *folder) take(r *reading, b *batch) error {
	for _, damage := range r.damage {
		if err := f.quarantine(r.p.Stream, damage); err != nil {
			return err
		}
		b.damage++
	}
	b.moved = b.moved || r.mark.Position != r.old.Position
	b.add(r)
	if r.err != nil {
		f.skip(r.p.Stream, r.err, b)
	}
	if r.atEnd {
		if err := f.atEnd(r.p, r.old, &r.mark, r.torn, b); err != nil {
			return err
		}
	}
	b.marks = append(b.marks, r.mark)
	return nil
}

func (b *batch) add(r *reading) {
	b.left.takeShape(r.shapes)
	b.cut = b.cut || r.cut
	first, held, place := int32(len(b.refs)), int32(len(b.held)), int32(len(b.places))
	b.records, b.refs = slices.Grow(b.records, len(r.records)), slices.Grow(b.refs, len(r.records))
	for _, c := range r.records {
		at := r.refs[c.n]
		at.place = place
		switch {
		case at.held == 0:
			b.left.takeEntry(c.texts())
		case b.left.take(r.held[at.held-1]):
			b.held = append(b.held, r.held[at.held-1])
			held++
			at.held = held
		default:
			at.held = 0
		}
		c.n += first
		b.records, b.refs = append(b.records, c), append(b.refs, at)
	}
	b.places = append(b.places, r.p)
	b.bytes += r.bytes
}

// open opens a stream of this root where it lies. In reaped/ one without a segment is fs.ErrNotExist.
func (f *folder) open(p place, from journal.Position) (*journal.Reader, error) {
	path := cohort.SegmentIn(p.dir)
	if p.reaped {
		if _, err := f.FS.Stat(path); err != nil {
			return nil, err
		}
	}
	r, err := journal.OpenSegment(f.FS, f.Root, path, p.Stream, from)
	if err != nil {
		return nil, err
	}
	r.InRoot(f.settings.RootID)
	if p.reaped {
		r.Dead()
	}
	return r, nil
}

func (f *folder) skip(s journal.Stream, err error, b *batch) {
	b.skipped++
	f.notify(SkippedStream{s, err})
}

// maxKept bounds the bytes that a note about damage repeats. The stream itself goes to quarantine/ too.
const maxKept = 1 << 20

// damageNote is a file under quarantine/: the smallest unit that could not be read.
type damageNote struct {
	Version int    `json:"version"`
	Path    string `json:"path"` // of the segment, relative to the root
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`
	Reason  string `json:"reason"`
	Bytes   []byte `json:"bytes_base64"` // the first maxKept of them
}

// quarantine keeps damaged bytes before any watermark passes them, and tells of them.
func (f *folder) quarantine(s journal.Stream, damage *journal.CorruptError) error {
	kept, err := f.keep(s, damage)
	if err != nil {
		return err
	}
	f.once(DamagedBytes{f.Root.Rel(damage.Path), damage.Offset, damage.Length, damage.Err.Error(), f.Root.Rel(kept)})
	return nil
}

// keep writes a note of damaged bytes, their place and the reason. Keeping the same again (after a fold that
// did not commit) changes nothing.
func (f *folder) keep(s journal.Stream, damage *journal.CorruptError) (kept string, err error) {
	bytes, err := f.bytesAt(damage)
	if err != nil {
		return "", err
	}
	note := damageNote{1, f.Root.Rel(damage.Path), damage.Offset, damage.Length, damage.Err.Error(), bytes}
	data, err := json.MarshalIndent(note, "", " ")
	if err != nil {
		return "", fmt.Errorf("keep damage: %w", err)
	}
	if err := f.makeDir(f.Root.Quarantine(s.Cohort)); err != nil {
		return "", fmt.Errorf("keep damage: %w", err)
	}
	kept = f.Root.Damaged(s.Cohort, s.ID, damage.Offset)
	err = durable.Create(f.FS, kept, append(data, '\n'), f.settings.FileMode.FS())
	if errors.Is(err, fs.ErrExist) { // made by another compactor, which may not have synced the name yet
		err = f.FS.SyncDir(f.Root.Quarantine(s.Cohort))
	}
	if err != nil {
		return "", fmt.Errorf("keep damage: %w", err)
	}
	return kept, nil
}

func (f *folder) bytesAt(damage *journal.CorruptError) ([]byte, error) {
	file, err := f.FS.Open(damage.Path)
	if err != nil {
		return nil, fmt.Errorf("keep damage: %w", err)
	}
	defer file.Close()
	buf := make([]byte, min(max(damage.Length, 0), maxKept))
	n, err := file.ReadAt(buf, damage.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("keep damage: %w", err)
	}
	return buf[:n], nil
}
