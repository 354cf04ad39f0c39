package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// replayed is a record that is folded again, and the row that it must give.
type replayed struct {
	key  cohort.Key
	row  *replayRow
	rec  cohort.Record
	from journal.Stream
}

// A chunk of records is folded again at once.
const (
	chunkRecords = 4096
	chunkBytes   = 16 << 20
)

// streams folds again what the streams still hold of what was folded.
func (r *replayer) streams() error {
	all, _, err := r.Journal().Streams()
	if err != nil {
		return err
	}
	r.whole, r.last = map[cohort.StreamID]bool{}, map[cohort.StreamID]cohort.Stamp{}
	r.folded, r.pending = map[int][]replayed{}, map[cohort.Key][]difference{}
	var chain []map[journal.Stream]generation.Watermark
	for _, m := range append(slices.Clone(r.before), r.newest) {
		chain = append(chain, m.Marks())
	}
	for _, p := range all {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		marks := make([]generation.Watermark, len(chain))
		for i, all := range chain {
			marks[i] = all[p.Stream]
		}
		if err := r.stream(p, marks); err != nil {
			return err
		}
	}
	if err := r.flush(); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(r.pending)) {
		if !r.rows[key].derived {
			for _, one := range r.pending[key] {
				r.differ(one)
			}
		}
	}
	return nil
}

// stream reads one stream up to its watermark in the newest generation, which is the last of marks.
func (r *replayer) stream(p journal.Place, marks []generation.Watermark) error {
	end := marks[len(marks)-1].Offset
	if end == 0 {
		return nil
	}
	in, err := r.open(p)
	if err != nil || in == nil {
		return err
	}
	defer in.Close()
	h, _, err := in.Header()
	if err != nil {
		return r.unread(p.Dir, err)
	}
	whole := !slices.ContainsFunc(marks, func(m generation.Watermark) bool { return m.Shortened || m.Offset > end })
	for {
		rec, err := in.Next()
		rec.Writer = h.Writer()
		at := in.Position().Offset
		switch {
		case errors.Is(err, journal.ErrCorrupt):
			whole = false
			continue
		case errors.Is(err, io.EOF), err == nil && at > end:
			r.whole[p.ID] = whole && (at >= end)
			return nil
		case err != nil:
			return r.unread(p.Dir, err)
		}
		r.last[p.ID] = rec.Stamp
		fold := slices.IndexFunc(marks, func(m generation.Watermark) bool { return at <= m.Offset })
		if err := r.record(rec, p.Stream, fold); err != nil {
			return err
		}
		if at == end {
			r.whole[p.ID] = whole
			return nil
		}
	}
}

// record puts a record into the chunk, if a row says that it was made of it. A write may stand twice in its stream: where another one was
// between, the row was made of the later one, else of the first.
func (r *replayer) record(rec cohort.Record, of journal.Stream, fold int) error {
	if rec.Action != cohort.NoAction {
		if a := r.actions[rec.Version()]; a != nil {
			a.hasSource = true
		}
		return nil // Check has told of one that is not in force
	}
	key := r.Settings.Key.Of(rec)
	row := r.rows[key]
	if row == nil || row.stream != of.ID || row.at.RecordID != rec.ID {
		return nil
	}
	if row.at.Digest != rec.Digest() && (row.at.Digest != 0 || row.at.Stamp != rec.Stamp) {
		return nil
	}
	if row.inStream {
		row.twice = true
		if err := r.flush(); err != nil {
			return err
		}
	}
	row.inStream = true
	if row.unsigned {
		rec.Writer = ""
	}
	r.put(replayed{key, row, rec, of}, fold)
	if len(r.chunk) < chunkRecords && r.chunkBytes < chunkBytes {
		return nil
	}
	return r.flush()
}

func (r *replayer) put(p replayed, fold int) {
	r.chunk = append(r.chunk, p)
	r.chunkBytes += len(p.rec.JSON)
	if fold > 0 {
		p.rec = cohort.Record{Stamp: p.rec.Stamp, ID: p.rec.ID}
		r.folded[fold] = append(r.folded[fold], p)
	}
}

