package compactor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// Imported is a record that was not appended to this root. Seq is the snapshot_seq that it had in its file, 0 if it had none. Segment is the
// segment_id that it had there, for a root with the profile foxml; nil if it had none.
type Imported struct {
	cohort.Record
	Seq     cohort.Seq
	Segment *int64
	// Was says which row of this root it was read from, if it was: another program has read the files of the root, and has written them again.
	Was *Was
}

// Was is a row of the root, as a file of it says.
type Was struct {
	Key      cohort.Key
	RecordID string // empty: the file does not say it, as snapshots
	Snapshot []byte // what snapshots say of it; nil: nothing
}

// ImportReport counts what happened to imported records. An import that ends with an error before its commit has taken none.
type ImportReport struct {
	Taken      int
	Replaced   int          // of those taken: in the place of a row that stood in the index
	Known      int          // the root has the same record already
	Withdrawn  int          // the key was withdrawn, and stays so
	Erased     int          // the key was erased: nothing that is imported is later than that
	Newer      int          // the root, or the import itself, has a later write of the key
	Renumbered int          // another row has their snapshot_seq
	Narrowing               // of those with a later write, and of rows that they replaced
	InExtra    index.Extras // scalars of those taken that no column holds, by column and reason
	Generation cohort.Generation
}

// Import takes records from other sources into a root, as one commit. When it returns nil, all are visible and durable. After
// an error before the commit, none is. Each record must be valid and name its cohort. Import sets its stamp and id. Records
// without a seq must come first, oldest first. Package intake makes such records from files.
//
// Import keeps given seqs, and sets next_seq above them. Records without a seq get free seqs below the lowest given one, if
// there are enough. Any record that was appended to the root counts as later than any imported one. A second import of the same
// records takes nothing. A record with the same key and seq as one that was imported before is not taken either. Of two records without a seq that
// two calls import, the one with the later timestamp is the later write; where these are equal, to the microsecond, or one is absent, the one that is imported later.
//
// With dryRun it decides everything and writes nothing. Any number of callers may run it at the same time, and others may fold
// meanwhile.
func Import(ctx context.Context, cfg Config, recs []Imported, dryRun bool) (report ImportReport, err error) {
	r, err := open(cfg)
	if err != nil {
		return ImportReport{}, err
	}
	im := importer{run: r, dryRun: dryRun}
	im.place(recs)
	if !dryRun {
		release, err := r.lock(ctx)
		if err != nil {
			return ImportReport{}, err
		}
		defer func() {
			release()
			err = r.store.Doubt(err, 0)
		}()
	}
	for try := 0; ; try++ {
		err = im.take()
		if err != nil && !im.done {
			im.report = ImportReport{Generation: r.base}
		}
		again := errors.Is(err, generation.ErrConflict) || r.isOvertaken(err)
		if !again || try == maxConflicts || ctx.Err() != nil {
			r.tellOf(Report{Narrowing: im.report.Narrowing, InExtra: im.report.InExtra})
			return im.report, err
		}
	}
}

// importer is one call of Import.
type importer struct {
	*run
	dryRun bool
	recs   []cohort.Record
	seqs   map[string]cohort.Seq // by record id
	own    map[string]*int64     // segments, the same
	was    map[string]*Was       // the same
	report ImportReport
	did    *generation.Changed // in this try
	done   bool                // it is committed
}

// The stamps of imported records lie below cohort.FirstClockStamp. Those without a seq are negative: they count the nanoseconds of
// their timestamps from lowestStamp. Those with a seq have it. Older versions gave records without a seq the stamps above plainStamps.
const (
	lowestStamp cohort.Stamp = math.MinInt64
	plainStamps cohort.Stamp = -1 << 50
)

