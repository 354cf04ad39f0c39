package compactor

import (
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
	moved   bool        // a watermark moved
	full    bool        // the budget ended the scan: there is more
	damage  int
	skipped int
}

// recordOverhead is what a record in memory takes besides its JSON, roughly.
const recordOverhead = 400

// scan reads the streams behind their watermarks, oldest stream first, until budget bytes are read.
// A stream that is gone loses its watermark; should it come back (a stale listing), it is read again
// from its start, and every record of it is a duplicate or superseded.
func (f *folder) scan(ctx context.Context, old []Watermark) (batch, error) {
	streams, unknown, err := journal.Streams(f.FS, f.Root)
	if err != nil && len(streams) == 0 {
		return batch{}, err
	}
	for _, path := range unknown {
		f.once(Unknown{f.Root.Rel(path)})
	}
	marks := make(map[journal.Stream]Watermark, len(old))
	for _, m := range old {
		marks[m.Stream] = m
	}
	b := batch{marks: make([]Watermark, 0, len(streams))}
	if err != nil {
		f.skip(journal.Stream{}, err, &b)
	}
	left := f.BatchBytes
	for _, s := range streams {
		m := marks[s]
		m.Stream = s
		if !m.Sealed && left > 0 {
			if err := ctx.Err(); err != nil {
				return batch{}, err
			}
			if err := f.read(&m, &b, &left); err != nil {
				return batch{}, err
			}
		}
		b.marks = append(b.marks, m)
	}
	b.full = left <= 0
	slices.SortFunc(b.marks, func(a, b Watermark) int {
		return strings.Compare(a.Stream.String(), b.Stream.String())
	})
	return b, nil
}

// read appends the new records of one stream to b and moves its watermark m behind them. What is
// wrong with one stream is noted and never stops the others; the error is that of keeping damage.
func (f *folder) read(m *Watermark, b *batch, left *int64) error {
	r, err := f.open(m.Stream, m.Position)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // swept by another compactor since the listing
	}
	if err != nil {
		f.skip(m.Stream, err, b)
		return nil
	}
	defer r.Close()
	for *left > 0 {
		rec, err := r.Next()
		var damage *journal.CorruptError
		switch {
		case errors.As(err, &damage):
			if err := f.quarantine(m.Stream, damage); err != nil {
				return err
			}
			m.Damaged = true
			b.damage++
		case errors.Is(err, io.EOF):
			b.moved = b.moved || m.Position != r.Position()
			m.Position = r.Position()
			return nil
		case err != nil:
			f.skip(m.Stream, err, b)
			return nil
		default:
			b.records = append(b.records, rec)
			*left -= int64(len(rec.JSON)) + recordOverhead
		}
		b.moved = b.moved || m.Position != r.Position()
		m.Position = r.Position()
	}
	return nil
}

// open opens a stream of this root.
func (f *folder) open(s journal.Stream, from journal.Position) (*journal.Reader, error) {
	r, err := journal.Open(f.FS, f.Root, s, from)
	if err == nil {
		r.InRoot(f.settings.RootID)
	}
	return r, err
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

// quarantine keeps damaged bytes, their place and the reason before any watermark passes them.
// Finding the same damage again (a fold that did not commit) changes nothing.
func (f *folder) quarantine(s journal.Stream, damage *journal.CorruptError) error {
	bytes, err := f.bytesAt(damage)
	if err != nil {
		return err
	}
	note := damageNote{1, f.Root.Rel(damage.Path), damage.Offset, damage.Length, damage.Err.Error(), bytes}
	data, err := json.MarshalIndent(note, "", " ")
	if err != nil {
		return fmt.Errorf("keep damage: %w", err)
	}
	if err := durable.MkdirAll(f.FS, f.Root.Quarantine(s.Cohort), f.settings.DirMode.FS()); err != nil {
		return fmt.Errorf("keep damage: %w", err)
	}
	kept := f.Root.Damaged(s.Cohort, s.ID, damage.Offset)
	err = durable.Create(f.FS, kept, append(data, '\n'), f.settings.FileMode.FS())
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep damage: %w", err)
	}
	f.notify(DamagedBytes{note.Path, note.Offset, note.Length, note.Reason, f.Root.Rel(kept)})
	return nil
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