// flush folds the chunk again, into the columns of the newest generation, and compares.
func (r *replayer) flush() error {
	if len(r.chunk) == 0 {
		return nil
	}
	all := r.chunk
	slices.SortFunc(all, func(a, b replayed) int { return cmp.Compare(a.row.seq, b.row.seq) })
	all = slices.CompactFunc(all, func(a, b replayed) bool { return a.row.seq == b.row.seq }) // Check has told of a seq that stands twice
	puts := make([]index.Put, len(all))
	for i := range all {
		all[i].rec.Stamp = all[i].row.at.Stamp // a repeat may have raised it
		puts[i] = index.Put{Key: all[i].key, Seq: all[i].row.seq, Record: &all[i].rec}
	}
	r.chunk, r.chunkBytes = nil, 0
	var rows, lines bytes.Buffer
	meta := index.Meta{Generation: r.newest.Generation, Token: r.newest.Token}
	schema, _ := r.newest.Columns.Apply(r.newest.Schema, nil) // as a fold does: a column of older versions may have a name that is taken now
	if _, err := index.Merge(&rows, nil, nil, schema, puts, nil, meta); err != nil {
		return fmt.Errorf("fold records again: %w", err)
	}
	if _, err := index.MergeSnapshots(&lines, nil, puts, nil, nil); err != nil {
		return fmt.Errorf("fold records again: %w", err)
	}
	x, err := index.Open(bytes.NewReader(rows.Bytes()), int64(rows.Len()))
	if err != nil {
		return fmt.Errorf("fold records again: %w", err)
	}
	seqs := make([]cohort.Seq, len(all))
	for i, p := range all {
		seqs[i] = p.row.seq
	}
	differ := make([][]difference, len(all))
	i := 0
	for c, err := range x.Contents(seqs) {
		if err != nil {
			return err
		}
		p := all[i]
		if sumOfRow(c) != p.row.row {
			differ[i] = append(differ[i], difference{key: p.key, row: c, from: "stream " + p.from.String(), path: r.pathOf(p.row), out: p.row.out})
		}
		i++
	}
	i = 0
	for s, err := range index.Snapshots(&lines) {
		if err != nil {
			return err
		}
		p := all[i]
		if p.row.sumOfLine(s) != p.row.line && p.row.sumOfLine(asBefore(s, p.rec)) != p.row.line {
			differ[i] = append(differ[i], difference{key: p.key, value: s.Value, from: "stream " + p.from.String(), line: true, out: p.row.out})
		}
		i++
	}
	for i, p := range all {
		if len(differ[i]) == 0 {
			p.row.derived = true
		} else if len(r.pending) < maxDifferences {
			r.pending[p.key] = differ[i]
		} else if !p.row.twice {
			r.out.Differences++
		}
	}
	return nil
}

// asBefore is the line that an older program made of the record: where the record gave no time, it wrote that of the append with up to nine
// digits.
func asBefore(s index.Snapshot, rec cohort.Record) index.Snapshot {
	if rec.Timestamp == "" && !rec.Written.IsZero() {
		// No text in JSON has these bytes: its quotes are escaped. So the first place is that of the line's own time.
		const member = `"timestamp":"`
		s.Value = bytes.Replace(s.Value, []byte(member+rec.TimeText()), []byte(member+rec.Written.UTC().Format(time.RFC3339Nano)), 1)
	}
	return s
}

// order checks that each fold whose parent is kept gave seqs in the order of the writes, and none that was given before. Rows that moved
// since have later seqs.
func (r *replayer) order() error {
	chain := append(slices.Clone(r.before), r.newest)
	for _, fold := range slices.Sorted(maps.Keys(r.folded)) {
		all := r.folded[fold]
		from, to := chain[fold-1].NextSeq, chain[fold].NextSeq
		slices.SortFunc(all, func(a, b replayed) int { return cmp.Compare(a.row.seq, b.row.seq) })
		r.out.Folds++
		var last *replayed
		var early []*replayed
		for i := range all {
			p := &all[i]
			switch {
			case p.row.twice: // nobody knows of which one the row was made
			case p.row.seq < from:
				early = append(early, p)
			case p.row.seq < to:
				if last != nil && cmp.Or(cmp.Compare(last.rec.Stamp, p.rec.Stamp), cmp.Compare(last.rec.ID, p.rec.ID)) > 0 {
					r.differ(difference{path: r.pathOf(p.row), text: fmt.Sprintf("rows %q and %q have snapshot_seq %d and %d, and were written in the other order", last.key, p.key, last.row.seq, p.row.seq)})
				}
				last = p
			}
		}
		known, err := r.knownTo(chain[fold-1], early)
		if errors.Is(err, generation.ErrConflict) {
			return err
		}
		if err != nil {
			if err := r.unread(r.Root.Data(chain[fold-1].Index.Name), err); err != nil {
				return err
			}
			continue
		}
		for _, p := range early {
			if !known[p.row] {
				r.differ(difference{path: r.pathOf(p.row), text: fmt.Sprintf("row %q has snapshot_seq %d: generation %d, which read its record, gave seqs from %d on", p.key, p.row.seq, chain[fold].Generation, from)})
			}
		}
	}
	return nil
}

// knownTo are the rows that a generation has with the same seq. A later fold read their records again: it did not see how far the stream was
// folded, as on a share that showed an old listing, or a power loss took the bytes, and they came back.
func (r *replayer) knownTo(m generation.Manifest, early []*replayed) (map[*replayRow]bool, error) {
	if len(early) == 0 {
		return nil, nil
	}
	d, err := r.Data(m)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	keys := make([]cohort.Key, len(early))
	for i, p := range early {
		keys[i] = p.key
	}
	found, err := d.FindAnywhere(keys)
	if err != nil {
		return nil, err
	}
	known := map[*replayRow]bool{}
	for _, p := range early {
		was, ok := found[p.key]
		known[p.row] = ok && was.Seq == p.row.seq && isSame(was.Version, p.row.at)
	}
	return known, nil
}