// place sets stamps, which are the order of the records. All are below every stamp of a clock. The stamp of a record with a seq
// is that seq. A record without a seq gets a lower stamp than all of those. The ids are digests of the
// content, so the same row is the same record at every import.
func (im *importer) place(recs []Imported) {
	im.recs = make([]cohort.Record, 0, len(recs))
	im.seqs = make(map[string]cohort.Seq, len(recs))
	im.own, im.was = map[string]*int64{}, map[string]*Was{}
	last := lowestStamp
	for _, imported := range recs {
		r := imported.Record
		r.Writer = "" // nobody appended it to this root
		r.Stamp = cohort.Stamp(imported.Seq)
		if imported.Seq == 0 {
			r.Stamp = last + 1
			if t := r.Time(); t.After(time.Unix(0, 0)) {
				r.Stamp = max(r.Stamp, lowestStamp+cohort.Stamp(t.UnixNano()))
			}
			last = r.Stamp
		}
		sum := sha256.Sum256([]byte(string(im.streams.Settings.Key.Of(r)) + "\x00" + string(r.JSON)))
		r.ID = "import-" + hex.EncodeToString(sum[:16])
		im.seqs[r.ID] = imported.Seq
		if imported.Segment != nil {
			im.own[r.ID] = imported.Segment
		}
		if imported.Was != nil {
			im.was[r.ID] = imported.Was
		}
		im.recs = append(im.recs, r)
	}
}

// stamps are those of the records against what the index holds. If the index has another record of a key that was imported, times say which
// one is later: the stamp alone does not, as records of one import that have one time got stamps one after the other. If
// the times are equal, or nothing says when one of both was written, the one that is imported later is the later write. Where the index has one of these records,
// those before it were imported with it, and lost.
func (im *importer) stamps(keys []cohort.Key, found map[cohort.Key]index.Found, times map[cohort.Key]int64) []cohort.Stamp {
	at := map[cohort.Key]int{} // the record that the index has
	for i, r := range im.recs {
		if found[keys[i]].RecordID == r.ID {
			at[keys[i]] = i
		}
	}
	stamps := make([]cohort.Stamp, len(im.recs))
	next := map[cohort.Key]cohort.Stamp{}
	for i, r := range im.recs {
		stamps[i] = r.Stamp
		key := keys[i]
		old, ok := found[key]
		if !ok || im.seqs[r.ID] != 0 || old.Stamp >= cohort.FirstClockStamp {
			continue
		}
		t, known := times[key]
		later := 0 // than the row, by the time
		if known && !r.Time().IsZero() {
			later = cmp.Compare(r.Time().UnixMicro(), t)
		}
		unknown := r.Time().IsZero() || old.Stamp > plainStamps && old.Stamp < 0 || known
		k, isOurs := at[key]
		switch {
		case later < 0:
			stamps[i] = min(r.Stamp, old.Stamp-1)
			continue
		case !unknown:
			continue
		case later == 0 && isOurs && i <= k:
			stamps[i] = old.Stamp - cohort.Stamp(k-i)
			continue
		}
		if _, ok := next[key]; !ok {
			next[key] = old.Stamp + 1
		}
		stamps[i] = max(r.Stamp, next[key])
		if stamps[i] == 0 {
			stamps[i] = 1 // 0 is no place
		}
		next[key] = stamps[i] + 1
	}
	return stamps
}

