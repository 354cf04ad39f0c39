package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// sectionBytes is the size from which on a section of a snapshots file ends with the next line. A quarter of it is the size up to which
// a section does not stay alone: it is read with the next one if that is as small.
const sectionBytes int64 = 1 << 20

// linesWriter writes a snapshots file. It keeps its first error.
type linesWriter struct {
	to   Target
	full int64 // see Sizes.Lines
	n    int64 // lines
	seq  cohort.Seq
	err  error
	buf  []byte

	pos     int64 // in the file
	began   int64 // where the section begins that is being written
	rows    int64 // its lines
	first   cohort.Seq
	waiting *waiting // an old section that is taken over when it is known that a line follows
}

// waiting is an old section that stands next. Each line but the last has a comma, and an old section ends with one.
type waiting struct {
	old *OldSnapshots
	LineSection
}

// keep writes the old lines whose key is not replaced, whole sections at a time where that is possible.
func (s *linesWriter) keep(old *OldSnapshots, replaced map[cohort.Key]cohort.Seq) error {
	seqs := make([]cohort.Seq, 0, len(replaced))
	gone := make(map[string]bool, len(replaced))
	for key, seq := range replaced {
		seqs = append(seqs, seq)
		gone[string(jsonscan.Quote(string(key)))] = true
	}
	slices.Sort(seqs)
	if old.Sections == nil {
		return s.copyLines(old, LineSection{Size: old.Size, Rows: -1}, gone)
	}
	for i, sec := range old.Sections {
		if sec.Rows == 0 {
			continue // the head that some files have
		}
		next := old.Next
		if i+1 < len(old.Sections) {
			next = old.Sections[i+1].First
		}
		at, _ := slices.BinarySearch(seqs, sec.First)
		touched := at < len(seqs) && seqs[at] < next
		last := i+1 == len(old.Sections) // it has no comma at its end
		if !touched && !last && s.mayTake(sec) {
			s.await(old, sec)
		} else if err := s.copyLines(old, sec, gone); err != nil {
			return err
		}
		s.seq = next - 1
	}
	return s.err
}

// mayTake tells whether a section can be taken over, and should be.
func (s *linesWriter) mayTake(sec LineSection) bool {
	isFirst := s.pos == 0 && s.waiting == nil
	small := s.rows > 0 && s.pos-s.began < s.full/4 && sec.Size < s.full/4
	return (sec.From > 0 || isFirst) && !small && s.to.Takes(sec.From, sec.Size)
}

// await takes a section over as soon as another one or a line follows.
func (s *linesWriter) await(old *OldSnapshots, sec LineSection) {
	s.settle()
	if s.err == nil {
		s.waiting = &waiting{old, sec}
	}
}

// settle takes over the section that waits, because something follows it.
func (s *linesWriter) settle() {
	w := s.waiting
	if w == nil || s.err != nil {
		return
	}
	s.waiting = nil
	s.endSection(w.From > 0)
	if s.err != nil {
		return
	}
	if s.err = s.to.Take(w.From, w.Size); s.err != nil {
		s.err = fmt.Errorf("take over %d bytes of snapshots at %d: %w", w.Size, w.From, s.err)
		return
	}
	s.pos += w.Size
	s.began = s.pos
	s.n += w.Rows
}

// endSection ends the section that is being written, so that another one can follow. With head, a file that is empty yet gets a section without
// lines, because the first line of others does not begin with a brace.
func (s *linesWriter) endSection(head bool) {
	end := "\n"
	switch {
	case s.rows > 0:
		end = snapshotsNext
	case s.pos > 0 || !head:
		return // it is empty
	default:
		s.write([]byte("{"))
	}
	// The spaces stand before the comma: a program that takes the comma and the line feed away still has a member of an object.
	at := s.pos + int64(len(end))
	s.write(append(bytes.Repeat([]byte(" "), int(aligned(at)-at)), end...))
	s.cut()
}

func (s *linesWriter) cut() {
	if s.err == nil {
		s.to.Cut(s.rows, s.first)
	}
	s.began, s.rows = s.pos, 0
}

// copyLines copies the lines of a section whose key is not gone. Only the key of a line is read.
func (s *linesWriter) copyLines(old *OldSnapshots, sec LineSection, gone map[string]bool) error {
	lines := newLineReader(io.NewSectionReader(old.R, sec.From, sec.Size))
	if sec.From > 0 {
		lines.n, lines.more = 1, true // the head was passed over
	}
	seq := sec.First // of the section as a whole: those of the other lines are not read
	for n := int64(0); n != sec.Rows || sec.From+sec.Size == old.Size; n++ {
		text, err := lines.body()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		end := quotedEnd(text)
		if end < 0 {
			return lines.damaged("no key")
		}
		if gone[string(text[:end])] {
			continue
		}
		if s.rows == 0 || s.isFull() {
			l, ok := parseLine(text)
			if !ok {
				return lines.damaged("key and fields are not in the form that we write")
			}
			seq = l.seq
		}
		if s.text(seq, text); s.err != nil {
			return s.err
		}
	}
	s.seq = max(s.seq, seq)
	return nil
}

// isFull tells whether the next line begins a section.
func (s *linesWriter) isFull() bool { return s.waiting != nil || s.pos-s.began >= s.full }

// line writes an entry.
func (s *linesWriter) line(seq cohort.Seq, text []byte) error {
	if s.err == nil && seq <= s.seq {
		s.err = fmt.Errorf("snapshot_seq %d follows %d", seq, s.seq)
	}
	s.text(seq, text)
	s.seq = seq
	return s.err
}

// text writes a line. Its seq counts where it begins a section.
func (s *linesWriter) text(seq cohort.Seq, text []byte) {
	s.settle()
	switch {
	case s.pos == 0:
		s.write([]byte(snapshotsHead))
	case s.rows == 0: // what stands before ends with a comma
	case s.isFull():
		s.endSection(false)
	default:
		s.write([]byte(snapshotsNext))
	}
	if s.rows == 0 {
		s.first = seq
	}
	s.write(text)
	s.rows++
	s.n++
}

func (s *linesWriter) write(p []byte) {
	if s.err == nil {
		var n int
		n, s.err = s.to.Write(p)
		s.pos += int64(n)
	}
}

// close ends the file. A section that waits is the last one after all: its last line loses its comma.
func (s *linesWriter) close() (entries int64, err error) {
	if w := s.waiting; w != nil {
		s.waiting = nil
		s.endSection(w.From > 0)
		if err := s.copyLines(w.old, w.LineSection, nil); err != nil {
			return 0, err
		}
	}
	if s.n == 0 {
		s.write([]byte(snapshotsHead))
	} else {
		s.write([]byte("\n"))
	}
	s.write([]byte(snapshotsTail))
	s.cut()
	return s.n, s.err
}
