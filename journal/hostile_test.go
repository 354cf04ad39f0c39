package journal

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plant is the head of an entry whose payload is rest, with a checksum that fits or not.
func plant(f frame, rest []byte, fits bool) []byte {
	f.payload = rest
	b := appendFrame(nil, aStream, f)
	if !fits {
		b[0] ^= 1
	}
	return append(binary.AppendUvarint(nil, uint64(len(b))), b[:len(b)-len(rest)]...)
}

// TestHostileSegment reads segments that were made to cost their reader much. Between any two entries there are other bytes,
// such as 250 heads of entries, each with a length up to the end of the segment. Every record is found, and no byte is read or
// summed more than a few times.
func TestHostileSegment(t *testing.T) {
	for _, test := range []struct {
		name            string
		records, heads  int
		sealed          bool
		head            func(rest []byte) []byte
		places, maximum int // of damage; of checksums, for each byte
	}{
		{"a checksum that does not fit", 20, 250, true, func(rest []byte) []byte {
			return plant(frame{kind: kindRecord, seq: 1 << 40, recordID: "x"}, rest, false)
		}, 20, 8},
		{"a number that is not a later one", 20, 250, true, func(rest []byte) []byte {
			return plant(frame{kind: kindRecord, seq: 2, recordID: "x"}, rest, true)
		}, 20, 4},
		{"a record without an id", 20, 250, false, func(rest []byte) []byte {
			return plant(frame{kind: kindRecord, seq: 1 << 40}, rest, true)
		}, 19, 5},
		{"a kind that there was not in version 1", 20, 250, false, func(rest []byte) []byte {
			return plant(frame{version: 1, kind: kindSeal + 1, seq: 1 << 40}, rest, true)
		}, 19, 5},
		{"a later version whose checksum does not fit", 20, 250, true, func(rest []byte) []byte {
			return plant(frame{version: 3, kind: kindRecord, seq: 1 << 30, recordID: "x"}, rest, false)
		}, 20, 8},
		{"text, in which each letter is a length and a later version", 20, 1, false, func([]byte) []byte {
			return bytes.Repeat([]byte("x"), 4096)
		}, 19, 2},
		{"a zero", 500, 1, false, func([]byte) []byte { return []byte{0} }, 499, 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			full := newSample(test.records, test.sealed)
			var data []byte
			for i, e := range slices.Backward(full.entries()) {
				data = append(e, data...)
				for n := 0; n < test.heads && i > 1; n++ {
					data = append(test.head(data), data...)
				}
			}
			disk := &memFS{data: data}
			r, err := disk.reader(inC, Position{})
			if err != nil {
				t.Fatal(err)
			}
			r.dead = true
			got := drain(t, r)
			if diff := cmp.Diff(full.records, got.Records); diff != "" || len(got.Damage) != test.places || got.Err != "" {
				t.Errorf("%d places of damage, want %d; %s; records (-want +got):\n%s", len(got.Damage), test.places, got.Err, diff)
			}
			read := 0
			for _, n := range disk.reads {
				read += n
			}
			summed, size := int(r.summed+r.sums.count), len(data)
			t.Logf("of %d bytes %d were summed and %d read", size, summed, read)
			if summed > test.maximum*size || read > 8*size {
				t.Errorf("of %d bytes %d were summed and %d read, want at most %d and 8 times as many", size, summed, read, test.maximum)
			}
		})
	}
}
