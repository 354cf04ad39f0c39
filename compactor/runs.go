package compactor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// Run is one row of a root: who it is, not what it says.
type Run struct {
	Key       cohort.Key `json:"key"`
	Cohort    cohort.ID  `json:"cohort_id"`
	RunID     string     `json:"run_id"`
	Stage     string     `json:"stage"`
	Seq       cohort.Seq `json:"snapshot_seq"` // 0: an old snapshot without one
	Timestamp time.Time  `json:"timestamp"`
	// Record is what was appended, of a run that no fold has read yet. Its Seq is the one that a fold would give it
	// now, and another one if others come first.
	Record json.RawMessage `json:"unfolded_record,omitempty"`
}

// String is the run on one line.
func (r Run) String() string {
	return fmt.Sprintf("%s seq %d at %s", r.Key, r.Seq, r.Timestamp.UTC().Format(time.RFC3339))
}

func runOf(h index.Head) Run {
	return Run{Key: h.Key, Cohort: h.Cohort, RunID: h.RunID, Stage: h.Stage, Seq: h.Seq, Timestamp: h.Time}
}

// Runs yields all rows of the newest generation in snapshot_seq order. With unfolded it yields what a fold would make
// of the root now: without the rows that unfolded records replace, and those records last. So a program that
// appends reads its own writes, whenever the next fold comes.
//
// It takes no lock and writes nothing; others may append, fold and sweep meanwhile. The answer is that of one moment.
// Unfolded records are held in memory, rows are not. What is wrong with one stream is a SkippedStream and ends nothing.
// It ends after the first error. The checksums of pages are compared and not that of the whole file, which is
// what Check does.
func Runs(ctx context.Context, cfg Config, unfolded bool) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		v, err := openView(ctx, cfg, unfolded)
		if err != nil {
			yield(Run{}, err)
			return
		}
		defer v.close()
		if v.data.index != nil {
			for h, err := range v.data.index.Heads() {
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					yield(Run{}, marked(err))
					return
				}
				if !v.replaced[h.Key] && !yield(runOf(h), nil) {
					return
				}
			}
		}
		for _, r := range v.tail {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// view is a root at one moment.
type view struct {
	data     *data
	tail     []Run               // unfolded, in the order of their seqs
	replaced map[cohort.Key]bool // rows of the index that tail takes the place of
}

func (v *view) close() { v.data.Close() }

func openView(ctx context.Context, cfg Config, unfolded bool) (*view, error) {
	f, err := newFolder(cfg)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		v, err := f.view(ctx, unfolded)
		if !errors.Is(err, ErrConflict) || try == maxConflicts || ctx.Err() != nil {
			return v, err
		}
	}
}

// view is ErrConflict if a generation came meanwhile: it may have swept a data file or a stream that was about to be
// read.
func (f *folder) view(ctx context.Context, unfolded bool) (*view, error) {
	newest, err := latest(f.FS, f.Root)
	if err != nil {
		return nil, err
	}
	old, err := f.openData(newest)
	if err != nil {
		return nil, err
	}
	v := &view{data: old}
	if unfolded {
		err = f.addTail(ctx, v, newest)
	}
	if err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

func (f *folder) addTail(ctx context.Context, v *view, newest head) error {
	b, err := f.tail(ctx, newest)
	if err != nil {
		return err
	}
	now, err := latest(f.FS, f.Root)
	if err != nil {
		return err
	}
	if now.Generation != newest.Generation {
		return fmt.Errorf("generation %d came: %w", now.Generation, ErrConflict)
	}
	keys := make([]cohort.Key, len(b.records))
	for i, r := range b.records {
		keys[i] = r.key
	}
	found, err := v.data.find(keys)
	if err != nil {
		return err
	}
	out := fold(b.records, found, newest.NextSeq)
	v.replaced = make(map[cohort.Key]bool, len(found))
	for _, p := range out.puts {
		if _, ok := found[p.Key]; ok {
			v.replaced[p.Key] = true
		}
		r := raised(b.held[b.refs[p.N].held-1], out.later[p.N])
		v.tail = append(v.tail, Run{p.Key, r.Cohort, r.RunID, r.Stage, p.Seq, r.Time().UTC().Truncate(time.Microsecond), r.JSON})
	}
	return nil
}

// tail reads what the streams hold behind a generation. It keeps no damage and moves no watermark.
func (f *folder) tail(ctx context.Context, newest head) (batch, error) {
	b, unread, err := f.unread(newest, newBudget(math.MaxInt64))
	if err != nil {
		return b, err
	}
	for r := range f.readings(unread, &b) {
		if r.gone { // taken for dead just now, which needs no generation
			r.p.dir, r.p.reaped = f.Root.Reaped(r.p.Cohort, r.p.ID), true
			f.read(r, b.left, b.shapes.Shaper())
		}
		b.add(r)
		if r.err != nil {
			f.skip(r.p.Stream, r.err, &b)
		}
		if err := ctx.Err(); err != nil {
			return b, err
		}
	}
	return b, nil
}
