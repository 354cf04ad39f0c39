package compactor

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// scanner reads what streams hold behind their watermarks. One goroutine uses it; it reads with many.
type scanner struct {
	journal.Root
	store   *generation.Store
	say     *speaker
	keep    keeper
	sweeper *sweeper
	unused  []string // columns that may go
	syncer  *syncer  // nil: nothing is committed
}

func (r *run) scanner() *scanner {
	return &scanner{Root: r.streams, store: r.store, say: r.say, keep: keeper{r.streams, r.say}, sweeper: r.sweeper}
}

// scan reads the streams behind their watermarks, oldest stream first, until the budget is read.
// A stream that is gone loses its watermark; should it come back (a stale listing), it is read again
// from its start, and every record of it is a duplicate or superseded.
func (s *scanner) scan(ctx context.Context, prev generation.Manifest, now cohort.Stamp, left budget) (batch, error) {
	b, unread, err := s.unread(prev, now, left)
	if err != nil {
		return batch{}, err
	}
	s.syncer = newSyncer(s.store)
	if err := s.readAll(ctx, unread, &b); err != nil {
		return batch{}, err
	}
	b.full = b.cut || b.left.all <= 0
	s.noteStuck(&b)
	slices.SortFunc(b.marks, func(a, b generation.Watermark) int {
		return strings.Compare(a.Stream.String(), b.Stream.String())
	})
	return b, nil
}

// unread lists the streams that may hold more than prev has folded, and begins a batch with the watermarks of the
// others. now is the file system's time.
func (s *scanner) unread(prev generation.Manifest, now cohort.Stamp, left budget) (batch, []*reading, error) {
	streams, unknown, err := s.Streams()
	if err != nil && len(streams) == 0 {
		return batch{}, nil, err
	}
	for _, path := range unknown {
		s.say.once(Unknown{s.Dir.Rel(path)})
	}
	marks := prev.Marks()
	b := batch{marks: make([]generation.Watermark, 0, len(streams)), now: now, left: left, shapes: index.NewShapes(prev.Schema, prev.Columns, s.unused)}
	if err != nil {
		s.skip(journal.Stream{}, err, 0, &b)
	}
	var unread []*reading
	for _, p := range streams {
		m := marks[p.Stream]
		m.Stream = p.Stream
		if m.Sealed {
			b.marks = append(b.marks, m)
		} else {
			unread = append(unread, &reading{p: p, old: m, mark: m})
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
func (s *scanner) readAll(ctx context.Context, unread []*reading, b *batch) error {
	for r := range s.readings(unread, b) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if b.left.all <= 0 {
			b.marks = append(b.marks, r.old)
		} else if err := s.take(r, b); err != nil {
			return err
		}
	}
	return nil
}

// readings reads streams with all cores, and yields one after the other while those behind it are being read. None is
// begun once nothing is left of b's budget. Each may hold a part of the records that b may still hold.
func (s *scanner) readings(unread []*reading, b *batch) iter.Seq[*reading] {
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
					in := s.read(next, left, shaper)
					shapers <- shaper
					s.done(next, in)
				})
			}
			if r.done != nil {
				<-r.done
			}
			if !yield(r) {
				return
			}
			unread[i] = nil // what was read is in b
			if ahead = min(ahead+1, max(readAhead, cores+1)); r.bytes*int64(ahead) > aheadSize {
				ahead = cores + 1
			}
		}
	}
}

// reading is what was read of one stream.
type reading struct {
	p         journal.Place
	old, mark generation.Watermark
	done      chan struct{} // closed when all below stands; nil: it is not being read

	writer  string         // who wrote it; empty if nobody knows it, or no record was read
	records []candidate    // without their texts until texts are whole
	facets  *cohort.Facets // of the last record
	texts   []byte         // of all records: key, then id
	ends    []textEnds     // of each record
	refs    []ref
	held    []cohort.Record
	actions []cohort.Record
	memory  cohort.Memory // of those
	bytes   int64
	shapes  int64 // what those take in memory that no other stream had before
	cut     bool  // its share of what shapes may take is used up, and it may have more
	damage  []*journal.CorruptError
	atEnd   bool
	gone    bool
	torn    int64
	err     error // what is wrong with the stream as a whole

	synced   bool  // what was read is durable
	unsynced error // why it is not
}

// done syncs what was read, if a commit is to come, and closes the stream.
func (s *scanner) done(r *reading, in *journal.Reader) {
	if in == nil {
		return
	}
	if s.syncer != nil {
		s.syncer.sync(r, in)
	}
	in.Close()
}

