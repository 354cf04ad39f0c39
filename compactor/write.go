package compactor

import (
	"slices"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// write folds a batch and makes the data files of the next generation durable. No manifest names them
// yet: a run that ends here leaves them for a later sweep and nothing else.
//
// Where the batch changes no row (a seal, duplicates), the next generation keeps the data files of
// the one before and no byte of the index is copied. b is used up.
func (r *run) write(prev generation.Manifest, b *batch) (*generation.Draft, error) {
	next, err := r.store.Draft(prev, b.marks)
	if err != nil {
		return nil, err
	}
	old, err := r.store.Summed(prev)
	if err != nil {
		return nil, err
	}
	defer old.Close()
	d, err := r.decide(old, b, prev.NextSeq)
	if err != nil {
		return nil, err
	}
	out := d.folded
	next.Ahead = r.ahead(prev, b, out.highest)
	b.records = nil // a quarter of what a million records take, and puts say all from here on
	next.NextSeq, next.HighestStamp = out.nextSeq, max(prev.HighestStamp, out.highest)
	next.Narrow = prev.Narrow + int64(out.narrow.Narrow)
	next.Verb, next.Changed = generation.DidFold, out.changed()
	r.report.add(&out)
	if out.isEmpty() && len(b.actions) == 0 && prev.Generation > 0 {
		if d.looked { // the index has decided
			err = old.CheckBoth()
		}
		return next, err
	}
	schema := b.shapes.Extender()
	for _, p := range slices.Concat(out.puts, out.putsOut) {
		schema.Add(b.refs[p.N].shape)
	}
	next.Schema, next.Columns = schema.Schema()
	rows, lines := newLoader(r.streams, b, out.later), newLoader(r.streams, b, out.later)
	defer rows.close()
	defer lines.close()
	c := generation.Changes{
		Side: out.ofIndex(d.found, d.out), Withdrawn: out.ofWithdrawn(d.found, d.out), Actions: b.actions,
		Bytes: b.bytes, Rows: rows.load, Lines: lines.load, Cohort: b.cohort,
	}
	// Columns come also with records that stay out, so that a row has its columns when it comes back.
	c.Stays = c.Stays && prev.Generation > 0 && next.Schema.Equal(prev.Schema)
	stats, err := next.Write(old, c)
	if err != nil {
		return nil, err
	}
	r.report.Extra += stats.Extra.Values()
	r.report.InExtra = r.report.InExtra.Plus(stats.Extra)
	r.report.Merged.Add(stats)
	r.report.Merged.Bytes.Add(next.Bytes)
	return next, nil
}

// decided is what a batch changes, and what it was decided from.
type decided struct {
	folded
	found, out map[cohort.Key]index.Found
	looked     bool // something was looked up
}

// decide folds a batch into what a generation has. It reads, and changes nothing.
func (r *run) decide(old *generation.Data, b *batch, next cohort.Seq) (d decided, err error) {
	form := r.streams.Settings.Key
	gone, err := b.withoutErased(old)
	if err != nil {
		return d, err
	}
	touched, err := aimedAt(form, old, b.actions)
	if err != nil {
		return d, err
	}
	keys := make([]cohort.Key, len(b.records), len(b.records)+len(touched))
	for i, c := range b.records {
		keys[i] = c.key
	}
	keys = append(keys, touched...)
	d.looked = len(keys) > 0
	if d.found, d.out, err = old.FindBoth(keys); err != nil {
		return d, err
	}
	acts, err := actingOn(form, old, b.actions, keys)
	if err != nil {
		return d, err
	}
	d.folded = fold(b.records, d.found, d.out, acts, touched, next)
	d.Erasing = gone
	return d, nil
}

// changed is what a manifest says of it.
func (f *folded) changed() *generation.Changed {
	return &generation.Changed{
		Added: int64(f.added()), Replaced: int64(f.replaced), Raised: int64(len(f.raised)),
		Withdrawn: int64(f.Withdrawn), Returned: int64(f.Returned),
	}
}

func (r *Report) add(out *folded) {
	r.Added += out.added()
	r.Replaced += out.replaced
	r.Superseded += out.superseded
	r.Duplicates += out.duplicates
	r.Repeated += out.repeats
	r.ByID += out.byID
	r.Narrowing = r.Narrowing.Plus(out.narrow)
	r.Withdrawing.plus(out.Withdrawing)
	r.Erasing.plus(out.Erasing)
}

// farAhead is how far a stamp may be ahead of the storage's clock before it is told.
const farAhead = 10 * time.Minute

// ahead is the stamp that is furthest ahead of the storage's clock, if it is far ahead, and the stream that brought the stamps there. New
// writers begin above the highest stamp, so the stamps of innocent hosts are ahead from then on as well. They run on with time: only a
// stamp that is further than that has another cause.
func (r *run) ahead(prev generation.Manifest, b *batch, highest cohort.Stamp) *generation.Ahead {
	isFar := func(s cohort.Stamp) bool { return b.now > 0 && (s-b.now).Duration() > farAhead }
	if prev.Ahead != nil && isFar(max(prev.Ahead.Stamp, highest)) && (highest-prev.HighestStamp).Duration() <= farAhead+r.since(prev) {
		still := *prev.Ahead
		still.Stamp = max(still.Stamp, highest)
		return &still
	}
	if !isFar(highest) {
		return nil
	}
	p := b.placeOf(highest)
	host, err := r.streams.Host(p)
	if err != nil {
		host = "unknown"
	}
	return &generation.Ahead{Stamp: highest, Stream: p.Stream.String(), Host: host}
}

// placeOf is the stream that brought a stamp.
func (b *batch) placeOf(s cohort.Stamp) journal.Place {
	if i := slices.IndexFunc(b.records, func(c candidate) bool { return c.Stamp == s }); i >= 0 {
		return b.places[b.refs[b.records[i].n].place]
	}
	i := slices.IndexFunc(b.actions, func(r cohort.Record) bool { return r.Stamp == s })
	of := journal.Stream{Cohort: b.actions[i].Cohort, ID: b.actions[i].Stream}
	return b.places[slices.IndexFunc(b.places, func(p journal.Place) bool { return p.Stream == of })]
}

// since is the time since a generation was made, 0 if its clock or ours does not allow to tell.
func (r *run) since(m generation.Manifest) time.Duration {
	made, ok := cohort.ParseTime(m.CreatedAt)
	if !ok {
		return 0
	}
	return max(r.Now().Sub(made), 0)
}

func aheadOf(a generation.Ahead, now cohort.Stamp) ClockAhead {
	name, id, _ := strings.Cut(a.Stream, "/")
	return ClockAhead{Host: a.Host, Stream: journal.Stream{Cohort: cohort.ID(name), ID: cohort.StreamID(id)}, By: (a.Stamp - now).Duration()}
}
