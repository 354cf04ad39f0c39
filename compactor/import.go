package compactor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// Source is what Import takes in. At least one of the two files must be given.
type Source struct {
	// Index is an index.parquet of any writer; its size in bytes is IndexSize.
	Index     io.ReaderAt
	IndexSize int64
	// Snapshots is a snapshot_index.json with keys of any form.
	Snapshots io.Reader
	// Cohort is where rows go that name none. If empty, such rows are left out.
	Cohort cohort.ID
	// Stage is the stage of rows that name none, neither in the value nor in the key. If empty,
	// UNKNOWN.
	Stage string
	// DryRun reads and decides everything and writes nothing.
	DryRun bool
}

// ImportReport says what an import took and what it left out. An import that ends with an error before its commit took nothing.
type ImportReport struct {
	Rows       int               `json:"rows"`      // of the index file
	Snapshots  int               `json:"snapshots"` // of the snapshots file
	Taken      int               `json:"taken"`
	Known      int               `json:"known"`      // the root holds the same already
	Newer      int               `json:"newer"`      // the root or the files hold a later write of the key
	Left       int               `json:"left_out"`   // each with its reason, as LeftOut notices
	Renumbered int               `json:"renumbered"` // their snapshot_seq was taken
	Fallback   int               `json:"without_seq"`
	Generation cohort.Generation `json:"generation"`
}

// LeftOut tells why an imported row or snapshot was not taken.
type LeftOut struct{ Where, Reason string }

func (n LeftOut) String() string { return n.Where + " left out: " + n.Reason }

// Import takes the rows of old files into a root, as one commit. Given snapshot_seq values are kept
// and next_seq goes on above them; rows without one are placed by their timestamp, below the lowest
// given seq where there is room. Any record that was appended to the root counts as later than any
// imported one. Importing the same files again takes nothing, and neither does a row of the same key and
// snapshot_seq as one that was imported before: give an index and its snapshots in one call, which joins
// them.
//
// It holds the files' records in memory.
func Import(ctx context.Context, cfg Config, src Source) (report ImportReport, err error) {
	f, err := newFolder(cfg)
	if err != nil {
		return ImportReport{}, err
	}
	im := &importer{folder: f, src: src}
	if err := im.readFiles(ctx); err != nil {
		return im.report, err
	}
	if !src.DryRun {
		unlock, err := f.Lock.Lock(ctx)
		if err != nil {
			return im.report, err
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	im.order()
	read := im.report
	for try := 0; ; try++ {
		err = im.take()
		if err != nil && !im.done {
			im.report = read
			im.report.Generation = im.base
		}
		again := errors.Is(err, ErrConflict) || im.isOvertaken(err)
		if !again || try == maxConflicts || ctx.Err() != nil {
			return im.report, err
		}
	}
}

type importer struct {
	*folder
	src    Source
	items  []item
	report ImportReport
	done   bool // it is committed
}

// readFiles reads both files and joins a row with the snapshot of its key.
func (im *importer) readFiles(ctx context.Context) error {
	byKey := map[cohort.Key]int{}
	if im.src.Index != nil {
		for row, err := range index.ForeignRows(im.src.Index, im.src.IndexSize) {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return fmt.Errorf("read index, row %d: %w", im.report.Rows+1, err)
			}
			im.report.Rows++
			it, err := rowItem(row)
			im.add(it, err, byKey, fmt.Sprintf("row %d", im.report.Rows))
		}
	}
	if im.src.Snapshots != nil {
		for s, err := range index.ForeignSnapshots(im.src.Snapshots) {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return fmt.Errorf("read snapshots, entry %d: %w", im.report.Snapshots+1, err)
			}
			im.report.Snapshots++
			it, err := snapshotItem(s)
			im.add(it, err, byKey, fmt.Sprintf("snapshot %q", s.Key))
		}
	}
	return nil
}

// add completes one item and joins it with an earlier one of its key from the other file, whose cohort
// is that of both: snapshots name none. Several items of one kind with one key (attempts) stay apart:
// the last write among them wins.
func (im *importer) add(it item, err error, byKey map[cohort.Key]int, where string) {
	if err == nil {
		err = it.complete(im.src.Cohort, im.src.Stage, im.settings)
	}
	if err != nil {
		im.report.Left++
		im.notify(LeftOut{where, err.Error()})
		return
	}
	key := im.settings.Key.Of(it.record())
	if i, ok := byKey[key]; ok && im.items[i].snapshot == nil && it.fromSnapshots && im.items[i].sameSeq(it) {
		whole := im.items[i]
		whole.join(it)
		if err := whole.check(im.settings); err != nil {
			im.report.Left++
			im.notify(LeftOut{where, err.Error()})
			return
		}
		im.items[i] = whole
		return
	}
	if it.cohort == "" {
		im.report.Left++
		im.notify(LeftOut{where, "names no cohort: give --cohort"})
		return
	}
	if !it.fromSnapshots {
		byKey[key] = len(im.items)
	}
	im.items = append(im.items, it)
}

