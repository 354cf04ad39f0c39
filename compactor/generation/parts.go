package generation

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// pair is an index and its snapshots that a draft writes: those of the rows that stand, or those of the withdrawn rows.
type pair struct {
	what     string // whatIndex or whatWithdrawn
	old      *Data  // its rows until now; nil if there was never such a pair
	from     *Data  // where rows that move come from
	side     Side
	whole    bool   // write the snapshots of all cohorts
	name     string // of the index that is written
	oldParts Snapshots
	parts    []*part

	segments *index.Segments // of all puts; see Draft.segments

	index   DataFile // what was written
	written Snapshots
	bytes   Bytes // of the index
	lines   Bytes // of the snapshots: another goroutine writes them
}

const (
	whatIndex     = "index"
	whatWithdrawn = "withdrawn rows"
)

// pairs are the pairs that c changes. They note in d.made which files this attempt makes.
func (d *Draft) pairs(old *Data, c Changes) (all []*pair) {
	var withdrawn Snapshots
	first := d.Withdrawn == nil && len(c.Actions) > 0
	if d.Withdrawn != nil {
		withdrawn = d.Withdrawn.Snapshots
	}
	if first {
		d.SetWithdrawn(new(Withdrawn))
	} else if d.Withdrawn != nil {
		d.Withdrawn = new(*d.Withdrawn) // the parent's is the same until here
	}
	if !c.Stays || c.Whole {
		p := &pair{what: whatIndex, whole: c.Whole, old: old, from: old.Withdrawn, side: c.Side, oldParts: d.Snapshots, name: cohort.IndexName(d.Generation, d.Token)}
		d.made = append(d.made, p.name)
		p.split(d, c, func(n int) string {
			if n == 0 {
				return cohort.SnapshotsName(d.Generation, d.Token)
			}
			return cohort.CohortSnapshotsName(d.Generation, d.Token, n)
		})
		all = append(all, p)
	}
	if d.Withdrawn != nil && c.writesWithdrawn() {
		p := &pair{what: whatWithdrawn, whole: true, old: old.Withdrawn, from: old, side: c.Withdrawn, oldParts: withdrawn, name: cohort.WithdrawnIndexName(d.Generation, d.Token)}
		d.made = append(d.made, p.name)
		p.split(d, c, func(n int) string { return cohort.WithdrawnSnapshotsName(d.Generation, d.Token, n) })
		all = append(all, p)
	}
	return all
}

// segments are the segment_ids of all puts, nil in a root without such a column.
func (d *Draft) segments(old *Data, c Changes) (*index.Segments, error) {
	if d.store.Settings.Profile != cohort.Foxml || len(c.Puts)+len(c.Withdrawn.Puts) == 0 {
		return nil, nil
	}
	var withdrawn *index.File
	if old.Withdrawn != nil {
		withdrawn = old.Withdrawn.Index
	}
	s, err := index.NewSegments(old.Index, withdrawn, c.Puts, c.Withdrawn.Puts, c.Cohort)
	if err != nil {
		return nil, old.blame(fmt.Errorf("look for the rows before: %w", err))
	}
	return s, nil
}

// writesWithdrawn tells whether the files of withdrawn rows and actions are written, in a root that has them: with each new index. So
// each generation with an index of its own is a whole second copy of the one before, and streams may go (R18).
func (c Changes) writesWithdrawn() bool {
	return !c.Stays || !c.Withdrawn.Stays || len(c.Actions) > 0 || c.Whole
}

// size is about how much the old files have from which the new ones are made.
func (p *pair) size() (n int64) {
	if p.old != nil && p.old.Index != nil {
		n = p.old.of.Index.Size
	}
	for _, part := range p.parts {
		n += part.old.Size + part.from.Size
	}
	return n
}

// shareable is how many bytes of the old files stay where they are, if files share blocks: those of sections that are not fresh, and in which no
// row changes.
func (p *pair) shareable() (n int64) {
	if p.old == nil || p.old.Index == nil {
		return 0
	}
	var seqs []cohort.Seq
	for _, put := range slices.Concat(p.side.Puts, p.side.Raised) {
		if was, ok := p.side.Found[put.Key]; ok {
			seqs = append(seqs, was.Seq)
		}
	}
	for _, key := range p.side.Out {
		seqs = append(seqs, p.side.Found[key].Seq)
	}
	slices.Sort(seqs)
	n = p.old.of.Index.shareable(seqs)
	for _, part := range p.parts {
		n += part.old.shareable(seqs)
	}
	return n
}

