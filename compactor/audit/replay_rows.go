package audit

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// replayRow is what is kept of a row of the newest generation.
type replayRow struct {
	at        cohort.Version
	seq       cohort.Seq
	stream    cohort.StreamID
	out       bool      // it is withdrawn
	time      time.Time // the zero time if it is not known
	row, line index.Sum // of its content in the index, and in the snapshots
	unsigned  bool      // it does not say who wrote it, as the rows of older versions

	same              cohort.Generation // the older generation that is read now has the same write
	inStream, inOlder bool              // what it was derived from
	twice             bool              // its write stands more than once in its stream
	derived           bool              // its record, folded again, gives it
}

// replayAction is an action in force.
type replayAction struct {
	cohort.Record
	hasSource bool // a stream or an older generation has it
}

// sumOfRow is a checksum of what a row says, also of which write it is.
func sumOfRow(c index.Content) index.Sum {
	content := c.Sum()
	all := sha256.Sum256(fmt.Appendf(content[:], "%q %q %q", c.Version.RecordID, c.Stream, c.Writer))
	return index.Sum(all[:])
}

// sumOfLine is a checksum of what a line of the row says.
func (row *replayRow) sumOfLine(s index.Snapshot) index.Sum {
	return s.Sum(index.Identity{Time: row.time})
}

// pairsOf are the pairs of files of a generation. The second one is not there if there was never an action.
func pairsOf(d *generation.Data, m generation.Manifest) []replayPair {
	all := []replayPair{{d, m.Snapshots, m.Index.Name, false}}
	if d.Withdrawn != nil {
		all = append(all, replayPair{d.Withdrawn, m.Withdrawn.Snapshots, m.Withdrawn.Index.Name, true})
	}
	return all
}

// namesPair tells whether a manifest names a pair of files as well.
func namesPair(m generation.Manifest, p replayPair) bool {
	if p.out {
		return m.Withdrawn != nil && m.Withdrawn.Index.Name == p.name
	}
	return m.Index.Name == p.name
}

type replayPair struct {
	*generation.Data
	snapshots generation.Snapshots
	name      string
	out       bool
}

// readNewest reads what is to be compared.
func (r *replayer) readNewest() error {
	r.rows, r.actions = map[cohort.Key]*replayRow{}, map[cohort.Version]*replayAction{}
	for _, p := range pairsOf(r.data, r.newest) {
		err := p.eachRow(func(c index.Content) {
			r.rows[c.Key] = &replayRow{at: c.Version, seq: c.Seq, stream: c.Stream, out: p.out, time: c.Time, row: sumOfRow(c), unsigned: c.Writer == ""}
		})
		if err != nil {
			return err
		}
		err = p.eachLine(func(s index.Snapshot) {
			if row := r.rows[s.Key]; row != nil {
				row.line = row.sumOfLine(s)
			}
		})
		if err != nil {
			return err
		}
	}
	for a, err := range r.data.Actions() {
		if err != nil {
			return err
		}
		r.actions[a.Version()] = &replayAction{Record: a}
	}
	return nil
}

func (p replayPair) eachRow(do func(index.Content)) error {
	var seqs []cohort.Seq
	for h, err := range p.Index.Identities() {
		if err != nil {
			return err
		}
		seqs = append(seqs, h.Seq)
	}
	slices.Sort(seqs)
	for c, err := range p.Index.Contents(seqs) {
		if err != nil {
			return err
		}
		do(c)
	}
	return nil
}