// read reads the new records of one stream, as many as the budget allows. It changes only r, and leaves the stream open if it could
// open it.
func (s *scanner) read(r *reading, left budget, shaper *index.Shaper) *journal.Reader {
	in, err := s.Open(r.p, r.old.Position)
	switch {
	case errors.Is(err, fs.ErrNotExist) && r.p.Reaped: // it never had a segment, or is half deleted
		r.atEnd, r.torn = true, r.old.Torn
		return nil
	case errors.Is(err, fs.ErrNotExist):
		r.gone = true // swept by another compactor since the listing
		return nil
	case err != nil:
		r.err = err
		return nil
	}
	defer r.cutTexts()
	in.ReuseMemory()
	for left.all > 0 && left.shapes > 0 {
		rec, err := in.Next()
		if err == nil && len(r.refs) == 0 {
			if r.writer, r.err = writerOf(in); r.err != nil {
				return in // before the record: the next fold may be able to read the header
			}
		}
		r.mark.Position = in.Position()
		var damage *journal.CorruptError
		switch {
		case errors.As(err, &damage):
			r.damage = append(r.damage, damage)
			r.mark.Damaged = true
		case errors.Is(err, io.EOF):
			r.atEnd, r.torn = true, in.Torn()
			return in
		case err != nil:
			r.err = err
			return in
		case rec.Action != cohort.NoAction:
			left.takeAction(rec)
			r.actions = append(r.actions, rec)
		default:
			shape, size := shaper.Of(rec)
			left.takeShape(size)
			r.shapes += size
			r.add(s.Settings.Key, rec, in.Ref(), shape, left.take(rec))
		}
	}
	r.cut = true
	return in
}

// writerOf is who wrote a stream, empty if its header cannot be read.
func writerOf(in *journal.Reader) (string, error) {
	h, _, err := in.Header()
	return h.Writer(), err
}

func (r *reading) add(form cohort.KeyForm, rec cohort.Record, at journal.Ref, shape index.Shape, held bool) {
	to := ref{Ref: at, shape: shape}
	r.bytes += int64(len(rec.JSON))
	if held {
		r.held = append(r.held, r.memory.KeepBytes(rec))
		to.held = int32(len(r.held))
	}
	c := candidateOf(form, rec, int32(len(r.refs)), r.facets)
	r.facets = c.facets
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
func (s *scanner) take(r *reading, b *batch) error {
	for _, damage := range r.damage {
		if err := s.keep.damaged(r.p.Stream, damage); err != nil {
			return err
		}
		b.damage++
	}
	s.shortened(r, b.now)
	s.tellUnsynced(r)
	b.moved = b.moved || r.mark.Position != r.old.Position
	b.add(r)
	if r.err != nil {
		s.skip(r.p.Stream, r.err, r.old.Grown, b)
	}
	if r.atEnd {
		if err := s.atEnd(r, b); err != nil {
			return err
		}
	}
	r.mark.Synced = r.syncedTo(b.now)
	b.marks = append(b.marks, r.mark)
	return nil
}

// atEnd notes that a stream was read to its end.
func (s *scanner) atEnd(r *reading, b *batch) error {
	m := &r.mark
	if m.Sealed {
		m.Torn, m.Grown, m.Reaped = 0, 0, 0
		return nil
	}
	m.Torn = r.torn
	if *m != r.old {
		m.Grown = b.now
		b.moved = true
	} else if m.Grown == 0 {
		m.Grown = b.now // it goes with the next commit
	}
	switch {
	case r.p.Reaped && m.Reaped == 0 && b.now > 0:
		m.Reaped, m.Stuck = b.now, false
		b.moved = true
	case !r.p.Reaped && *m == r.old:
		if why, ok := s.sweeper.isDead(r.p, r.old, b.now); ok {
			b.dead = append(b.dead, dead{r.p, why})
		}
	}
	if !r.p.Reaped || r.torn == 0 || r.old.Reaped != 0 && r.torn == r.old.Torn {
		return nil
	}
	b.tornTails++
	return s.keep.tail(r.p, *m)
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
	for i := range r.actions {
		r.actions[i].Writer = r.writer
		b.left.takeAction(r.actions[i])
	}
	b.actions = append(b.actions, r.actions...)
	b.places, b.writers = append(b.places, r.p), append(b.writers, r.writer)
	b.bytes += r.bytes
}

// skip notes a stream that could not be read to its end. grown is when its watermark moved last.
func (s *scanner) skip(of journal.Stream, err error, grown cohort.Stamp, b *batch) {
	if err = s.store.Doubt(err, grown); durable.IsAway(err) {
		b.unseen++
		s.say.tell(UnseenStream{of, err})
		return
	}
	b.skipped++
	s.say.once(SkippedStream{of, err})
}