// part is a snapshots file that a commit writes, for one cohort or for all. The cohort is empty if it is for all.
type part struct {
	cohort   cohort.ID
	name     string
	old      SnapshotsFile // its name is empty if there is none yet
	puts     []index.Put
	replaced map[cohort.Key]cohort.Seq // old lines that are left out
	from     SnapshotsFile             // where lines come from that move
	moved    map[cohort.Key]cohort.Seq
}

// split makes the parts: the snapshots files that the side changes. In a root with one file for all cohorts, it is that file. Else it is the
// files of the cohorts in which a row is put, and of those in which a row is replaced, because a key may move from one cohort to
// another.
func (p *pair) split(d *Draft, c Changes, name func(n int) string) {
	byCohort := map[cohort.ID]*part{}
	perCohort := d.store.Settings.Snapshots == cohort.PerCohort
	of := func(id cohort.ID) *part {
		if !perCohort {
			id = ""
		}
		to := byCohort[id]
		if to == nil {
			to = &part{cohort: id, replaced: map[cohort.Key]cohort.Seq{}, moved: map[cohort.Key]cohort.Seq{}}
			to.old, _ = p.oldParts.Of(id)
			if p.from != nil {
				to.from, _ = p.from.of.Snapshots.Of(id)
			}
			byCohort[id] = to
		}
		return to
	}
	if perCohort {
		for _, put := range p.side.Puts {
			to := of(c.Cohort(put))
			to.puts = append(to.puts, put)
		}
	} else {
		of("").puts = p.side.Puts
	}
	for _, put := range p.side.Puts {
		if was, ok := p.side.Found[put.Key]; ok {
			of(was.Cohort).replaced[put.Key] = was.Seq
		}
	}
	for _, key := range p.side.Out {
		was := p.side.Found[key]
		of(was.Cohort).replaced[key] = was.Seq
	}
	for _, put := range p.side.In {
		of(p.side.Found[put.Key].Cohort).moved[put.Key] = put.Seq
	}
	for i := 0; p.whole && i < len(p.oldParts); i++ {
		of(p.oldParts[i].Cohort)
	}
	p.parts = slices.SortedFunc(maps.Values(byCohort), func(a, b *part) int { return cmp.Compare(a.cohort, b.cohort) })
	for i, part := range p.parts {
		part.name = name(0)
		if perCohort {
			part.name = name(i + 1)
		}
		d.made = append(d.made, part.name)
	}
}

// write writes the files of the pair and makes them durable.
func (p *pair) write(d *Draft, c Changes) (stats index.Stats, err error) {
	var old *summed
	var before *earlier
	if p.old != nil && p.old.read != nil {
		old = p.old.read
		before = d.earlier(p.old.of, p.old.of.Index, func(m Manifest) DataFile { return p.in(m).Index })
		defer before.Close()
	}
	rows, err := d.store.newFile(p.name, old, before)
	if err != nil {
		return index.Stats{}, fmt.Errorf("write %s: %w", p.what, err)
	}
	defer rows.discard(&err)
	stats, err = p.fill(d, c, rows)
	if err != nil {
		return index.Stats{}, err
	}
	if err := before.check(); err != nil {
		return index.Stats{}, d.store.dataError(p.old.of, err)
	}
	p.bytes.Add(rows.Bytes)
	// The index gets its name only now, after what it stands on was compared with its checksums. A file that carries a damaged row
	// on would never be named.
	if p.index, err = rows.commit(); err != nil {
		return index.Stats{}, fmt.Errorf("write %s: %w", p.what, err)
	}
	// The structure is read back, because a later fold copies row groups of this file without decoding them.
	if err := d.store.verify(p.index); err != nil {
		return index.Stats{}, fmt.Errorf("read back %s: %w", p.what, err)
	}
	return stats, nil
}

