package journal

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/runfold/runfold/cohort"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// TestSums compares the checksums of parts of a segment with those that are made of the parts themselves.
func TestSums(t *testing.T) {
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 1))
	data := make([]byte, 20_000)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	size := int64(len(data))
	w := &window{f: &memFile{bytes.NewReader(data), &memFS{data: data}}, size: size}
	for round := range 50 {
		begin := rnd.Int64N(200)
		s := newSums(w, aStream, begin)
		s.kept = 3 + 1000/sumStep + 1 // enough for parts of 1000 bytes
		for off := begin; off+1000 < size; off += rnd.Int64N(200) {
			length := 4 + rnd.Int64N(996)
			crc := crc32.Update(streamCRC(aStream), castagnoli, data[off+4:off+length])
			for _, wrong := range []uint32{0, 1, 1 << 31} {
				if got := s.fits(off, length, crc^wrong); got != (wrong == 0) {
					t.Fatalf("round %d: checksum^%d of %d bytes at %d fits = %t", round, wrong, length, off, got)
				}
			}
		}
		for off := begin; off+4 <= size; off++ { // back again: what is not known any more fits
			crc := crc32.Update(streamCRC(aStream), castagnoli, data[off+4:min(off+100, size)])
			if !s.fits(off, min(100, size-off), crc) {
				t.Fatalf("round %d: checksum at %d, again, does not fit", round, off)
			}
		}
		if !s.fits(begin, 100, 0) {
			t.Error("a place that lies too far back does not fit, although nothing is known of it")
		}
		if n := int64(len(s.every)); n > s.kept {
			t.Errorf("%d sums are kept, want %d", n, s.kept)
		}
	}
}

// TestSearchFindsTheFirst compares what a search finds with the first valid entry. The bytes hold entries, parts of entries,
// heads with long lengths, and random bytes. Some entries are of a later version, or of a kind that we do not know: those are
// found, too.
func TestSearchFindsTheFirst(t *testing.T) {
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 2))
	for round := range 300 {
		var data []byte
		for range 1 + rnd.IntN(30) {
			f := frame{
				version: uint8(1 + rnd.IntN(4)), kind: kind(2 + rnd.IntN(3)), seq: 2 + rnd.Uint64N(40),
				recordID: "id", payload: bytes.Repeat([]byte{1}, 8+rnd.IntN(300)),
			}
			whole := entry(aStream, f)
			switch rnd.IntN(5) {
			case 0:
				data = append(plant(f, data[:rnd.IntN(len(data)+1)], rnd.IntN(2) == 0), data...)
			case 1:
				data = append(whole[rnd.IntN(len(whole)):], data...)
			case 2:
				whole[rnd.IntN(len(whole))] ^= 1 << rnd.IntN(8)
				data = append(whole, data...)
			default:
				data = append(whole, data...)
			}
		}
		r, err := (&memFS{data: data}).reader(inC, Position{Seq: rnd.Uint64N(5)})
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(0); at < r.size; at = r.pos.Offset {
			want := fmt.Sprint("none, ", r.size)
			for off := at; off < r.size; off++ {
				if f, err := r.parse(off); (err == nil || errors.Is(err, cohort.ErrNewer)) && f.seq > r.pos.Seq {
					want = fmt.Sprint(f.seq, ", ", off)
					break
				}
			}
			f, err := r.search()
			got := fmt.Sprint(f.seq, ", ", f.at)
			if f.seq == 0 {
				got = fmt.Sprint("none, ", f.at)
			}
			if err != nil || got != want {
				t.Fatalf("round %d: search from %d after entry %d finds %s, %v, want %s", round, at, r.pos.Seq, got, err, want)
			}
			if f.seq == 0 {
				break
			}
			r.move(f)
		}
	}
}