// take decides against the newest generation and commits. Where that is done already, and others committed before it was
// public, it makes sure that what they committed is.
func (im *importer) take() error {
	prev, err := latest(im.FS, im.Root)
	if err != nil {
		return err
	}
	im.base = prev.Generation
	if im.done {
		return im.heal(prev)
	}
	im.report.Generation = prev.Generation
	old, err := im.openSummed(prev)
	if err != nil {
		return err
	}
	defer old.Close()
	recs, seqs := im.records()
	all, keys := make([]candidate, len(recs)), make([]cohort.Key, len(recs))
	for i, r := range recs {
		all[i] = candidateOf(im.settings.Key, r, int32(i))
		keys[i] = all[i].key
	}
	found, err := old.find(keys)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(r candidate) bool {
		old, ok := found[r.key]
		known := ok && (old.RecordID == r.RecordID || old.Stamp == r.Stamp && old.Stamp > 0) // the same row, or the same seq
		if known {
			im.report.Known++
		}
		return known
	})
	out := fold(all, found, prev.NextSeq)
	for i := range out.puts {
		p := &out.puts[i]
		r := raised(recs[p.N], out.later[p.N])
		p.Record = &r
	}
	im.report.Newer, im.report.Taken = out.superseded, len(out.puts)
	im.report.Known += out.duplicates + out.repeats
	if len(out.puts) == 0 {
		return old.check()
	}
	taken, err := takenSeqs(old)
	if err != nil {
		return err
	}
	next, err := im.nextManifest(prev, prev.Streams)
	if err != nil {
		return err
	}
	next.NextSeq = im.number(out.puts, seqs, taken, prev.NextSeq)
	next.HighestStamp = max(prev.HighestStamp, out.highest)
	if im.src.DryRun {
		return old.check()
	}
	return im.commitPuts(prev, &next, old, found, out.puts)
}

func (im *importer) commitPuts(prev head, next *head, old *data, found map[cohort.Key]index.Found, puts []index.Put) error {
	c := changes{puts: puts, cohort: func(p index.Put) cohort.ID { return p.Record.Cohort }}
	recs := make([]cohort.Record, len(puts))
	for i, p := range puts {
		recs[i] = *p.Record
		c.bytes += int64(len(p.Record.JSON))
	}
	next.Schema = prev.Schema.Extend(recs)
	if err := im.writeData(next, old, found, c); err != nil {
		return err
	}
	done, err := im.commit(*next)
	if err != nil {
		return err
	}
	im.done, im.report.Generation = true, done.Generation
	im.committed(prev, done)
	return im.publish(done, false)
}

// order sorts the items, and tells how many have nothing but a timestamp to be ordered by.
func (im *importer) order() {
	slices.SortStableFunc(im.items, compareItems)
	for _, it := range im.items {
		if it.seq == 0 {
			im.report.Fallback++
		}
	}
	if im.report.Fallback > 0 {
		im.notify(SeqFallback{im.report.Fallback})
	}
}

// records makes records of the items, with stamps below every stamp of a clock: an item with a seq
// has that seq, and one without lies before all of those, by timestamp. Their ids are digests of their
// content, so the same row is the same record whenever it is imported.
func (im *importer) records() ([]cohort.Record, map[string]cohort.Seq) {
	recs := make([]cohort.Record, 0, len(im.items))
	seqs := make(map[string]cohort.Seq, len(im.items))
	for i, it := range im.items {
		r := it.record()
		r.Stamp = cohort.Stamp(it.seq)
		if it.seq == 0 {
			r.Stamp = cohort.Stamp(i - im.report.Fallback)
		}
		sum := sha256.Sum256([]byte(string(im.settings.Key.Of(r)) + "\x00" + string(r.JSON)))
		r.ID = "import-" + hex.EncodeToString(sum[:16])
		seqs[r.ID] = it.seq
		recs = append(recs, r)
	}
	return recs, seqs
}

// takenSeqs are the seqs that the index keeps.
func takenSeqs(old *data) (map[cohort.Seq]bool, error) {
	taken := map[cohort.Seq]bool{}
	if old.index == nil {
		return taken, nil
	}
	for h, err := range old.index.Heads() {
		if err != nil {
			return nil, err
		}
		taken[h.Seq] = true
	}
	return taken, nil
}

// number gives each put its seq: its own where nobody has it, else a free one. It returns the next
// seq, and leaves puts in seq order.
func (im *importer) number(puts []index.Put, own map[string]cohort.Seq, taken map[cohort.Seq]bool, next cohort.Seq) cohort.Seq {
	lowest := cohort.Seq(0)
	for i := range puts {
		seq := own[puts[i].Record.ID]
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
		case len(room) > 0 && own[puts[i].Record.ID] == 0:
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

// freeBelow returns the n highest free seqs below limit in increasing order, or none if there are not
// that many: rows without a seq are older than those with one, but not at the price of their order.
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
