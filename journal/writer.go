package journal

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/build"
	"github.com/runfold/runfold/internal/durable"
)

// ErrClosed reports an Append after Close.
var ErrClosed = errors.New("journal is closed")

// RecordError tells which record of an Append is not valid. Nothing of that call was written, and the
// Writer is as good as before.
type RecordError struct {
	Index int // among the records of the call, from 0 on
	Err   error
}

func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Index+1, e.Err) }
func (e *RecordError) Unwrap() error { return e.Err }

// Options are the settings of a Writer; the zero value is the recommended one.
type Options struct {
	// SealBytes is the size in bytes above which a stream does not grow: it is sealed before, and a new one follows.
	// If zero, 32 MiB.
	SealBytes int64
	// SealAge is the age at which an Append seals the stream and begins a new one. If zero, 1 h.
	SealAge time.Duration
	// Now is the wall clock that says when a record was written; it orders nothing. If nil, time.Now.
	Now func() time.Time
	// Program is the name and version that the stream's header states. If empty, "runfold" and
	// our version.
	Program string
	// RootID is the id that the root must have: Create refuses another one with ErrOtherRoot. If empty, any root.
	RootID string
}

func (o Options) withDefaults() Options {
	if o.SealBytes == 0 {
		o.SealBytes = 32 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SealAge == 0 {
		o.SealAge = time.Hour
	}
	if o.Program == "" {
		o.Program = "runfold " + build.Version()
	}
	return o
}

// Writer appends records to one cohort. It may be shared by any number of goroutines: those that
// append at the same time share one fsync. A process needs one Writer for each cohort, for as long as it
// appends; a Writer for each record would cost a stream each.
type Writer struct {
	root     cohort.Root
	id       cohort.ID
	settings cohort.Settings
	options  Options

	mu      sync.Mutex // guards pending and closed
	pending *group     // the group that callers may still join
	usual   int        // how many records the group before had
	closed  bool

	commit sync.Mutex // held by the leader of a group; guards all below
	clock  clock
	stream *stream // nil before the first append and between two streams
	err    error   // the first error that a second stream could not mend: for ever
	crowd  bool    // the group before was not one caller's alone
	create func() (*stream, error)
}

// group is what one write and one fsync make durable together.
type group struct {
	recs    []*cohort.Record
	callers atomic.Int64  // written under Writer.mu
	done    chan struct{} // closed when err stands; nil if only the leader waits
	err     error

	one [1]*cohort.Record // the memory of recs, of a caller that is alone
}

// Create is OpenRoot and [Root.Create]: it makes a Writer for one cohort of an existing root.
func Create(dir cohort.Root, id cohort.ID, options Options) (*Writer, error) {
	r, err := OpenRoot(dir, RootOptions{ID: options.RootID})
	if err != nil {
		return nil, err
	}
	return r.Create(id, options)
}

// Create makes a Writer for one cohort. It makes no stream yet: a Writer that never appends leaves nothing behind. The
// cohort need not exist. A new one whose name differs from an existing one in letter case only is refused: on
// some file systems they would be one.
func (r Root) Create(id cohort.ID, options Options) (*Writer, error) {
	root, settings := r.Dir, r.Settings
	if err := mustBe(options.RootID, root, settings); err != nil {
		return nil, err
	}
	if _, err := cohort.ParseID(string(id)); err != nil {
		return nil, err
	}
	// Readers follow no links, and what they do not read must not be acknowledged.
	if err := durable.RealDir(durable.OS, root.Cohort(id)); err != nil {
		return nil, err
	}
	if err := checkSpelling(durable.OS, root, id); err != nil {
		return nil, err
	}
	w := &Writer{
		root: root, id: id, settings: settings, options: options.withDefaults(), clock: clock{since: time.Since},
	}
	w.create = func() (*stream, error) { return newStream(root, id, settings) }
	return w, nil
}

// Append makes records durable, and sets Cohort, Stream, Stamp, Written and, where it is empty, ID of each. When
// it returns nil they are on stable storage, and survive everything that docs/durability.md promises. They are in the
// index after the next fold.
//
// All are validated first: a *RecordError means that none was written and the Writer is good. ErrClosed means the same of a
// Writer that is closed. On any other error each record may be durable or not. Appending them again, with the IDs that
// they have now, from any process, changes nothing: a fold knows the write that stands by its ID (docs/decisions/0013). Do it
// before somebody else writes the same key: after that a repeat is a later write.
//
// After a failed write the records are appended once more, to a fresh stream, with the same stamps and IDs. If that
// fails too, the Writer is dead: this and every later Append returns that first error, and a new Writer may do better.
//
// Any number of goroutines may call it. The first one writes and syncs for all that wait meanwhile. The records must not
// be changed until it returns. It cannot be canceled: an fsync cannot be called back.
func (w *Writer) Append(recs []cohort.Record) error {
	for i := range recs {
		if err := w.validate(&recs[i]); err != nil {
			return &RecordError{i, err}
		}
	}
	if len(recs) == 0 {
		return nil
	}
	for i := range recs {
		if recs[i].ID == "" {
			recs[i].ID = newULID()
		}
	}
	g, leader, err := w.join(recs)
	if err != nil {
		return err
	}
	if leader {
		w.lead(g)
	} else {
		<-g.done
	}
	return g.err
}

// validate makes sure that the record is what a reader will find in its JSON, which alone is written: one that was put
// together by hand must not be acknowledged and then be damage to whoever reads it. The JSON is parsed again unless
// the record says, and its sum proves, that this was done.
func (w *Writer) validate(r *cohort.Record) error {
	if len(r.JSON) == 0 {
		return errors.New("has no JSON: use cohort.ParseRecord")
	}
	if err := errors.Join(r.Validate(), w.settings.Key.Validate(*r)); err != nil {
		return err
	}
	if len(r.JSON) <= w.settings.MaxRecord && r.Unchanged() {
		return nil
	}
	read, err := cohort.ParseRecord(r.JSON, w.settings.MaxRecord)
	if err != nil {
		return err
	}
	if read.RunID != r.RunID || read.Stage != r.Stage || read.Timestamp != r.Timestamp ||
		read.Target != r.Target || read.View != r.View || read.Symbol != r.Symbol {
		return errors.New("has fields that are not those of its JSON: use cohort.ParseRecord")
	}
	return nil
}

// join adds records to the pending group. Whoever makes the group leads it.
func (w *Writer) join(recs []cohort.Record) (g *group, leader bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, false, ErrClosed
	}
	if w.pending == nil {
		w.pending = new(group)
		w.pending.recs = w.pending.one[:0]
		if w.usual > 1 {
			w.pending.recs = make([]*cohort.Record, 0, w.usual)
		}
		leader = true
	} else {
		w.pending.wait()
	}
	w.pending.callers.Add(1)
	for i := range recs {
		w.pending.recs = append(w.pending.recs, &recs[i])
	}
	return w.pending, leader, nil
}

