package index

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// The frame of snapshot_index.json, one line per entry in seq order:
//
//	{
//	"RUN_ID:STAGE":{"run_id":"RUN_ID","stage":"STAGE","timestamp":"RFC 3339","snapshot_seq":1,...},
//	"RUN_ID:STAGE":{"run_id":"RUN_ID","stage":"STAGE","timestamp":"RFC 3339","snapshot_seq":2}
//	}
//
// Part of the format, do not change.
const (
	snapshotsHead = "{\n"
	snapshotsNext = ",\n"
	snapshotsTail = "}\n"
)

// Snapshot is one entry of snapshot_index.json.
type Snapshot struct {
	Key   cohort.Key
	Seq   cohort.Seq
	Value []byte
}

// OldSnapshots is the snapshot_index.json from which the next one is made.
type OldSnapshots struct {
	R    io.Reader
	Size int64 // how many bytes R has
	Rows int64 // how many entries
	// Next is a seq above all of theirs. If zero, no such seq is known.
	Next cohort.Seq
}

// MergeSnapshots writes a whole new snapshot_index.json to w: the lines of old whose key is not
// replaced, and puts, all in seq order. old may be nil. puts must be sorted by seq. It returns the number
// of entries.
//
// If all puts are above old.Next, as in a fold, old lines are copied as bytes: in one piece if
// nothing is replaced, else line by line, and only the key of a line is read. Then the caller must
// compare the checksum of what was read, to be sure that old is a file of ours. Else the part of each line that we wrote, which
// is before the user's members, is checked, and a line in another form is ErrDamaged. Memory is bounded by the
// longest line.
func MergeSnapshots(w io.Writer, old *OldSnapshots, puts []Put, load Load, replaced map[cohort.Key]bool) (entries int64, err error) {
	return MergeMovedSnapshots(w, old, puts, MovedLines{}, load, replaced)
}

// MergeMovedSnapshots is MergeSnapshots with lines that come from another file. The keys that leave old are among the replaced ones.
func MergeMovedSnapshots(w io.Writer, old *OldSnapshots, puts []Put, moved MovedLines, load Load, replaced map[cohort.Key]bool) (entries int64, err error) {
	out := snapshotsWriter{w: w}
	switch {
	case old == nil:
	case old.Next == 0 || len(puts) > 0 && puts[0].Seq < old.Next:
		puts, err = out.interleave(old, puts, load, replaced)
	case len(replaced) == 0:
		err = out.copyWhole(old)
	default:
		err = out.copyOthers(old, replaced)
	}
	for i := 0; i < len(puts) && err == nil; i++ {
		err = out.put(puts[i], load)
	}
	if err == nil {
		err = out.move(moved)
	}
	if err != nil {
		return 0, err
	}
	return out.close()
}

// snapshotsWriter writes lines. It keeps its first error.
type snapshotsWriter struct {
	w   io.Writer
	n   int64
	seq cohort.Seq
	err error
	buf []byte
}

// interleave writes old lines and the puts that lie between them. It returns the puts that are left.
func (s *snapshotsWriter) interleave(old *OldSnapshots, puts []Put, load Load, replaced map[cohort.Key]bool) ([]Put, error) {
	lines := newLineReader(old.R)
	for {
		l, err := lines.next()
		if errors.Is(err, io.EOF) {
			return puts, nil
		}
		for err == nil && len(puts) > 0 && puts[0].Seq < l.seq {
			err = s.put(puts[0], load)
			puts = puts[1:]
		}
		if err == nil && !replaced[l.key] {
			err = s.line(l.seq, l.text)
		}
		if err != nil {
			return nil, err
		}
	}
}

// copyWhole copies all bytes between the first and the last line of the file.
func (s *snapshotsWriter) copyWhole(old *OldSnapshots) error {
	if old.Rows == 0 {
		return nil
	}
	body := old.Size - int64(len(snapshotsHead)+len("\n"+snapshotsTail))
	if err := expect(old.R, snapshotsHead); err != nil {
		return err
	}
	s.write([]byte(snapshotsHead))
	if s.err != nil {
		return s.err
	}
	if n, err := io.CopyN(s.w, old.R, body); err != nil {
		return fmt.Errorf("copy snapshots, %d of %d bytes: %w", n, body, err)
	}
	s.n, s.seq = old.Rows, old.Next-1
	return expect(old.R, "\n"+snapshotsTail)
}

