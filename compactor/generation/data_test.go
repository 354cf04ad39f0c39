package generation

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestSummed reads a file in pieces, in order and not, by several goroutines: the checksum is that of the file, and what was
// read in order is not read again.
func TestSummed(t *testing.T) {
	file := make([]byte, 1<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range file {
		file[i] = byte(rnd.Uint32())
	}
	want := CRC(crc32.Checksum(file, castagnoli))
	size := int64(len(file))

	in := &counted{r: bytes.NewReader(file)}
	s := &summed{r: in}
	read := func(from, n int64) {
		if got, err := s.ReadAt(make([]byte, n), from); err != nil || int64(got) != n {
			t.Errorf("ReadAt %d bytes from %d = %d, %v", n, from, got, err)
		}
	}
	read(size-100, 100) // as of a footer, before all else
	for at := int64(4); at < size-200; at += 4096 {
		read(at, min(4096, size-200-at))
	}
	if got, err := s.whole(size); err != nil || got != want {
		t.Errorf("whole = %v, %v, want %v", got, err, want)
	}
	if again := in.n - size; again > 8192 {
		t.Errorf("%d bytes were read twice", again)
	}

	s = &summed{r: bytes.NewReader(file)}
	var all sync.WaitGroup
	for seed := range uint64(4) {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 3))
			for range 200 {
				from := rnd.Int64N(size)
				s.ReadAt(make([]byte, rnd.Int64N(size/16)), from) // over the end, too
			}
		})
	}
	all.Wait()
	if got, err := s.whole(size); err != nil || got != want {
		t.Errorf("whole after reads here and there = %v, %v, want %v", got, err, want)
	}
	if _, err := s.whole(size + 1); err == nil {
		t.Error("whole of more than the file has is no error")
	}
}

// counted counts what is read.
type counted struct {
	r *bytes.Reader
	n int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}
