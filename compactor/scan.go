package compactor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// batch is what one scan found: at most the byte budget of new records, and how far each stream has
// been read with them.
type batch struct {
	records []cohort.Record
	marks   []Watermark // of every stream on the disk, sorted by name
	dead    []place     // streams whose writer has ended without a seal
	moved   bool        // a watermark moved
	full    bool        // the budget ended the scan: there is more
	damage  int
	skipped int

	now  cohort.Stamp // the file system's time; 0: not known
	left int64        // of the byte budget
}

// recordOverhead is what a record in memory takes besides its JSON, roughly.
const recordOverhead = 400

// place is where a stream lies: in its cohort, or in reaped/ on its way out.
type place struct {
	journal.Stream
	dir    string
	reaped bool
}

// places lists all streams, oldest first. Those in reaped/ are read like the others: what was folded from them may
// have to be folded again, and who was taken for dead may have gone on writing (R5).
func (f *folder) places() (all []place, unknown []string, err error) {
	streams, unknown, err := journal.Streams(f.FS, f.Root)
	if err != nil && len(streams) == 0 {
		return nil, unknown, err
	}
	reaped, strange, rerr := journal.StreamsIn(f.FS, f.Root.ReapedDir())
	seen := make(map[journal.Stream]bool, len(reaped))
	for _, s := range reaped {
		seen[s] = true
		all = append(all, place{s, f.Root.Reaped(s.Cohort, s.ID), true})
	}
	for _, s := range streams {
		dir := f.Root.Stream(s.Cohort, s.ID)
		if seen[s] { // moved between the two listings, or brought back by somebody
			if _, err := f.FS.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			all = slices.DeleteFunc(all, func(p place) bool { return p.Stream == s })
		}
		all = append(all, place{s, dir, false})
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Cohort, b.Cohort))
	})
	return all, append(unknown, strange...), errors.Join(err, rerr)
}

// scan reads the streams behind their watermarks, oldest stream first, until the budget is read.
// A stream that is gone loses its watermark; should it come back (a stale listing), it is read again
// from its start, and every record of it is a duplicate or superseded.
func (f *folder) scan(ctx context.Context, prev head) (batch, error) {
	streams, unknown, err := f.places()
	if err != nil && len(streams) == 0 {
		return batch{}, err
	}
	for _, path := range unknown {
		f.once(Unknown{f.Root.Rel(path)})
	}
	marks := make(map[journal.Stream]Watermark, len(prev.Streams))
	for _, m := range prev.Streams {
		marks[m.Stream] = m
	}
	b := batch{marks: make([]Watermark, 0, len(streams)), now: f.now(prev), left: f.BatchBytes}
	if err != nil {
		f.skip(journal.Stream{}, err, &b)
	}
	for _, s := range streams {
		m := marks[s.Stream]
		m.Stream = s.Stream
		if !m.Sealed && b.left > 0 {
			if err := ctx.Err(); err != nil {
				return batch{}, err
			}
			if err := f.read(s, &m, &b); err != nil {
				return batch{}, err
			}
		}
		b.marks = append(b.marks, m)
	}
	b.full = b.left <= 0
	slices.SortFunc(b.marks, func(a, b Watermark) int {
		return strings.Compare(a.Stream.String(), b.Stream.String())
	})
	return b, nil
}

// read appends the new records of one stream to b and moves its watermark m behind them. What is
// wrong with one stream is noted and never stops the others; the error is that of keeping damage.
func (f *folder) read(p place, m *Watermark, b *batch) error {
	r, err := f.open(p, m.Position)
	switch {
	case errors.Is(err, fs.ErrNotExist) && p.reaped: // it never had a segment, or is half deleted
		return f.atEnd(p, *m, m, m.Torn, b)
	case errors.Is(err, fs.ErrNotExist):
		return nil // swept by another compactor since the listing
	}
	if err != nil {
		f.skip(p.Stream, err, b)
		return nil
	}
	defer r.Close()
	old := *m
	for b.left > 0 {
		rec, err := r.Next()
		m.Position = r.Position()
		b.moved = b.moved || m.Position != old.Position
		var damage *journal.CorruptError
		switch {
		case errors.As(err, &damage):
			if err := f.quarantine(p.Stream, damage); err != nil {
				return err
			}
			m.Damaged = true
			b.damage++
		case errors.Is(err, io.EOF):
			return f.atEnd(p, old, m, r.Torn(), b)
		case err != nil:
			f.skip(p.Stream, err, b)
			return nil
		default:
			b.records = append(b.records, rec)
			b.left -= int64(len(rec.JSON)) + recordOverhead
		}
	}
	return nil
}

