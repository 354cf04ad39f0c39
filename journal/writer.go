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

// RecordError tells which record of an Append is not valid. No record of that call was written, and the
// Writer can be used as before.
type RecordError struct {
	Index int // among the records of the call; the first is 0
	Err   error
}

func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Index+1, e.Err) }
func (e *RecordError) Unwrap() error { return e.Err }

// Options are the settings of a Writer; the zero value is the recommended one.
type Options struct {
	// SealBytes is the largest size of a stream in bytes. A stream is sealed before it grows larger, and a new one follows.
	// If zero, 32 MiB.
	SealBytes int64
	// SealAge is the age at which an Append seals the stream and begins a new one. If zero, 1 h.
	SealAge time.Duration
	// Now is the wall clock that says when a record was written. It does not order records. If nil, time.Now.
	Now func() time.Time
	// Program is the name and version that the stream's header states. If empty, "runfold" and
	// our version.
	Program string
	// RootID is the id that the root must have. Create refuses another root with ErrOtherRoot. If empty, any root is good.
	RootID string
	// Notify is called with what is worth knowing and harms no record: the files of a stream do not have the modes that the root's
	// settings give. It is called at most once, in the goroutine of an Append. If nil, it is dropped.
	Notify func(error)
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

// Writer appends records to one cohort. Any number of goroutines may share it: those that
// append at the same time share one fsync. A process needs one Writer for each cohort, for as long as it
// appends. With a Writer for each record, each record would cost a stream.
type Writer struct {
	root     cohort.Root
	id       cohort.ID
	settings cohort.Settings
	options  Options

	mu      sync.Mutex // guards pending and closed
	pending *group     // the group that callers may still join
	usual   int        // how many records the previous group had
	closed  bool

	commit sync.Mutex // held by the leader of a group; guards all below
	clock  clock
	stream *stream // nil before the first append and between two streams
	err    error   // set when a second stream failed, too; the Writer is dead from then on
	told   bool    // see tellModes
	crowd  bool    // the previous group had more than one caller
	create func() (*stream, error)
}

// group is what one write and one fsync make durable together.
type group struct {
	recs    []*cohort.Record
	callers atomic.Int64  // written under Writer.mu
	done    chan struct{} // closed when err is set; nil if only the leader waits
	err     error

	one [1]*cohort.Record // the memory of recs for a group of one record
}

// Create is OpenRoot and [Root.Create]: it makes a Writer for one cohort of an existing root.
func Create(dir cohort.Root, id cohort.ID, options Options) (*Writer, error) {
	r, err := OpenRoot(dir, RootOptions{ID: options.RootID})
	if err != nil {
		return nil, err
	}
	return r.Create(id, options)
}

// Create makes a Writer for one cohort. It makes no stream yet, so a Writer that never appends leaves nothing in the root. The
// cohort need not exist. A new cohort whose name differs from an existing one in letter case only is refused: on
// some file systems both would be one directory.
func (r Root) Create(id cohort.ID, options Options) (*Writer, error) {
	root, settings := r.Dir, r.Settings
	if err := mustBe(options.RootID, root, settings); err != nil {
		return nil, err
	}
	if _, err := cohort.ParseID(string(id)); err != nil {
		return nil, err
	}
	// Readers do not follow links (P13). A record that they would not read must not be acknowledged.
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

// Append makes records durable. It sets Cohort, Stream, Stamp and Written of each record, and ID where that is empty. When
// it returns nil the records are on stable storage, and survive everything that docs/durability.md promises (P1). They are in
// the index after the next fold.
//
// Append validates all records first. A *RecordError means that none was written, and the Writer can be used as before.
// ErrClosed means that none was written, because the Writer is closed. After any other error each record may be durable or
// not. Then append the records again, with the IDs that they have now, from any process. A record that is durable already
// does not change by that, because a fold recognises it by its ID (P9, docs/decisions/0013). Append them again before another
// process writes the same key: after that the repeat counts as a later write.
//
// After a failed write Append writes the records once more, to a fresh stream, with the same stamps and IDs. If that
// fails too, the Writer is dead: this Append and every later one return both errors. A new Writer may succeed.
//
// A record that cohort.NewAction made is appended in the same way. It acts on the runs of the Writer's cohort.
//
// Any number of goroutines may call it. The first one writes and syncs for all that wait. The records must not
// be changed until it returns. It cannot be canceled, because an fsync cannot be canceled.
func (w *Writer) Append(recs []cohort.Record) error {
	// All records are validated before any is written, so that a RecordError is about the whole call.
	for i := range recs {
		if err := w.validate(&recs[i]); err != nil {
			return &RecordError{i, err}
		}
	}
	if len(recs) == 0 {
		return nil
	}
	// The ID is set before the write, also for a write that will fail. The caller can then repeat the record with this ID,
	// and a fold knows that both are one write (P9).
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

// validate makes sure that the fields of the record are those that a reader will find in its JSON. Only the JSON is written.
func (w *Writer) validate(r *cohort.Record) error {
	if len(r.JSON) == 0 {
		return errors.New("has no JSON: use cohort.ParseRecord")
	}
	if err := w.settings.Key.ValidateRecord(*r); err != nil {
		return err
	}
	if r.Action != cohort.NoAction {
		return w.validateAction(r)
	}
	// ParseRecord has checked the JSON already, and its sum shows that nothing has changed since. Any other record is parsed
	// again: if it was acknowledged, a reader might take it for damage.
	if len(r.JSON) <= w.settings.MaxRecord && r.Unchanged() {
		return w.validateKey(*r)
	}
	read, err := cohort.ParseRecord(r.JSON, w.settings.MaxRecord)
	if err != nil {
		return err
	}
	if read.RunID != r.RunID || read.Stage != r.Stage || read.Timestamp != r.Timestamp ||
		read.Facets() != (cohort.Facets{Target: r.Target, View: r.View, Symbol: r.Symbol, ModelFamily: r.ModelFamily}) {
		return errors.New("has fields that differ from its JSON: use cohort.ParseRecord")
	}
	return w.validateKey(read)
}

// validateKey refuses a record that the root cannot have in this cohort.
func (w *Writer) validateKey(r cohort.Record) error {
	if err := w.settings.Key.Validate(r); err != nil {
		return err
	}
	return w.settings.Key.InCohort(r, w.id)
}

// validateAction makes sure that a reader will find the same action.
func (w *Writer) validateAction(r *cohort.Record) error {
	read, err := cohort.ParseAction(r.JSON)
	if err != nil {
		return err
	}
	if read.Action != r.Action || read.RunID != r.RunID || read.Stage != r.Stage {
		return errors.New("has fields that differ from its JSON: use cohort.NewAction")
	}
	return w.settings.Key.ValidateAction(read)
}

// join adds records to the pending group. The caller that makes the group leads it.
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

// wait makes the channel that is closed at the end of the group. It is called under the Writer's mu while the group is
// pending, so the leader sees the channel.
func (g *group) wait() {
	if g.done == nil {
		g.done = make(chan struct{})
	}
}

// lead waits until the previous group is durable, and then commits its own. Meanwhile other callers join the group.
func (w *Writer) lead(g *group) {
	w.commit.Lock()
	defer w.commit.Unlock()
	w.gather(g)
	g.err = w.commitGroup(g.recs)
	if g.done != nil {
		close(g.done)
	}
}

// gather closes a group when no more callers come. The callers of the previous group were woken just now, and many append
// again at once. Without them there would be two half groups that take turns, each with a sync of its own. gather only lets
// other goroutines run; it does not sleep. A caller that is alone goes on at once: a yield would wake another
// thread without need, which costs time when a hundred processes share two cores.
func (w *Writer) gather(g *group) {
	for before := int64(0); w.crowd || g.callers.Load() > 1; runtime.Gosched() {
		now := g.callers.Load() // without the lock, for which the joining callers would have to wait
		if now == before {
			break
		}
		before = now
	}
	// From here on no caller can join: what is in the group now is what commitGroup writes and what lead answers for.
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = nil
	w.crowd = g.callers.Load() > 1
	w.usual = len(g.recs)
}

// commitGroup writes a group, in parts that each fit into one stream. So neither the size of a stream nor the memory of
// a Writer depends on how many callers append at once. It is called under commit.
func (w *Writer) commitGroup(group []*cohort.Record) error {
	// A dead Writer stays dead: two streams in a row have failed, and the caller must learn of it.
	if w.err != nil {
		return w.err
	}
	now := timeOf(clockOf(w.options.Now())) // the same value that a reader will find
	for _, r := range group {
		r.Cohort, r.Stream, r.Stamp, r.Written = w.id, "", 0, now
	}
	// If a later part fails, the whole group gets the error, although the parts before are durable. That is allowed: after an
	// error each record may be durable or not.
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
	// The failed stream is never written again (S3). It may hold these records all the same, and a fold may read them there.
	// The second stream repeats them with the same stamps and ids, so for a fold they are the same records (R5).
	w.drop()
	err := w.try(recs)
	if err == nil {
		return nil
	}
	w.drop()
	return errors.Join(first, fmt.Errorf("second try, on a fresh stream: %w", err))
}

// try appends to the current stream or to a new one. It keeps the stamps that a first try gave.
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

// ready makes sure that there is a stream with room for the records.
func (w *Writer) ready(recs []*cohort.Record) error {
	if w.stream != nil && w.isFull(recs) {
		w.stream.finish(w.clock.next()) // an error is dropped: its records are durable already, with or without a seal
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
	s.most = w.options.SealBytes
	s.keepTimer(w.options.SealAge)
	w.tellModes(s)
	// Stamps begin at the time that the file system gave to the new directory, and above every stamp that was folded. This
	// machine's wall clock does not order records (P7).
	w.clock.begin(s.storageTime(), s.born, highestStamp(durable.OS, w.root))
	return nil
}

// tellModes tells once if the files of a stream do not have the modes of the root. The records are as durable as any.
func (w *Writer) tellModes(s *stream) {
	if w.told || w.options.Notify == nil {
		return
	}
	if err := s.modes(); err != nil {
		w.told = true
		w.options.Notify(err)
	}
}

// isFull tells whether the stream must be sealed before the records are written: it would become too large, or it is too old.
func (w *Writer) isFull(recs []*cohort.Record) bool {
	if w.stream.seq == 0 {
		return false
	}
	// The age is compared here and not by a timer, whose function may run after this append (docs/decisions/0022).
	if w.clock.since(w.stream.born) >= w.options.SealAge {
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
		w.stream.abandon() // its error is dropped: the error that came before says what happened
		w.stream = nil
	}
}

// Close seals the stream, durably, and ends the Writer. It waits for the Appends that have begun. An error means
// that the stream may have no seal. Its records are durable all the same, and folds keep the stream longer. A second Close
// only waits.
func (w *Writer) Close() error {
	w.mu.Lock()
	last := w.pending
	if last != nil {
		last.wait()
	}
	w.closed = true
	w.mu.Unlock()
	// The leader of the last group may not have the commit lock yet. If Close took it first, that group would make a stream
	// after the end.
	if last != nil {
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