// fill writes the content of the index, and the snapshots files.
func (p *pair) fill(d *Draft, c Changes, rows *newFile) (index.Stats, error) {
	out := p.what == whatWithdrawn
	meta := index.Meta{Generation: d.Generation, Token: d.Token, Program: d.Program, Withdrawn: out, Beside: !out && d.Withdrawn != nil}
	var old *index.File
	if p.old != nil {
		old = p.old.Index
	}
	moves := index.Moves{Out: p.side.Out, In: p.side.In, FromFound: p.side.Found}
	if p.from != nil {
		moves.From = p.from.Index
	}
	var stats index.Stats
	var both errgroup.Group
	both.Go(func() error {
		puts := append(slices.Clip(p.side.Puts), p.side.Raised...)
		var err error
		stats, err = index.MergeMoved(rows, old, p.side.Found, d.Schema, puts, moves, p.segments, c.Rows, meta)
		rows.rows = stats.Rows
		if err != nil {
			err = fmt.Errorf("write %s: %w", p.what, err)
		}
		if err != nil && p.from != nil {
			err = p.from.blame(err)
		}
		if p.old == nil {
			return err
		}
		if err != nil {
			return p.old.blame(err)
		}
		// A flipped bit of old must not get a new, fitting checksum. And only because all that is fresh in old was read here may the sweep
		// delete the streams that old had folded (P6, docs/decisions/0014).
		return p.old.Check()
	})
	both.Go(func() error {
		for _, part := range p.parts {
			file, err := p.writePart(d, part, c.Lines)
			if err != nil {
				return fmt.Errorf("write snapshots: %w", err)
			}
			p.written = append(p.written, SnapshotsFile{part.cohort, file})
		}
		return nil
	})
	if err := both.Wait(); err != nil {
		return index.Stats{}, err
	}
	// Index and snapshots are made by different code from the same records. Different counts mean that one of them lost or
	// doubled something: such a generation is not committed.
	if lines := p.oldParts.with(p.written).Rows(); rows.rows != lines {
		return index.Stats{}, fmt.Errorf("%w: index would have %d rows and snapshots %d", ErrCorrupt, rows.rows, lines)
	}
	return stats, nil
}

// in is another manifest with the files of this pair in the place of the first one. Without such a pair it has no files.
func (p *pair) in(m Manifest) Manifest {
	switch {
	case p.what == whatIndex:
		return m
	case m.Withdrawn == nil:
		return Manifest{}
	}
	return m.withdrawnOf()
}

// writePart writes a snapshots file and makes it durable.
func (p *pair) writePart(d *Draft, part *part, load index.Load) (file DataFile, err error) {
	var old, from *summed
	var before *earlier
	if part.old.Name != "" {
		if old, err = p.old.snapshots(part.old); err != nil {
			return DataFile{}, err
		}
		defer old.Close()
		before = d.earlier(p.old.of, part.old.DataFile, func(m Manifest) DataFile {
			f, _ := p.in(m).Snapshots.Of(part.cohort)
			return f.DataFile
		})
		defer before.Close()
	}
	if len(part.moved) > 0 {
		if from, err = p.from.snapshots(part.from); err != nil {
			return DataFile{}, err
		}
		defer from.Close()
	}
	w, err := d.store.newFile(part.name, old, before)
	if err != nil {
		return DataFile{}, err
	}
	defer w.discard(&err)
	w.rows, err = part.merge(w, p, load, old, from)
	for _, r := range []*summed{old, from} {
		if r == nil {
			continue
		}
		if cerr := r.check(); cerr != nil {
			return DataFile{}, cerr // also where it is the cause of err, which does not say which file it was
		}
	}
	if err == nil {
		err = before.check()
	}
	if err != nil {
		return DataFile{}, err
	}
	p.lines.Add(w.Bytes)
	return w.commit()
}

// merge makes the lines of the part of those of the files before.
func (part *part) merge(w *newFile, p *pair, load index.Load, old, from *summed) (int64, error) {
	var was *index.OldSnapshots
	if old != nil {
		was = &index.OldSnapshots{R: old, Size: part.old.Size, Next: p.old.of.NextSeq, Sections: part.old.lines()}
	}
	moved := index.MovedLines{Seqs: part.moved}
	if from != nil {
		moved.From = io.NewSectionReader(from, 0, part.from.Size)
	}
	return index.MergeMovedSnapshots(w, was, part.puts, moved, load, part.replaced)
}