// open opens a stream of this root where it lies. In reaped/ one without a segment is fs.ErrNotExist.
func (f *folder) open(p place, from journal.Position) (*journal.Reader, error) {
	path := cohort.SegmentIn(p.dir)
	if p.reaped {
		if _, err := f.FS.Stat(path); err != nil {
			return nil, err
		}
	}
	r, err := journal.OpenSegment(f.FS, f.Root, path, p.Stream, from)
	if err != nil {
		return nil, err
	}
	r.InRoot(f.settings.RootID)
	if p.reaped {
		r.Dead()
	}
	return r, nil
}

func (f *folder) skip(s journal.Stream, err error, b *batch) {
	b.skipped++
	f.notify(SkippedStream{s, err})
}

// maxKept bounds the bytes that a note about damage repeats. The stream itself goes to quarantine/ too.
const maxKept = 1 << 20

// damageNote is a file under quarantine/: the smallest unit that could not be read.
type damageNote struct {
	Version int    `json:"version"`
	Path    string `json:"path"` // of the segment, relative to the root
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`
	Reason  string `json:"reason"`
	Bytes   []byte `json:"bytes_base64"` // the first maxKept of them
}

// quarantine keeps damaged bytes before any watermark passes them, and tells of them.
func (f *folder) quarantine(s journal.Stream, damage *journal.CorruptError) error {
	kept, err := f.keep(s, damage)
	if err != nil {
		return err
	}
	f.notify(DamagedBytes{f.Root.Rel(damage.Path), damage.Offset, damage.Length, damage.Err.Error(), f.Root.Rel(kept)})
	return nil
}

// keep writes a note of damaged bytes, their place and the reason. Keeping the same again (after a fold that
// did not commit) changes nothing.
func (f *folder) keep(s journal.Stream, damage *journal.CorruptError) (kept string, err error) {
	bytes, err := f.bytesAt(damage)
	if err != nil {
		return "", err
	}
	note := damageNote{1, f.Root.Rel(damage.Path), damage.Offset, damage.Length, damage.Err.Error(), bytes}
	data, err := json.MarshalIndent(note, "", " ")
	if err != nil {
		return "", fmt.Errorf("keep damage: %w", err)
	}
	if err := f.makeDir(f.Root.Quarantine(s.Cohort)); err != nil {
		return "", fmt.Errorf("keep damage: %w", err)
	}
	kept = f.Root.Damaged(s.Cohort, s.ID, damage.Offset)
	err = durable.Create(f.FS, kept, append(data, '\n'), f.settings.FileMode.FS())
	if errors.Is(err, fs.ErrExist) { // made by another compactor, which may not have synced the name yet
		err = f.FS.SyncDir(f.Root.Quarantine(s.Cohort))
	}
	if err != nil {
		return "", fmt.Errorf("keep damage: %w", err)
	}
	return kept, nil
}

func (f *folder) bytesAt(damage *journal.CorruptError) ([]byte, error) {
	file, err := f.FS.Open(damage.Path)
	if err != nil {
		return nil, fmt.Errorf("keep damage: %w", err)
	}
	defer file.Close()
	buf := make([]byte, min(max(damage.Length, 0), maxKept))
	n, err := file.ReadAt(buf, damage.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("keep damage: %w", err)
	}
	return buf[:n], nil
}
