package compactor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// Run is one row of a root: whose it is and where it stands. What it says is in generation.Data, or in Record where no
// fold has read it yet.
type Run struct {
	Key       cohort.Key `json:"key"`
	Cohort    cohort.ID  `json:"cohort_id"`
	RunID     string     `json:"run_id"`
	Stage     string     `json:"stage"`
	Seq       cohort.Seq `json:"snapshot_seq"` // 0: an old snapshot without one
	Timestamp time.Time  `json:"timestamp"`    // zero: nobody knows it
	// Record is the JSON that was appended, of a run that no fold has read yet, and nil of all others. Seq is then the one that a fold
	// would give it now, and another one if others come first.
	Record json.RawMessage `json:"unfolded_record,omitempty"`
}

// String is the run on one line.
func (r Run) String() string {
	return fmt.Sprintf("%s seq %d at %s", r.Key, r.Seq, cmp.Or(r.TimeText(), "an unknown time"))
}

// TimeText is the timestamp as cohort.FormatTime writes it, empty if nobody knows it.
func (r Run) TimeText() string {
	if r.Timestamp.IsZero() {
		return ""
	}
	return cohort.FormatTime(r.Timestamp)
}

// runJSON is a Run as JSON, without the timestamp if nobody knows it.
type runJSON struct {
	Key       cohort.Key      `json:"key"`
	Cohort    cohort.ID       `json:"cohort_id"`
	RunID     string          `json:"run_id"`
	Stage     string          `json:"stage"`
	Seq       cohort.Seq      `json:"snapshot_seq"`
	Timestamp string          `json:"timestamp,omitempty"`
	Record    json.RawMessage `json:"unfolded_record,omitempty"`
}

func (r Run) forJSON() runJSON {
	return runJSON{r.Key, r.Cohort, r.RunID, r.Stage, r.Seq, r.TimeText(), r.Record}
}

// MarshalJSON leaves the timestamp out if nobody knows it.
func (r Run) MarshalJSON() ([]byte, error) { return json.Marshal(r.forJSON()) }

func runOf(h index.Identity) Run {
	return Run{Key: h.Key, Cohort: h.Cohort, RunID: h.RunID, Stage: h.Stage, Seq: h.Seq, Timestamp: h.Time}
}

// Runs yields all rows of the newest generation in snapshot_seq order. With unfolded it yields what a fold would make
// of the root now: without the rows that unfolded records replace, and with those records last. So a program that
// appends reads its own writes, whenever the next fold comes.
//
// It takes no lock and writes nothing; others may append, fold and sweep meanwhile. The answer is that of one moment.
// Unfolded records are held in memory, rows are not. What is wrong with one stream is told as a SkippedStream and ends
// nothing. An error ends the iteration; it comes with a zero Run. The checksums of pages are compared, and not that of the whole
// file: audit.Check does that. If manifests or a data file of the newest generation are missing, that error comes after the last row.
func Runs(ctx context.Context, cfg Config, unfolded bool) iter.Seq2[Run, error] {
	return runsOf(ctx, func() (*moment, error) { return look(ctx, cfg, unfolded) })
}

// runsOf yields all rows of what look opens.
func runsOf(ctx context.Context, look func() (*moment, error)) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		m, err := look()
		if err != nil {
			yield(Run{}, err)
			return
		}
		defer m.close()
		if m.data.Index != nil {
			for h, err := range m.data.Index.Identities() {
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					yield(Run{}, m.store.Doubt(err, 0))
					return
				}
				if !m.replaced[h.Key] && !yield(runOf(h), nil) {
					return
				}
			}
		}
		for _, r := range m.tail {
			if !yield(r, nil) {
				return
			}
		}
		if m.damage != nil {
			yield(Run{}, m.damage)
		}
	}
}

// moment is a root at one moment.
type moment struct {
	store    *generation.Store
	data     *generation.Data
	form     cohort.KeyForm
	tail     []Run               // unfolded, in the order of their seqs
	replaced map[cohort.Key]bool // rows of the index that tail takes the place of
	damage   error               // what is missing of the root; the rows are what is left

	newest  generation.Manifest
	records []cohort.Record // of tail, as far as it has records; the rest comes back from among the withdrawn rows
}

func (m *moment) close() { m.data.Close() }

