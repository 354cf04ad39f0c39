package generation

import (
	"cmp"
	"hash/crc32"
	"io"
	"sort"
	"sync"

	"github.com/runfold/runfold/internal/durable"
)

// summed is a data file that is read to make the next one. It keeps the checksums of what is read, section by section. A section grows when the
// file is read in order. Any number of calls may run at once.
type summed struct {
	r    durable.ReadFile
	path string

	mu    sync.Mutex
	parts []sum
}

// sum is the checksum of a section, of what was read of it until now.
type sum struct {
	Section
	from, to int64
	n        int64 // where in the file the summed bytes end
	crc      uint32
	touched  bool // a part of it was read
	shared   bool // a new file has the same bytes from another file
}

func newSummed(r durable.ReadFile, path string, d DataFile) *summed {
	s := &summed{r: r, path: path}
	at := int64(0)
	for _, p := range d.parts() {
		s.parts = append(s.parts, sum{Section: p, from: at, to: at + p.Size, n: at})
		at += p.Size
	}
	return s
}

// summedGap is the largest gap that ReadAt reads by itself, so that what is summed has no gap.
const summedGap = 64 << 10

func (s *summed) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(p, off)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := s.at(off); i < len(s.parts) && s.parts[i].from < off+int64(n); i++ {
		part := &s.parts[i]
		part.touched = true
		if part.n < off && off-part.n <= summedGap {
			s.readTo(part, off) // an error is dropped: check tries again
		}
		if end := min(off+int64(n), part.to); part.n >= off && part.n < end {
			part.add(p[part.n-off : end-off])
		}
	}
	return n, err
}

// at is the number of the section in which an offset lies.
func (s *summed) at(off int64) int {
	return sort.Search(len(s.parts), func(i int) bool { return s.parts[i].to > off })
}

func (p *sum) add(b []byte) {
	p.crc = crc32.Update(p.crc, castagnoli, b)
	p.n += int64(len(b))
}

// readTo reads what is not summed yet before end. It is called under mu.
func (s *summed) readTo(part *sum, end int64) error {
	if part.n >= end {
		return nil
	}
	buf := make([]byte, min(end-part.n, writeBytes))
	for part.n < end {
		b := buf[:min(end-part.n, writeBytes)]
		if n, err := s.r.ReadAt(b, part.n); n < len(b) {
			return cmp.Or(err, io.ErrUnexpectedEOF)
		}
		part.add(b)
	}
	return nil
}

// sections are the numbers of the sections that are all of these bytes; none if they are not whole sections.
func (s *summed) sections(from, size int64) (first, end int) {
	first = s.at(from)
	for end = first; end < len(s.parts) && s.parts[end].to < from+size; end++ {
	}
	if end == len(s.parts) || s.parts[first].from != from || s.parts[end].to != from+size {
		return 0, 0
	}
	return first, end + 1
}

// share notes that a new file has a section, and not from here.
func (s *summed) share(section int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[section].shared = true
}

// check reads the rest of each section that the new file stands on, and compares its checksum: all that is fresh, and all of which a part was read.
// Rows that the new file has from another file need not be compared. What was read of those are pages, which have
// checksums of their own.
func (s *summed) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.parts {
		p := &s.parts[i]
		if must := p.Fresh || p.touched && !(p.shared && p.Rows > 0); !must {
			continue
		}
		if err := s.readTo(p, p.to); err != nil {
			return err
		}
		if CRC(p.crc) != p.CRC32C {
			return notCommitted(s.path)
		}
	}
	return nil
}

// Close closes the file.
func (s *summed) Close() error { return s.r.Close() }
