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
// Spaces may stand after the first "{" and before a comma: the next line begins at a multiple of Align, where a section begins.
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
	R    io.ReaderAt
	Size int64 // how many bytes R has
	// Next is a seq above all of theirs. If zero, no such seq is known.
	Next cohort.Seq
	// Sections are all of it; nil: not known, so all lines are read.
	Sections []LineSection
}

// LineSection is a part of a snapshots file that begins at a multiple of Align, with the beginning of a line.
type LineSection struct {
	From, Size, Rows int64
	First            cohort.Seq // of its first entry; sections without entries have that of the next one
}

// MergeSnapshots writes a whole new snapshot_index.json to w: the lines of old whose key is not
// replaced, and puts, all in seq order. old may be nil. puts must be sorted by seq. replaced are the keys of old lines that go, with
// their seqs. It returns the number of entries.
//
// If all puts are above old.Next, as in a fold, only the key of an old line is read. Then the caller must
// compare the checksum of what was read, to be sure that old is a file of ours. Where w is a Target, sections in which no line is
// replaced are taken over, and nothing of them is read here. Else the part of each line that we wrote, which
// is before the user's members, is checked, and a line in another form is ErrDamaged. Memory is bounded by the
// longest line.
func MergeSnapshots(w io.Writer, old *OldSnapshots, puts []Put, load Load, replaced map[cohort.Key]cohort.Seq) (entries int64, err error) {
	return MergeMovedSnapshots(w, old, puts, MovedLines{}, load, replaced)
}

// MergeMovedSnapshots is MergeSnapshots with lines that come from another file. The keys that leave old are among the replaced ones.
func MergeMovedSnapshots(w io.Writer, old *OldSnapshots, puts []Put, moved MovedLines, load Load, replaced map[cohort.Key]cohort.Seq) (entries int64, err error) {
	to := targetOf(w)
	out := linesWriter{to: to, full: to.Sizes().lines()}
	switch {
	case old == nil:
	case old.Next == 0 || len(puts) > 0 && puts[0].Seq < old.Next:
		puts, err = out.interleave(old, puts, load, replaced)
	default:
		err = out.keep(old, replaced)
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

// interleave writes old lines and the puts that lie between them. It returns the puts that are left.
func (s *linesWriter) interleave(old *OldSnapshots, puts []Put, load Load, replaced map[cohort.Key]cohort.Seq) ([]Put, error) {
	lines := newLineReader(io.NewSectionReader(old.R, 0, old.Size))
	for {
		l, err := lines.next()
		if errors.Is(err, io.EOF) {
			return puts, nil
		}
		for err == nil && len(puts) > 0 && puts[0].Seq < l.seq {
			err = s.put(puts[0], load)
			puts = puts[1:]
		}
		if _, gone := replaced[l.key]; err == nil && !gone {
			err = s.line(l.seq, l.text)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (s *linesWriter) put(p Put, load Load) error {
	r, err := p.record(load)
	if err != nil {
		return fmt.Errorf("put %q: %w", p.Key, err)
	}
	s.buf = appendSnapshotLine(s.buf[:0], p, r)
	return s.line(p.Seq, s.buf)
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