// times are the times, in microseconds, of rows that were imported without a seq and may be older or later states of one of the records.
func (im *importer) times(old *generation.Data, keys []cohort.Key, found map[cohort.Key]index.Found) (map[cohort.Key]int64, error) {
	wanted := map[cohort.Key]bool{}
	for i, r := range im.recs {
		if f, ok := found[keys[i]]; ok && f.Stamp < 0 && f.RecordID != r.ID && !r.Time().IsZero() {
			wanted[keys[i]] = true
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	times := make(map[cohort.Key]int64, len(wanted))
	for _, d := range []*generation.Data{old, old.Withdrawn} {
		if d == nil || d.Index == nil {
			continue
		}
		for h, err := range d.Index.Identities() {
			if err != nil {
				return nil, err
			}
			if wanted[h.Key] && !h.Time.IsZero() {
				times[h.Key] = h.Time.UnixMicro()
			}
		}
	}
	return times, nil
}

// take compares the records with the newest generation, and commits. If an earlier call has committed already, but others
// committed before it was published, take only makes sure that the newest generation is public.
func (im *importer) take() error {
	prev, err := im.store.Newest()
	if err != nil {
		return err
	}
	im.base = prev.Generation
	if im.done {
		return im.store.Heal(prev)
	}
	im.report = ImportReport{Generation: prev.Generation}
	if err := im.store.CheckNewest(prev); err != nil {
		return err
	}
	old, err := im.store.Summed(prev)
	if err != nil {
		return err
	}
	defer old.Close()
	d, err := im.decide(old, prev)
	if err != nil {
		return err
	}
	if len(d.puts)+len(d.putsOut) == 0 {
		return old.CheckBoth()
	}
	taken, err := takenSeqs(old)
	if err != nil {
		return err
	}
	next, err := im.store.Draft(prev, prev.Streams)
	if err != nil {
		return err
	}
	next.Verb, next.Changed = generation.DidImport, im.did
	next.NextSeq = im.number(d.puts, taken, prev.NextSeq)
	for i := range d.putsOut { // what stays out needs no place among the others
		d.putsOut[i].Seq = next.NextSeq
		next.NextSeq++
	}
	next.HighestStamp = max(prev.HighestStamp, d.highest)
	next.Narrow = prev.Narrow + int64(im.report.Narrow)
	if im.dryRun {
		return old.CheckBoth()
	}
	return im.commit(prev, next, old, d)
}

// decide folds the records into what the index holds, and counts the results.
func (im *importer) decide(old *generation.Data, prev generation.Manifest) (d decided, err error) {
	all, keys := make([]candidate, len(im.recs)), make([]cohort.Key, len(im.recs))
	for i, r := range im.recs {
		all[i] = candidateOf(im.streams.Settings.Key, r, int32(i), nil)
		keys[i] = all[i].key
	}
	erased, err := old.Erased()
	if err != nil {
		return d, err
	}
	all = slices.DeleteFunc(all, func(r candidate) bool { return erased.Drops(r.key, r.Stamp) })
	im.report.Erased = len(im.recs) - len(all)
	if d.found, d.out, err = old.FindBoth(keys); err != nil {
		return d, err
	}
	had := d.found
	if len(d.out) > 0 {
		had = maps.Clone(d.found)
		maps.Copy(had, d.out)
	}
	times, err := im.times(old, keys, had)
	if err != nil {
		return d, err
	}
	stamps := im.stamps(keys, had, times)
	for i := range all {
		all[i].Stamp = stamps[all[i].n]
	}
	unchanged, err := im.unchanged(old, had)
	if err != nil {
		return d, err
	}
	all = slices.DeleteFunc(all, func(r candidate) bool {
		old, ok := had[r.key]
		known := ok && (old.RecordID == r.RecordID || old.Stamp == r.Stamp && old.Stamp > 0 || unchanged[r.n]) // the same row, or the same seq
		if known {
			im.report.Known++
		}
		return known
	})
	acts, err := actingOn(im.streams.Settings.Key, old, nil, keys)
	if err != nil {
		return d, err
	}
	d.folded = fold(all, d.found, d.out, acts, nil, prev.NextSeq)
	for _, puts := range [][]index.Put{d.puts, d.putsOut} {
		for i := range puts {
			p := &puts[i]
			r := im.recs[p.N]
			r.Stamp = stamps[p.N]
			r = raised(r, d.later[p.N])
			p.Record, p.Segment = &r, im.own[r.ID]
		}
	}
	im.report.Newer, im.report.Taken, im.report.Narrowing = d.superseded, len(d.puts), d.narrow
	im.report.Replaced = d.replaced
	im.report.Withdrawn = len(d.putsOut)
	im.report.Known += d.duplicates + d.repeats
	im.did = d.changed()
	im.did.Raised, im.did.Imported = 0, int64(len(d.puts)) // an import raises no row
	return d, nil
}

func (im *importer) commit(prev generation.Manifest, next *generation.Draft, old *generation.Data, d decided) error {
	c := generation.Changes{
		Side: d.ofIndex(d.found, d.out), Withdrawn: d.ofWithdrawn(d.found, d.out),
		Cohort: func(p index.Put) cohort.ID { return p.Record.Cohort },
	}
	recs := make([]cohort.Record, 0, len(d.puts)+len(d.putsOut))
	for _, p := range slices.Concat(d.puts, d.putsOut) {
		recs = append(recs, *p.Record)
		c.Bytes += int64(len(p.Record.JSON))
	}
	shapes := index.NewShapes(prev.Schema, prev.Columns, unusedOf(old))
	shaper, schema := shapes.Shaper(), shapes.Extender()
	for _, r := range recs {
		shape, _ := shaper.Of(r)
		schema.Add(shape)
	}
	next.Schema, next.Columns = schema.Schema()
	c.Stays = c.Stays && prev.Generation > 0 && next.Schema.Equal(prev.Schema)
	done, err := im.run.commit(prev, next, old, &c)
	if done.Generation > 0 {
		im.done, im.report.Generation, im.report.InExtra = true, done.Generation, im.run.report.InExtra
	}
	if err == nil {
		im.show(done)
	}
	return err
}

// takenSeqs are the seqs of all rows, also of the withdrawn ones.
func takenSeqs(old *generation.Data) (map[cohort.Seq]bool, error) {
	taken := map[cohort.Seq]bool{}
	if old.Index == nil {
		return taken, nil
	}
	for _, d := range []*generation.Data{old, old.Withdrawn} {
		if d == nil {
			continue
		}
		for h, err := range d.Index.Identities() {
			if err != nil {
				return nil, err
			}
			taken[h.Seq] = true
		}
	}
	return taken, nil
}

// number gives each put its seq: its own seq if no row has that, else a free one. It returns the next
// seq, and sorts puts by seq.
func (im *importer) number(puts []index.Put, taken map[cohort.Seq]bool, next cohort.Seq) cohort.Seq {
	lowest := cohort.Seq(0)
	for i := range puts {
		seq := im.seqs[puts[i].Record.ID]
		if seq != 0 && taken[seq] {
			im.report.Renumbered++
			seq = 0
		} else if seq != 0 {
			taken[seq] = true
			next = max(next, seq+1)
		}
		if seq != 0 && (lowest == 0 || seq < lowest) {
			lowest = seq
		}
		puts[i].Seq = seq
	}
	room := freeBelow(taken, lowest, countWithout(puts))
	for i := range puts {
		switch {
		case puts[i].Seq != 0:
		case len(room) > 0 && im.seqs[puts[i].Record.ID] == 0:
			puts[i].Seq, room = room[0], room[1:]
		default:
			puts[i].Seq = next
			next++
		}
	}
	slices.SortFunc(puts, func(a, b index.Put) int { return cmp.Compare(a.Seq, b.Seq) })
	return max(next, 1)
}

func countWithout(puts []index.Put) int {
	n := 0
	for _, p := range puts {
		if p.Seq == 0 {
			n++
		}
	}
	return n
}

// freeBelow returns the n highest free seqs below limit in increasing order. If there are fewer, it returns none, because the
// rows without a seq must keep their order. They are older than the rows with a seq, so they come first if they fit.
func freeBelow(taken map[cohort.Seq]bool, limit cohort.Seq, n int) []cohort.Seq {
	var free []cohort.Seq
	for seq := limit; seq > 1 && len(free) < n; {
		seq--
		if !taken[seq] {
			free = append(free, seq)
		}
	}
	if len(free) < n {
		return nil
	}
	slices.Reverse(free)
	return free
}
