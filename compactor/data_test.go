package compactor

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/runfold/runfold/internal/durable"
)

// TestFoldOverFlips flips bytes of the index one at a time, wherever they lie: pages, filters, the page index, the footer.
// A fold that brings new records must not commit what came of it, whatever it met on the way.
func TestFoldOverFlips(t *testing.T) {
	root, h := planted(t)
	name := root.Data(h.Index.Name)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	step := 29
	if testing.Short() {
		step = 499
	}
	for i := 0; i < len(whole); i += step {
		change(t, name, func([]byte) []byte {
			b := bytes.Clone(whole)
			b[i] ^= 1 << (i % 8)
			return b
		})
		_, err := Fold(context.Background(), Config{Root: root, KeepAge: -1})
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name+": damaged: its bytes are not those that were committed") {
			t.Errorf("Fold over byte %d flipped = %v, want ErrCorrupt with the path and the reason", i, err)
		}
	}
	if gens, err := generations(durable.OS, root); err != nil || len(gens) != 2 {
		t.Errorf("generations %v, %v after folds that failed; want 2", gens, err)
	}
	if n := streamsLeft(t, root); n != 1 {
		t.Errorf("%d streams, want the one that was there", n)
	}
	change(t, name, func([]byte) []byte { return whole })
	if _, err := Fold(context.Background(), Config{Root: root, KeepAge: -1}); err != nil {
		t.Errorf("Fold of the whole index again = %v", err)
	}
}

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
