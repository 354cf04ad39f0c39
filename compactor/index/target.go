package index

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/runfold/runfold/cohort"
)

// Target is where Merge and MergeSnapshots write a file. The file is divided into sections, which begin at multiples of Align. A later file can
// take over those in which nothing changes: as bytes, or, where the file system can do that, as blocks that both files share.
//
// Any other io.Writer gets the same bytes, and nothing is taken over.
type Target interface {
	io.Writer
	// Cut ends a section: rows is how many rows begin in it, and first is the seq of the first. A section of 0 rows holds what is between.
	Cut(rows int64, first cohort.Seq)
	// Takes tells whether bytes of the old file are whole sections of it, which Take can append.
	Takes(from, size int64) bool
	// Take appends whole sections of the old file. They keep their rows.
	Take(from, size int64) error
	// Sizes says how large parts become.
	Sizes() Sizes
}

// Sizes bounds the parts of files. Where one is 0, it is that of every file outside of tests.
type Sizes struct {
	// GroupRows and GroupBytes bound a row group: GroupBytes are those that its rows take in memory before they are encoded.
	GroupRows, GroupBytes int64
	// Lines is the size in bytes from which on a section of a snapshots file ends with the next line.
	Lines int64
}

func (s Sizes) group() groupSize {
	return groupSize{cmp.Or(s.GroupRows, fullGroup.rows), cmp.Or(s.GroupBytes, fullGroup.bytes)}
}

func (s Sizes) lines() int64 { return cmp.Or(s.Lines, sectionBytes) }

// Align is where sections begin: a multiple of it. Part of the format, do not change.
const Align = 4096

// aligned is the first multiple of Align from an offset on.
func aligned(offset int64) int64 { return (offset + Align - 1) / Align * Align }

// whole is a Target that takes nothing over.
type whole struct{ io.Writer }

func (whole) Cut(int64, cohort.Seq)   {}
func (whole) Takes(int64, int64) bool { return false }
func (whole) Sizes() Sizes            { return Sizes{} }
func (whole) Take(int64, int64) error { return errors.New("nothing can be taken over") }

func targetOf(w io.Writer) Target {
	if t, ok := w.(Target); ok {
		return t
	}
	return whole{w}
}

// sink is the destination of an index. The library writes row groups to it, one after the other, and believes that they follow each other
// without a gap. Its footer would say so, too: it is kept apart, and splice writes another one.
type sink struct {
	to      Target
	pos     int64 // in the file
	library int64 // how many bytes the library believes it has written

	group   *section // the row group that the library writes; nil between two
	filters filterFinder
	footer  *bytes.Buffer // what the library writes after the last group; nil before
	began   int64         // where footer begins, as the library believes
}

// section is a part of the file that Cut has not ended.
type section struct {
	rows  int64
	first cohort.Seq
}

const magic = "PAR1"

// head writes what stands before the first row group.
func (s *sink) head() error {
	if err := s.put([]byte(magic)); err != nil {
		return err
	}
	if err := s.pad(); err != nil {
		return err
	}
	s.to.Cut(0, 0)
	return nil
}

// pad writes zeros up to where a section may begin.
func (s *sink) pad() error { return s.put(make([]byte, aligned(s.pos)-s.pos)) }

func (s *sink) put(p []byte) (err error) {
	defer guardWriting(&err)
	n, err := s.to.Write(p)
	s.pos += int64(n)
	if err != nil {
		err = &ioError{err}
	}
	return err
}

// begin is called before the library writes a row group. The result is how much later it lies in the file than the library believes.
func (s *sink) begin(rows int64, first cohort.Seq) (shift int64) {
	s.group = &section{rows, first}
	return s.pos - max(s.library, int64(len(magic)))
}

// end is called after the library has written a row group.
func (s *sink) end() error {
	if s.group != nil { // no filter was seen
		return internal("a row group has no bloom filter")
	}
	if err := s.pad(); err != nil {
		return err
	}
	s.to.Cut(0, 0)
	return nil
}

// Write takes what the library writes. The bits of the filters are a section of their own: a fold may need them of a row group that it
// takes over without reading it.
func (s *sink) Write(p []byte) (int, error) {
	begins := s.library == 0 && string(p) == magic // it stands in the file already
	s.library += int64(len(p))
	switch {
	case begins:
	case s.footer != nil:
		s.footer.Write(p)
	default:
		if s.filters.isFilter(p) {
			if s.group != nil {
				s.to.Cut(s.group.rows, s.group.first)
				s.group = nil
			}
			if highByteFirst {
				p = bytes.Clone(p) // the library's own memory
				swapWords(p)
			}
		}
		if err := s.put(p); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// keepFooter is called before the library writes its footer.
func (s *sink) keepFooter() { s.footer, s.began = new(bytes.Buffer), max(s.library, int64(len(magic))) }

// kept is what the library wrote after the last row group, at an offset that it believes in.
func (s *sink) kept(offset int64, length int32) ([]byte, error) {
	from := offset - s.began
	if from < 0 || from+int64(length) > int64(s.footer.Len()) {
		return nil, internal("page index of %d bytes at %d is not where it was written", length, offset)
	}
	return s.footer.Bytes()[from : from+int64(length)], nil
}

// take appends row groups of the old file.
func (s *sink) take(from, size int64) error {
	if err := s.to.Take(from, size); err != nil {
		return fmt.Errorf("take over %d bytes at %d: %w", size, from, err)
	}
	s.pos += size
	return nil
}
