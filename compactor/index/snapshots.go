package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/runfold/runfold/cohort"
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

// MergeSnapshots writes a whole new snapshot_index.json to w: the lines of old whose key is not
// replaced, and puts, all in seq order. old may be nil. puts must be sorted by seq; usually all are
// above those of old, but they may lie between. It returns the number of entries.
//
// Old lines are copied as bytes; only what we wrote in front of the user's members is looked at. An
// old file that is not one of ours, or not a whole one, is ErrDamaged. Memory is bounded by the
// longest line.
func MergeSnapshots(w io.Writer, old io.Reader, puts []Put, replaced func(cohort.Key) bool) (entries int64, err error) {
	out := snapshotsWriter{w: w}
	if old != nil {
		lines := newLineReader(old)
		for {
			l, err := lines.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return 0, err
			}
			for len(puts) > 0 && puts[0].Seq < l.seq {
				out.put(puts[0])
				puts = puts[1:]
			}
			if !replaced(l.key) {
				out.line(l.seq, l.text)
			}
			if out.err != nil {
				return 0, out.err
			}
		}
	}
	for _, p := range puts {
		out.put(p)
	}
	return out.close()
}

// snapshotsWriter writes lines. It keeps its first error.
type snapshotsWriter struct {
	w   io.Writer
	n   int64
	seq cohort.Seq
	err error
}

func (s *snapshotsWriter) put(p Put) {
	if s.err == nil {
		s.line(p.Seq, snapshotLine(p))
	}
}

func (s *snapshotsWriter) line(seq cohort.Seq, text []byte) {
	if s.err == nil && seq <= s.seq {
		s.err = fmt.Errorf("snapshot_seq %d follows %d", seq, s.seq)
	}
	sep := snapshotsNext
	if s.n == 0 {
		sep = snapshotsHead
	}
	s.write([]byte(sep))
	s.write(text)
	s.n, s.seq = s.n+1, seq
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

// snapshotLine is the line of a put, without what separates it from others. The members of the
// record's snapshot, or of the record if it has none, follow the four fields that we own with their
// own bytes: no number is read and written again.
func snapshotLine(p Put) []byte {
	r := p.Record
	b := append(cohort.Quote(string(p.Key)), `:{"run_id":`...)
	b = append(append(b, cohort.Quote(r.RunID)...), `,"stage":`...)
	b = append(append(b, cohort.Quote(r.Stage)...), `,"timestamp":`...)
	b = append(append(b, cohort.Quote(r.TimeText())...), `,"snapshot_seq":`...)
	b = strconv.AppendUint(b, uint64(p.Seq), 10)
	for name, text := range rawMembers(snapshotOf(r)) {
		switch name {
		case "run_id", "stage", "timestamp", "snapshot_seq":
		default:
			b = append(append(b, ','), text...)
		}
	}
	return append(b, '}')
}

// snapshotOf is the object that the value is made of.
func snapshotOf(r cohort.Record) []byte {
	obj := r.JSON
	for name, value := range cohort.Members(r.JSON) {
		if name != snapshotMember {
			continue
		}
		if obj = r.JSON; cohort.KindOf(value) == cohort.Object {
			obj = value
		}
	}
	return obj
}

// rawMembers yields the decoded name of each member and all its bytes: `"name": value`. A name may be
// written with escapes that have no other spelling, so it is not written again either.
func rawMembers(obj []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		rest := obj
		for name, value := range cohort.Members(obj) {
			start := bytes.IndexByte(rest, '"')
			end := start + 1
			for ; rest[end] != '"'; end++ {
				if rest[end] == '\\' {
					end++
				}
			}
			end += bytes.IndexByte(rest[end:], ':') + 1
			end += len(rest[end:]) - len(bytes.TrimLeft(rest[end:], " \t\r\n")) + len(value)
			if !yield(name, rest[start:end]) {
				return
			}
			rest = rest[end:]
		}
	}
}