func (p replayPair) eachLine(do func(index.Snapshot)) error {
	for _, f := range p.snapshots {
		in, err := p.Snapshots(f)
		if err != nil {
			return err
		}
		for s, lerr := range index.Snapshots(in) {
			if err = lerr; err != nil {
				break
			}
			do(s)
		}
		in.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// generation compares an older generation with the newest one. Files that the newest generation names as well, or one that was compared
// already, prove nothing more.
func (r *replayer) generation(m generation.Manifest) error {
	fresh := slices.DeleteFunc(m.Files(), func(f generation.DataFile) bool { return r.read[f.Name] })
	if len(fresh) == 0 {
		return nil
	}
	for _, f := range fresh {
		if err := r.CheckFile(f); err != nil {
			return r.unread(r.Root.Data(f.Name), err)
		}
	}
	d, err := r.Data(m)
	if errors.Is(err, generation.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for _, p := range pairsOf(d, m) {
		if r.read[p.name] {
			continue
		}
		r.out.Oldest = cmp.Or(r.out.Oldest, m.Generation)
		err := r.pair(p, m)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, generation.ErrConflict) {
			return nil // swept
		}
		if err != nil {
			return err
		}
	}
	if m.Withdrawn != nil && !r.read[m.Withdrawn.Actions.Name] {
		r.out.Oldest = cmp.Or(r.out.Oldest, m.Generation)
		for a, err := range d.Actions() {
			if err != nil {
				return r.unread(r.Root.Data(m.Withdrawn.Actions.Name), err)
			}
			if known := r.actions[a.Version()]; known != nil {
				known.hasSource = true
				continue
			}
			r.differ(difference{path: r.Root.Manifest(r.newest.Generation), text: fmt.Sprintf("action %s (%v %q) of generation %d is not in force any more", a.ID, a.Action, a.RunID, m.Generation)})
		}
	}
	for _, f := range fresh {
		r.read[f.Name] = true
	}
	return nil
}

// pair compares one pair of files of an older generation. The last generation that names it tells the seqs that were free after it.
func (r *replayer) pair(p replayPair, m generation.Manifest) error {
	last := m
	for _, later := range r.before {
		if later.Generation > m.Generation && namesPair(later, p) {
			last = later
		}
	}
	from := fmt.Sprintf("generation %d", m.Generation)
	err := p.eachRow(func(c index.Content) {
		row := r.rows[c.Key]
		r.follows(row, c.Identity, p.out, last)
		if row == nil {
			return
		}
		row.same = 0
		if isSame(row.at, c.Version) && (row.at.Stamp == c.Version.Stamp || row.stream == c.Stream) {
			row.same, row.inOlder = m.Generation, true
			r.compare(c, row, from)
		}
	})
	if err != nil {
		return err
	}
	return p.eachLine(func(s index.Snapshot) {
		if row := r.rows[s.Key]; row != nil && row.same == m.Generation {
			r.compareLine(s, row, from)
		}
	})
}

// isSame tells whether two rows are one write, so that they must have the same content, as long as one stream holds it: where another write
// was between, it was appended again elsewhere, and the row is that of the repeat. An older program kept no digest of it.
func isSame(a, b cohort.Version) bool {
	return a.RecordID == b.RecordID && a.Digest == b.Digest && (a.Digest != 0 || a.Stamp == b.Stamp)
}

// follows checks that a row of an older generation still stands, or gave way to a later write, and that its seq did not go back.
func (r *replayer) follows(row *replayRow, was index.Identity, wasOut bool, m generation.Manifest) {
	path := r.Root.Data(r.newest.Index.Name)
	say := func(d difference) {
		if !r.told[was.Key] {
			r.told[was.Key] = true // one of the older generations says it
			r.differ(d)
		}
	}
	switch {
	case row == nil:
		say(difference{path: path, text: fmt.Sprintf("row %q of generation %d is not there any more, and nothing stands in its place", was.Key, m.Generation)})
	case row.at.Compare(was.Version) < 0 && !row.at.SameWrite(was.Version):
		say(difference{path: r.pathOf(row), text: fmt.Sprintf("row %q is an older write than that of generation %d", was.Key, m.Generation)})
	case row.at.Stamp < cohort.FirstClockStamp: // an import gives seqs of its own
	case row.seq == was.Seq && row.out == wasOut && row.at.SameWrite(was.Version):
	case row.seq < m.NextSeq:
		say(difference{path: r.pathOf(row), text: fmt.Sprintf("row %q has changed since generation %d and has snapshot_seq %d: it must be %d or above", was.Key, m.Generation, row.seq, m.NextSeq)})
	}
}

// compare compares the row of the newest generation with what it should be.
func (r *replayer) compare(should index.Content, row *replayRow, from string) {
	if sumOfRow(should) != row.row {
		r.differ(difference{key: should.Key, row: should, from: from, path: r.pathOf(row), out: row.out})
	}
}

func (r *replayer) compareLine(should index.Snapshot, row *replayRow, from string) {
	if row.sumOfLine(should) != row.line {
		r.differ(difference{key: should.Key, value: should.Value, from: from, line: true, out: row.out})
	}
}
