package generation

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// inSections is a file of random bytes in sections, of which those with odd numbers are fresh, and every third has no rows.
func inSections(rnd *rand.Rand, sizes ...int64) (file []byte, d DataFile) {
	for i, size := range sizes {
		part := make([]byte, size)
		for i := range part {
			part[i] = byte(rnd.Uint32())
		}
		file = append(file, part...)
		d.Sections = append(d.Sections, Section{Size: size, CRC32C: CRC(crc32.Checksum(part, castagnoli)), Rows: int64(i % 3), First: cohort.Seq(min(i%3, 1)), Fresh: i%2 == 1})
	}
	d.Size = int64(len(file))
	return file, d
}

// TestSummed reads a file in pieces, in order and not, by several goroutines: each checksum fits, and what was read in order is not read again.
func TestSummed(t *testing.T) {
	file, d := inSections(rand.New(rand.NewPCG(1, 2)), 4096, 300_000, 10, 400_000, 1, 344_577)
	in := &counted{Reader: bytes.NewReader(file)}
	s := newSummed(in, "", d)
	read := func(from, n int64) {
		if got, err := s.ReadAt(make([]byte, n), from); err != nil || int64(got) != n {
			t.Errorf("ReadAt %d bytes from %d = %d, %v", n, from, got, err)
		}
	}
	read(d.Size-100, 100) // as of a footer, before all else
	for at := int64(4); at < d.Size-200; at += 4096 {
		read(at, min(4096, d.Size-200-at))
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
	if again := in.n.Load() - d.Size; again > 8192 {
		t.Errorf("%d bytes were read twice", again)
	}

	s = newSummed(&counted{Reader: bytes.NewReader(file)}, "", d)
	var all sync.WaitGroup
	for seed := range uint64(4) {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 3))
			for range 200 {
				from := rnd.Int64N(d.Size)
				s.ReadAt(make([]byte, rnd.Int64N(d.Size/16)), from) // over the end, too
			}
		})
	}
	all.Wait()
	if err := s.check(); err != nil {
		t.Errorf("after reads here and there: %v", err)
	}
}

// TestSummedFinds flips a byte of each section. It is found where the section is fresh, where a part of it was read, and not where it is
// neither; where its blocks are shared, it is found in what has no rows, and in what is fresh.
func TestSummedFinds(t *testing.T) {
	sizes := []int64{4096, 8192, 100, 5000, 7000, 4096, 9000}
	file, d := inSections(rand.New(rand.NewPCG(1, 4)), sizes...)
	at := int64(0)
	for i, sec := range d.Sections {
		bad := bytes.Clone(file)
		bad[at+sec.Size/2] ^= 1
		for _, touch := range []bool{false, true} {
			for _, share := range []bool{false, true} {
				s := newSummed(&counted{Reader: bytes.NewReader(bad)}, "", d)
				if touch {
					s.ReadAt(make([]byte, 1), at+sec.Size-1)
				}
				if first, _ := s.sections(at, sec.Size); share {
					s.share(first)
				}
				want := sec.Fresh || touch && !(share && sec.Rows > 0)
				if err := s.check(); errors.Is(err, ErrCorrupt) != want {
					t.Errorf("section %d, fresh %v, rows %d, touched %v, shared %v: %v", i, sec.Fresh, sec.Rows, touch, share, err)
				}
			}
		}
		at += sec.Size
	}
	whole := DataFile{Size: d.Size, CRC32C: d.Sections.crc()}
	if err := newSummed(&counted{Reader: bytes.NewReader(file)}, "", whole).check(); err != nil {
		t.Errorf("the checksum that was combined is not that of the file: %v", err)
	}
	file[77] ^= 1
	if err := newSummed(&counted{Reader: bytes.NewReader(file)}, "", whole).check(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a file without sections, of which nothing was read: %v", err)
	}
}

// TestSections: the text of a manifest gives the same sections, and no other text is taken for one.
func TestSections(t *testing.T) {
	_, d := inSections(rand.New(rand.NewPCG(1, 5)), 4096, 8192, 100)
	text, err := d.Sections.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var got Sections
	if err := got.UnmarshalText(text); err != nil || len(got) != 3 || got[0] != d.Sections[0] || got[1] != d.Sections[1] || got[2] != d.Sections[2] {
		t.Errorf("%s gives %v, %v", text, got, err)
	}
	for _, bad := range []string{
		" ", "1", "1:", "0:00000000", "-1:00000000", "1:0000000", "1:0000000G", "1:00000000:1", "1:00000000:0:1", "1:00000000:-1:1", "1:00000000:1:1:1",
		"1:00000000++", "1:00000000 ", "1:00000000  1:00000000", "99999999999999999999:00000000", "1:00000000:1:99999999999999999999",
	} {
		if err := new(Sections).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// counted counts what is read.
type counted struct {
	*bytes.Reader
	n atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(p, off)
	c.n.Add(int64(n))
	return n, err
}

func (*counted) Close() error               { return nil }
func (*counted) Sync() error                { return nil }
func (*counted) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