// look opens a root as it is now.
func look(ctx context.Context, cfg Config, unfolded bool) (*moment, error) {
	r, err := open(cfg)
	if err != nil {
		return nil, err
	}
	return settle(ctx, r, func() (*moment, error) { return r.moment(ctx, unfolded) })
}

// settle looks again as long as others commit meanwhile.
func settle[T any](ctx context.Context, r *run, look func() (T, error)) (T, error) {
	for try := 0; ; try++ {
		seen, err := look()
		if !errors.Is(err, generation.ErrConflict) || try == maxConflicts || ctx.Err() != nil {
			return seen, r.store.Doubt(err, 0)
		}
	}
}

// newest opens the newest generation. lacks is what is missing of the root; then the data are those of what is left.
func (r *run) newest() (m generation.Manifest, d *generation.Data, lacks, err error) {
	if m, err = r.store.Newest(); err != nil {
		return m, nil, nil, err
	}
	if d, err = r.store.Data(m); err != nil {
		return m, nil, nil, err
	}
	if lacks = r.store.CheckNewest(m); lacks != nil && !generation.IsDamage(lacks) {
		d.Close()
		return m, nil, nil, lacks
	}
	return m, d, lacks, nil
}

// moment is ErrConflict if a generation came meanwhile: it may have swept a data file or a stream that was about to be
// read.
func (r *run) moment(ctx context.Context, unfolded bool) (*moment, error) {
	newest, old, lacks, err := r.newest()
	if err != nil {
		return nil, err
	}
	m := &moment{store: r.store, data: old, form: r.streams.Settings.Key, damage: lacks, newest: newest}
	if unfolded {
		err = r.addTail(ctx, m, newest)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (r *run) addTail(ctx context.Context, m *moment, newest generation.Manifest) error {
	b, err := r.scanner().tail(ctx, newest)
	if err != nil {
		return err
	}
	now, err := r.store.Newest()
	if err != nil {
		return err
	}
	if now.Generation != newest.Generation {
		return fmt.Errorf("generation %d came: %w", now.Generation, generation.ErrConflict)
	}
	d, err := r.decide(m.data, &b, newest.NextSeq)
	if err != nil {
		return err
	}
	m.replaced = make(map[cohort.Key]bool, len(d.found))
	for _, p := range slices.Concat(d.withdraw, d.puts) {
		if _, ok := d.found[p.Key]; ok {
			m.replaced[p.Key] = true
		}
	}
	for _, key := range d.leave {
		m.replaced[key] = true
	}
	for _, p := range d.puts {
		rec := raised(b.held[b.refs[p.N].held-1], d.later[p.N])
		m.tail = append(m.tail, Run{p.Key, rec.Cohort, rec.RunID, rec.Stage, p.Seq, rec.Time().UTC().Truncate(time.Microsecond), rec.JSON})
		m.records = append(m.records, rec)
	}
	return m.addReturned(d.ret)
}

// addReturned adds the withdrawn rows that a fold would bring back now.
func (m *moment) addReturned(ret []index.Put) error {
	if len(ret) == 0 {
		return nil
	}
	seqs := make(map[cohort.Key]cohort.Seq, len(ret))
	for _, p := range ret {
		seqs[p.Key] = p.Seq
	}
	for h, err := range m.data.Withdrawn.Index.Identities() {
		if err != nil {
			return err
		}
		if seq, ok := seqs[h.Key]; ok {
			h.Seq = seq
			m.tail = append(m.tail, runOf(h))
		}
	}
	return nil
}

// tail reads what the streams hold that no generation up to newest has folded. It keeps no damage and moves no watermark.
func (s *scanner) tail(ctx context.Context, newest generation.Manifest) (batch, error) {
	b, unread, err := s.unread(newest, 0, newBudget(math.MaxInt64))
	if err != nil {
		return b, err
	}
	for r := range s.readings(unread, &b) {
		if r.gone { // taken for dead just now, which needs no generation
			r.p = s.InReaped(r.p.Stream)
			s.done(r, s.read(r, b.left, b.shapes.Shaper()))
		}
		s.shortened(r, 0)
		b.add(r)
		if r.err != nil {
			s.skip(r.p.Stream, r.err, r.old.Grown, &b)
		}
		if err := ctx.Err(); err != nil {
			return b, err
		}
	}
	return b, nil
}