// wait makes what is closed at the end of the group. It is called under the Writer's mu, before the group is.
func (g *group) wait() {
	if g.done == nil {
		g.done = make(chan struct{})
	}
}

// lead waits until the group before is durable, while others join, and then commits its own.
func (w *Writer) lead(g *group) {
	w.commit.Lock()
	defer w.commit.Unlock()
	w.gather(g)
	g.err = w.commitGroup(g.recs)
	if g.done != nil {
		close(g.done)
	}
}

// gather ends the joining of a group once nobody is about to join. The callers of the group before were
// woken just now, and come again in a moment: to go without them would make two half groups that take turns,
// and a sync for each. Nothing is waited for, and a caller that is alone goes at once: to yield would wake another
// thread for nothing, which a hundred processes on two cores feel.
func (w *Writer) gather(g *group) {
	for before := int64(0); w.crowd || g.callers.Load() > 1; runtime.Gosched() {
		now := g.callers.Load() // without the lock, for which those who join would stand in line
		if now == before {
			break
		}
		before = now
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = nil
	w.crowd = g.callers.Load() > 1
	w.usual = len(g.recs)
}

// commitGroup writes a group, in parts that fit into a stream, so that the size of a stream and of what
// a Writer holds in memory does not depend on how many append at once. It is called under commit.
func (w *Writer) commitGroup(group []*cohort.Record) error {
	if w.err != nil {
		return w.err
	}
	now := timeOf(clockOf(w.options.Now())) // as a reader will find it
	for _, r := range group {
		r.Cohort, r.Stream, r.Stamp, r.Written = w.id, "", 0, now
	}
	for rest := group; len(rest) > 0 && w.err == nil; {
		n := w.fitting(rest)
		w.err = w.tryTwice(rest[:n])
		rest = rest[n:]
	}
	return w.err
}

// fitting is how many of the records fit into one stream, at least one.
func (w *Writer) fitting(recs []*cohort.Record) int {
	n, size := 1, recordSize(recs[0])
	for ; n < len(recs); n++ {
		if size += recordSize(recs[n]); size > w.options.SealBytes {
			break
		}
	}
	return n
}

// tryTwice appends records, to a second stream if the first fails.
func (w *Writer) tryTwice(recs []*cohort.Record) error {
	first := w.try(recs)
	if first == nil {
		return nil
	}
	w.drop()
	err := w.try(recs)
	if err == nil {
		return nil
	}
	w.drop()
	return errors.Join(first, fmt.Errorf("and again on a fresh stream: %w", err))
}

// try appends to the current stream or to a new one. Stamps that a first try gave are kept.
func (w *Writer) try(recs []*cohort.Record) error {
	if err := w.ready(recs); err != nil {
		return err
	}
	for _, r := range recs {
		if r.Stamp == 0 {
			r.Stamp = w.clock.next()
		}
		r.Stream = w.stream.ID
	}
	return w.stream.write(w.stream.frames(recs, w.options.Program))
}

// ready sees to it that there is a stream with room.
func (w *Writer) ready(recs []*cohort.Record) error {
	if w.stream != nil && w.isFull(recs) {
		w.stream.finish(w.clock.next()) // its records are durable whatever it answers
		w.stream = nil
	}
	if w.stream != nil {
		return nil
	}
	s, err := w.create()
	if err != nil {
		return fmt.Errorf("make a stream: %w", err)
	}
	w.stream = s
	s.keepTimer(w.options.SealAge)
	w.clock.begin(s.info.ModTime(), highestStamp(durable.OS, w.root))
	return nil
}

// isFull tells whether the stream is to be sealed before the records are written: it would be too large, or is too old.
func (w *Writer) isFull(recs []*cohort.Record) bool {
	if w.stream.seq == 0 {
		return false
	}
	if w.clock.since(w.stream.born) >= w.options.SealAge { // a clock, no flag: the flag may come after the append (0022)
		return true
	}
	size := w.stream.size
	for _, r := range recs {
		size += recordSize(r)
	}
	return size > w.options.SealBytes
}

// recordSize is how many bytes a record takes in a stream.
func recordSize(r *cohort.Record) int64 {
	return int64(entrySize(frameHead + clockSize + len(r.ID) + len(r.JSON)))
}

// drop gives up a stream after an error.
func (w *Writer) drop() {
	if w.stream != nil {
		w.stream.abandon() // the error that led here says all
		w.stream = nil
	}
}

// Close seals the stream, durably, and ends the Writer. It waits for Appends under way. An error means
// that the stream has no seal: its records are durable all the same, and a fold takes a while longer until it removes the
// stream. Called again, it only waits.
func (w *Writer) Close() error {
	w.mu.Lock()
	last := w.pending
	if last != nil {
		last.wait()
	}
	w.closed = true
	w.mu.Unlock()
	if last != nil { // its leader may not have the commit lock yet
		<-last.done
	}
	w.commit.Lock()
	defer w.commit.Unlock()
	if w.stream == nil {
		return nil
	}
	err := w.stream.finish(w.clock.next())
	w.stream = nil
	return err
}