// expect reads text.
func expect(r io.Reader, text string) error {
	got := make([]byte, len(text))
	if _, err := io.ReadFull(r, got); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	if string(got) != text {
		return damaged("snapshots: has %q in the place of %q", got, text)
	}
	return nil
}

// copyOthers copies the lines whose key is not replaced.
func (s *snapshotsWriter) copyOthers(old *OldSnapshots, replaced map[cohort.Key]bool) error {
	gone := make(map[string]bool, len(replaced))
	for key := range replaced {
		gone[string(jsonscan.Quote(string(key)))] = true
	}
	lines := newLineReader(old.R)
	for {
		text, err := lines.body()
		if errors.Is(err, io.EOF) {
			s.seq = old.Next - 1
			return nil
		}
		if err != nil {
			return err
		}
		end := quotedEnd(text)
		if end < 0 {
			return lines.damaged("no key")
		}
		if !gone[string(text[:end])] {
			s.text(text)
		}
		if s.err != nil {
			return s.err
		}
	}
}

func (s *snapshotsWriter) put(p Put, load Load) error {
	r, err := p.record(load)
	if err != nil {
		return fmt.Errorf("put %q: %w", p.Key, err)
	}
	s.buf = appendSnapshotLine(s.buf[:0], p, r)
	return s.line(p.Seq, s.buf)
}

func (s *snapshotsWriter) line(seq cohort.Seq, text []byte) error {
	if s.err == nil && seq <= s.seq {
		s.err = fmt.Errorf("snapshot_seq %d follows %d", seq, s.seq)
	}
	s.text(text)
	s.seq = seq
	return s.err
}

func (s *snapshotsWriter) text(text []byte) {
	sep := snapshotsNext
	if s.n == 0 {
		sep = snapshotsHead
	}
	s.write([]byte(sep))
	s.write(text)
	s.n++
}

func (s *snapshotsWriter) write(p []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(p)
	}
}

func (s *snapshotsWriter) close() (entries int64, err error) {
	if s.n == 0 {
		s.write([]byte(snapshotsHead))
	} else {
		s.write([]byte("\n"))
	}
	s.write([]byte(snapshotsTail))
	return s.n, s.err
}

// appendSnapshotLine appends the line of a put, without the separator between lines. After the four fields that we own it has
// the members of the record's snapshot, or of the record if it has no snapshot, with the
// user's bytes: no number is decoded and encoded again.
func appendSnapshotLine(b []byte, p Put, r cohort.Record) []byte {
	b = append(jsonscan.AppendQuote(b, string(p.Key)), `:{"run_id":`...)
	b = append(jsonscan.AppendQuote(b, r.RunID), `,"stage":`...)
	b = append(jsonscan.AppendQuote(b, r.Stage), `,`...)
	known := r.TimeText()
	if known != "" {
		b = append(jsonscan.AppendQuote(append(b, `"timestamp":`...), known), ',')
	}
	b = append(b, `"snapshot_seq":`...)
	b = strconv.AppendUint(b, uint64(p.Seq), 10)
	for m := range jsonscan.EachMember(snapshotOf(r)) {
		switch string(m.Name) {
		case "run_id", "stage", "snapshot_seq":
			continue
		case "timestamp":
			if known != "" {
				continue
			}
		}
		b = append(append(b, ','), m.Text...)
	}
	return append(b, '}')
}

// snapshotOf is the object from which the value is made.
func snapshotOf(r cohort.Record) []byte {
	obj := r.JSON
	for name, value := range r.Members {
		if string(name) != snapshotMember {
			continue
		}
		if obj = r.JSON; jsonscan.KindOf(value) == jsonscan.Object {
			obj = value
		}
	}
	return obj
}
