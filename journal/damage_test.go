package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// TestTruncated cuts a sealed stream at every byte. What is left is read up to the last whole entry,
// and the rest, without zeros at its end, counts as an entry that is not complete yet.
func TestTruncated(t *testing.T) {
	s := newSample(4, true)
	t.Logf("figure: %d cuts of a stream", len(s.data)+1)
	for n := range len(s.data) + 1 {
		whole := 0
		for s.at[whole+1] <= int64(n) && whole+2 < len(s.at) {
			whole++
		}
		if n == len(s.data) {
			whole++
		}
		want := found{Records: s.records[:min(max(whole-1, 0), 4)], Torn: int64(len(bytes.TrimRight(s.data[s.at[whole]:n], "\x00")))}
		if len(want.Records) == 0 {
			want.Records = nil
		}
		got := readBytes(t, s.data[:n], Position{})
		if got.Pos.Offset != s.at[whole] || got.Pos.Seq != uint64(whole) || got.Pos.Sealed != (n == len(s.data)) {
			t.Errorf("cut at %d: position %+v, want offset %d", n, got.Pos, s.at[whole])
		}
		got.Pos = Position{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cut at %d of %d (-want +got):\n%s", n, len(s.data), diff)
		}
	}
}

// TestBitFlips flips every single bit of a stream. No wrong record is read. If the stream is
// sealed, the flip costs one entry and is reported. If it is not sealed, the reading ends before the flip.
func TestBitFlips(t *testing.T) {
	bits := 0
	defer func() { t.Logf("figure: %d bits flipped in streams", bits) }()
	for _, sealed := range []bool{true, false} {
		s := newSample(3, sealed)
		bits += len(s.data) * 8
		for bit := range len(s.data) * 8 {
			hit := 0 // the entry with the bit
			for s.at[hit+1] <= int64(bit/8) {
				hit++
			}
			data := bytes.Clone(s.data)
			data[bit/8] ^= 1 << (bit % 8)
			got := readBytes(t, data, Position{})
			want := found{Records: slices.Clone(s.records)}
			switch {
			case sealed && hit == 4: // the seal: all records, then not yet
				want.Torn = s.at[5] - s.at[4]
			case sealed:
				if hit > 0 {
					want.Records = slices.Delete(want.Records, hit-1, hit)
				}
				if len(got.Damage) != 1 || !strings.HasPrefix(got.Damage[0], fmt.Sprintf("%d+%d: ", s.at[hit], s.at[hit+1]-s.at[hit])) ||
					!strings.HasSuffix(got.Damage[0], fmt.Sprintf(" (entries %d to %d)", hit+1, hit+1)) {
					t.Errorf("bit %d of entry %d: damage %q", bit, hit, got.Damage)
				}
				if got.Pos.Offset != int64(len(s.data)) || !got.Pos.Sealed {
					t.Errorf("bit %d: position %+v, want the seal at the end", bit, got.Pos)
				}
			default:
				want.Records = want.Records[:max(hit-1, 0)]
				want.Torn = int64(len(s.data)) - s.at[hit]
			}
			got.Pos, got.Damage = Position{}, nil
			if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
				t.Errorf("sealed %t, bit %d of entry %d (-want +got):\n%s", sealed, bit, hit, diff)
			}
		}
	}
}

// TestBitFlipsInDeadStream flips bits of a stream without a seal whose writer has ended. Nothing more can be added, so a flipped
// bit costs one entry. In the last entry it looks like an entry that was being written.
func TestBitFlipsInDeadStream(t *testing.T) {
	s := newSample(3, false)
	t.Logf("figure: %d bits flipped in a dead stream", len(s.data)*8)
	for bit := range len(s.data) * 8 {
		hit := 0
		for s.at[hit+1] <= int64(bit/8) {
			hit++
		}
		data := bytes.Clone(s.data)
		data[bit/8] ^= 1 << (bit % 8)
		got := readDead(t, data)
		want := found{Records: slices.Clone(s.records), Pos: got.Pos}
		if hit > 0 {
			want.Records = slices.Delete(want.Records, hit-1, hit)
		}
		if hit == 3 {
			want.Torn = s.at[4] - s.at[3]
		} else {
			want.Damage = got.Damage
			if len(got.Damage) != 1 || !strings.HasPrefix(got.Damage[0], fmt.Sprintf("%d+%d: ", s.at[hit], s.at[hit+1]-s.at[hit])) {
				t.Errorf("bit %d of entry %d: damage %q", bit, hit, got.Damage)
			}
		}
		if end := int64(len(data)) - want.Torn; got.Pos.Offset != end || got.Pos.Sealed {
			t.Errorf("bit %d of entry %d: position %+v, want %d", bit, hit, got.Pos, end)
		}
		if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
			t.Errorf("bit %d of entry %d (-want +got):\n%s", bit, hit, diff)
		}
	}
}

// readDead is readBytes for a stream whose writer has ended.
func readDead(t testing.TB, data []byte) found {
	t.Helper()
	r, err := (&memFS{data: data}).reader(inC, Position{})
	if err != nil {
		t.Fatal(err)
	}
	r.dead = true
	return drain(t, r)
}

var equateEmpty = cmp.Transformer("nil", func(in []string) []string {
	if len(in) == 0 {
		return nil
	}
	return in
})

// TestDamage builds a stream of five records by hand for each line of the format page's table.
func TestDamage(t *testing.T) {
	full := newSample(5, true)
	e := full.entries() // header, 5 records, seal
	old := asVersion1(e)
	hole := func(b []byte) []byte { return make([]byte, len(b)) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	craft := func(f frame) []byte { return entry(aStream, f) }
	size := func(b []byte) int { return len(b) }
	random := bytes.Repeat([]byte{0x9e, 0x37, 0x79, 0xb9, 0x7f, 0x4a, 0x7c, 0x15, 0xf3}, 40)
	at := full.at

	tests := []struct {
		name    string
		data    []byte
		records string // which of the five
		damage  []string
		torn    int
		err     string
	}{
		{name: "whole", data: full.data, records: "12345"},
		{name: "empty", data: nil},
		{name: "zeros after an unsealed tail", data: join(join(e[:4]...), make([]byte, 1<<20)), records: "123"},
		{name: "garbage after an unsealed tail", data: join(join(e[:4]...), random), records: "123", torn: len(random)},
		{name: "only zeros", data: make([]byte, 5000)},
		{name: "zeros and one more byte", data: join(join(e[:4]...), make([]byte, 5000), []byte{1}, make([]byte, 70000)), records: "123", torn: 5001},
		{name: "zeros after a seal", data: join(full.data, make([]byte, 4096)), records: "12345",
			damage: []string{fmt.Sprintf("%d+4096: length is out of bounds", at[7])}},
		{name: "garbage after a seal", data: join(full.data, random), records: "12345",
			damage: []string{fmt.Sprintf("%d+%d: ends within an entry", at[7], len(random))}},
		{name: "a valid record after a seal",
			data:    join(full.data, craft(frame{kind: kindRecord, seq: 8, recordID: "x", payload: []byte(`{"run_id":"evil","stage":"T"}`)})),
			records: "12345", damage: []string{fmt.Sprintf("%d+62: stands after the seal", at[7])}},
		{name: "the seal twice", data: join(full.data, e[6]), records: "12345",
			damage: []string{fmt.Sprintf("%d+%d: stands after the seal", at[7], size(e[6]))}},
		{name: "a hole in a sealed stream", data: join(e[0], e[1], hole(e[2]), e[3], e[4], e[5], e[6]), records: "1345",
			damage: []string{fmt.Sprintf("%d+%d: length is out of bounds (entries 3 to 3)", at[2], size(e[2]))}},
		{name: "a hole over two entries and a half", data: join(e[0], hole(join(e[1], e[2])), hole(e[3][:20]), e[3][20:], e[4], e[5], e[6]), records: "45",
			damage: []string{fmt.Sprintf("%d+%d: length is out of bounds (entries 2 to 4)", at[1], at[4]-at[1])}},
		{name: "two holes", data: join(e[0], hole(e[1]), e[2], hole(e[3]), e[4], e[5], e[6]), records: "245",
			damage: []string{
				fmt.Sprintf("%d+%d: length is out of bounds (entries 2 to 2)", at[1], size(e[1])),
				fmt.Sprintf("%d+%d: length is out of bounds (entries 4 to 4)", at[3], size(e[3]))}},
		{name: "a hole in place of the header", data: join(hole(e[0]), join(e[1:]...)), records: "12345",
			damage: []string{fmt.Sprintf("0+%d: length is out of bounds (entries 1 to 1)", size(e[0]))}},
		{name: "only the seal is left", data: join(hole(full.data[:at[6]]), e[6]),
			damage: []string{fmt.Sprintf("0+%d: length is out of bounds (entries 1 to 6)", at[6])}},
		{name: "a hole in an unsealed stream", data: join(e[0], e[1], hole(e[2]), e[3], e[4]), records: "1",
			torn: int(at[5] - at[2])},
		{name: "entries cut out of a sealed stream", data: join(e[0], e[1], e[4], e[5], e[6]), records: "145",
			damage: []string{fmt.Sprintf("%d+0: entry 5 follows entry 2 (entries 3 to 4)", at[2])}},
		{name: "entries cut out of an unsealed stream", data: join(e[0], e[1], e[4]), records: "1", torn: size(e[4])},
		{name: "an entry twice", data: join(e[0], e[1], e[1], e[2], e[3], e[4], e[5], e[6]), records: "12345",
			damage: []string{fmt.Sprintf("%d+%d: entry 2 follows entry 2", at[2], size(e[1]))}},
		{name: "an entry moved to the back", data: join(e[0], e[1], e[3], e[4], e[2], e[5], e[6]), records: "1345",
			damage: []string{
				fmt.Sprintf("%d+0: entry 4 follows entry 2 (entries 3 to 3)", at[2]),
				fmt.Sprintf("%d+%d: entry 3 follows entry 5", at[2]+int64(size(join(e[3], e[4]))), size(e[2]))}},
		{name: "the stream twice", data: join(full.data, full.data), records: "12345",
			damage: []string{fmt.Sprintf("%d+%d: stands after the seal", at[7], at[7])}},
		{name: "the seal is first", data: join(e[6], e[0], e[1], e[6]),
			damage: []string{
				"0+0: entry 7 follows entry 0 (entries 1 to 6)",
				fmt.Sprintf("%d+%d: stands after the seal", size(e[6]), size(join(e[0], e[1], e[6])))}},
		{name: "no header", data: join(e[1:]...), records: "12345",
			damage: []string{"0+0: entry 2 follows entry 0 (entries 1 to 1)"}},
		{name: "a seal that counts wrong", data: join(join(e[:6]...), craft(frame{kind: kindSeal, seq: 7, payload: []byte(`{"records":9}`)})),
			records: "12345", damage: []string{fmt.Sprintf("%d+37: seal counts 9 records, its number says 5", at[6])}},
		{name: "a seal that is no JSON", data: join(join(e[:6]...), craft(frame{kind: kindSeal, seq: 7, payload: []byte(`?`)})),
			records: "12345", damage: []string{fmt.Sprintf("%d+25: seal: invalid character '?' looking for beginning of value", at[6])}},
		{name: "a header that is no JSON", data: join(craft(frame{kind: kindHeader, seq: 1}), join(e[1:]...)), records: "12345",
			damage: []string{"0+24: header: unexpected end of JSON input"}},
		{name: "a payload that is no JSON",
			data:    join(e[0], craft(frame{kind: kindRecord, seq: 2, recordID: "id", payload: []byte("run")}), e[2]),
			records: "2", damage: []string{fmt.Sprintf("%d+37: entry 2 holds no record: record is not JSON at byte 1: invalid character 'r' looking for beginning of value", at[1])}},
		{name: "a payload that is no record",
			data:    join(e[0], craft(frame{kind: kindRecord, seq: 2, recordID: "id", payload: []byte("{}")}), e[2]),
			records: "2", damage: []string{fmt.Sprintf("%d+36: entry 2 holds no record: run_id is missing", at[1])}},
		{name: "a newer frame", data: join(e[0], e[1], newer(3), e[3], e[4], e[5], e[6]), records: "1",
			err: newerAt(at[2])},
		{name: "a newer stream", data: join(newer(1), newer(2)),
			err: newerAt(0)},
		{name: "a newer frame out of its turn", data: join(e[0], e[1], newer(9)), records: "1", err: newerAt(at[2])},
		{name: "a kind of a newer program", data: join(e[0], e[1], craft(frame{kind: 5, seq: 3, recordID: "id"}), e[3], e[6]), records: "1",
			err: fmt.Sprintf("stream c/%s at offset %d: frame of kind 5: written by a newer version of runfold", aStream, at[2])},
		{name: "such a kind in version 1", data: join(e[0], e[1], craft(frame{version: 1, kind: 4, seq: 3, recordID: "id"}), e[3], e[4], e[5], e[6]),
			records: "1345", damage: []string{fmt.Sprintf("%d+26: is no frame of ours although its checksum fits (entries 3 to 3)", at[2])}},
		{name: "a newer frame after a hole", data: join(e[0], hole(join(e[1], e[2])), newer(4), e[4], e[5], e[6]),
			damage: []string{fmt.Sprintf("%d+%d: length is out of bounds (entries 2 to 3)", at[1], at[3]-at[1])}, err: newerAt(at[3])},
		{name: "a newer kind after garbage", data: join(e[0], e[1], random, craft(frame{kind: 200, seq: 3}), e[3], e[4], e[5], e[6]), records: "1",
			damage: []string{fmt.Sprintf("%d+%d: ends within an entry", at[2], len(random))},
			err:    fmt.Sprintf("stream c/%s at offset %d: frame of kind 200: written by a newer version of runfold", aStream, at[2]+int64(len(random)))},
		{name: "a newer frame of the past after a hole", data: join(e[0], e[1], e[2], hole(e[3]), newer(3), e[4], e[5], e[6]), records: "1245",
			damage: []string{fmt.Sprintf("%d+%d: length is out of bounds (entries 4 to 4)", at[3], size(e[3])+size(newer(3)))}},
		{name: "a newer frame with a flipped bit after a hole", data: join(e[0], hole(e[1]), flipped(newer(3)), e[3], e[4], e[5], e[6]), records: "345",
			damage: []string{fmt.Sprintf("%d+%d: length is out of bounds (entries 2 to 3)", at[1], size(e[1])+size(newer(3)))}},
		{name: "a newer frame after a hole in an unsealed stream", data: join(e[0], hole(e[1]), newer(3)), torn: size(e[1]) + size(newer(3))},
		{name: "a newer frame after the seal", data: join(full.data, newer(8)), records: "12345",
			damage: []string{fmt.Sprintf("%d+%d: stands after the seal", at[7], size(newer(8)))}},
		{name: "garbage and a newer frame after the seal", data: join(full.data, random, newer(8)), records: "12345",
			damage: []string{fmt.Sprintf("%d+%d: ends within an entry", at[7], len(random)+size(newer(8)))}},
		{name: "entries of version 1 and 2 in one stream", data: join(old[0], e[1], old[2], e[3], old[4], e[5], old[6]), records: "12345"},
		{name: "a hole among entries of both versions", data: join(old[0], e[1], hole(old[2]), old[3], hole(e[4]), e[5], old[6]), records: "135",
			damage: []string{
				fmt.Sprintf("%d+%d: length is out of bounds (entries 3 to 3)", size(old[0])+size(e[1]), size(old[2])),
				fmt.Sprintf("%d+%d: length is out of bounds (entries 5 to 5)", size(join(old[0], e[1], old[2], old[3])), size(e[4]))}},
		{name: "a huge length in a sealed stream", data: join(e[0], binary.AppendUvarint(nil, 1<<60), e[1], e[2], e[3], e[4], e[5], e[6]),
			records: "12345", damage: []string{fmt.Sprintf("%d+9: length is out of bounds", at[1])}},
		{name: "a huge length in an unsealed stream", data: join(e[0], e[1], binary.AppendUvarint(nil, 1<<60), e[2]), records: "1",
			torn: 9 + size(e[2])},
		{name: "a length beyond the end", data: join(e[0], e[1], binary.AppendUvarint(nil, 60<<20), e[2]), records: "1", torn: 4 + size(e[2])},
		{name: "the entries of another stream", data: bytes.Join(copied(e, aStream, "01JQ4Z8E7N3V5T0X9YABCDEFGJ"), nil),
			torn: int(at[7])},
		{name: "an entry of another stream", data: join(e[0], e[1], copied(e, aStream, "01JQ4Z8E7N3V5T0X9YABCDEFGJ")[2], e[3], e[4], e[5], e[6]),
			records: "1345", damage: []string{fmt.Sprintf("%d+%d: checksum does not fit (entries 3 to 3)", at[2], size(e[2]))}},
		{name: "another cohort", data: join(craft(frame{kind: kindHeader, seq: 1, payload: []byte(`{"cohort":"d"}`)}), join(e[1:]...)),
			err: fmt.Sprintf("read stream c/%s: stream was written for another cohort: %q", aStream, "d")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var want found
			for _, n := range test.records {
				want.Records = append(want.Records, full.records[n-'1'])
			}
			want.Damage, want.Torn, want.Err = test.damage, int64(test.torn), test.err
			got := readBytes(t, test.data, Position{})
			got.Pos = Position{}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			fromEvery(t, test.data)
		})
	}
}

// newer is an entry of a later version, whose checksum is in order.
func newer(seq byte) []byte {
	return entry(aStream, frame{version: 3, kind: kindRecord, seq: uint64(seq), recordID: "id", payload: []byte("{}")})
}

func newerAt(off int64) string {
	return fmt.Sprintf("stream c/%s at offset %d: frame of version 3: written by a newer version of runfold", aStream, off)
}

// flipped is a copy of an entry with another last bit.
func flipped(entry []byte) []byte {
	out := bytes.Clone(entry)
	out[len(out)-1] ^= 1
	return out
}

// asVersion1 are the entries as the first programs wrote them.
func asVersion1(entries [][]byte) [][]byte {
	var out [][]byte
	for _, e := range entries {
		f, err := parseEntry(e, aStream)
		if err != nil {
			panic(err)
		}
		f.version = 1
		out = append(out, entry(aStream, f))
	}
	return out
}

// copied are entries as they stand in a stream of another name.
func copied(entries [][]byte, from, to cohort.StreamID) [][]byte {
	var out [][]byte
	for _, e := range entries {
		f, err := parseEntry(e, from)
		if err != nil {
			panic(err)
		}
		out = append(out, entry(to, f))
	}
	return out
}

// TestCutBelowWatermark opens a segment that is shorter than what was read of it.
func TestCutBelowWatermark(t *testing.T) {
	s := newSample(2, false)
	end := readBytes(t, s.data, Position{}).Pos
	for n := range len(s.data) {
		r, err := (&memFS{data: s.data[:n]}).reader(inC, end)
		var damage *CorruptError
		if !errors.As(err, &damage) || damage.Offset != int64(n) || damage.Offset+damage.Length != end.Offset {
			t.Errorf("open of %d bytes at %d = %v, %v", n, end.Offset, r, err)
		}
	}
}

// TestSegmentThatIsNone opens segments that are not regular files, and one that does not exist.
func TestSegmentThatIsNone(t *testing.T) {
	root := newRoot(t)
	open := func(id cohort.StreamID, from Position) error {
		r, err := readerOf(root, Stream{"c", id}, from)
		if err == nil {
			defer r.Close()
			if _, err = r.Next(); err == io.EOF && r.size == 0 && r.Torn() == 0 && r.Position() == from {
				return io.EOF
			}
		}
		return err
	}
	stream := func(last string) cohort.StreamID {
		id := aStream[:25] + cohort.StreamID(last)
		if err := os.MkdirAll(root.Stream("c", id), 0o755); err != nil {
			t.Fatal(err)
		}
		return id
	}
	read := Position{Offset: 100, Seq: 2}

	if err := open(aStream, Position{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a missing stream = %v, want fs.ErrNotExist", err)
	}
	if err := open(aStream, read); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a swept stream = %v, want fs.ErrNotExist", err)
	}
	bare := stream("1")
	if err := open(bare, Position{}); err != io.EOF {
		t.Errorf("a stream without a segment: %v, want io.EOF", err)
	}
	if err := open(bare, read); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a stream whose segment is gone: %v, want ErrCorrupt", err)
	}
	dir := stream("2")
	if err := os.Mkdir(root.Segment("c", dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := open(dir, Position{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a segment that is a directory: %v", err)
	}
	link := stream("3")
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, newSample(1, true).data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, root.Segment("c", link)); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := open(link, Position{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a segment that is a symbolic link: %v", err)
	}
	if _, err := (Root{Dir: root}).Open(Place{Stream: inC, Dir: filepath.Join(t.TempDir(), "typo"), Reaped: true}, Position{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a missing reaped stream = %v, want fs.ErrNotExist", err)
	}
}

// TestReadFails lets each read fail. The error is returned as it is, neither as the end nor as damage, and
// the position stays before what could not be read.
func TestReadFails(t *testing.T) {
	s := newSample(3, true)
	data := bytes.Join([][]byte{s.data[:s.at[1]], make([]byte, 2*step), s.data[s.at[1]:]}, nil) // a hole
	for k := 0; ; k++ {
		m := &memFS{data: data}
		m.fail = func(int64, int) error {
			if len(m.reads) > k {
				return syscall.EIO
			}
			return nil
		}
		r, err := m.reader(inC, Position{})
		if err != nil {
			t.Fatal(err)
		}
		got := drain(t, r)
		if got.Err == "" {
			if k < 3 {
				t.Errorf("only %d reads", k)
			}
			return
		}
		if !strings.HasSuffix(got.Err, syscall.EIO.Error()) || got.Pos.Offset > s.at[1] || len(got.Damage) > 0 {
			t.Errorf("read %d fails: %+v", k, got)
		}
	}
}

// TestShrinkingSegment reads a segment that another process cuts off meanwhile.
func TestShrinkingSegment(t *testing.T) {
	s := newSample(3, false)
	m := &memFS{data: s.data}
	r, err := m.reader(inC, Position{})
	if err != nil {
		t.Fatal(err)
	}
	r.w.f.(*memFile).Reader = bytes.NewReader(s.data[:10])
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Next = %v, want io.ErrUnexpectedEOF", err)
	}
}

// FuzzReader reads what a program of the fuzzer's made: valid entries in any order, cuts, flips and
// other bytes. Every record that is read was written with the same bytes.
func FuzzReader(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add([]byte("\x01\x01\x02\x02\x02\x03\x02\x04\x03\x05"), false)
	f.Add([]byte("\x01\x01\x02\x02\x00\x05\x00\x00\x00\x00\x00\x02\x04"), true)
	f.Add([]byte("\x01\x01\x02\x02\x04\x30\x02\x03\x05\x02"), true)
	f.Add([]byte("\x01\x01\x09\x02\x02\x03\x04\x30\x09\x04\x08\x05\x02\x06"), true)
	f.Fuzz(func(t *testing.T, program []byte, sealed bool) {
		data, written := segmentOf(program, sealed)
		for _, r := range append(readBytes(t, data, Position{}).Records, readDead(t, data).Records...) {
			if !written[r] {
				t.Errorf("read %q, which was never written", r)
			}
		}
		fromEvery(t, data)
		for range entries(&memFS{data: data}, "seg", inC) {
		}
	})
}

// segmentOf runs a program of pairs: what to append and a number.
func segmentOf(program []byte, sealed bool) (data []byte, written map[string]bool) {
	written = map[string]bool{}
	for len(program) > 1 {
		op, n := program[0], program[1]
		program = program[2:]
		switch op {
		case 1:
			data = append(data, entry(aStream, frame{kind: kindHeader, seq: 1, payload: []byte(`{"cohort":"c"}`)})...)
		case 2:
			json := fmt.Sprintf(`{"run_id":"r-%d","stage":"T"}`, n)
			data = append(data, entry(aStream, frame{kind: kindRecord, seq: max(uint64(n), 2), recordID: "id", payload: []byte(json)})...)
			written["id 0 "+json] = true
		case 3:
			data = append(data, entry(aStream, frame{kind: kindSeal, seq: max(uint64(n), 2), payload: []byte(`{"records":3}`)})...)
		case 4: // flip a bit
			if len(data) > 0 {
				data[len(data)-1-int(n)%len(data)] ^= 1 << (n % 8)
			}
		case 5: // cut
			data = data[:len(data)-min(len(data), int(n))]
		case 6:
			data = append(data, newer(max(n, 1))...)
		case 8: // an entry of a kind to come
			data = append(data, entry(aStream, frame{kind: 5 + kind(n%2), seq: max(uint64(n), 2), recordID: "id"})...)
		case 9:
			json := fmt.Sprintf(`{"run_id":"old-%d","stage":"T"}`, n)
			data = append(data, entry(aStream, frame{version: 1, kind: kindRecord, seq: max(uint64(n), 2), recordID: "id", payload: []byte(json)})...)
			written["id 0 "+json] = true
		case 7: // an entry that holds nothing of ours
			data = append(data, entry(aStream, frame{kind: kindRecord, seq: max(uint64(n), 2), recordID: "id", payload: program})...)
		default:
			k := min(int(n), len(program))
			data, program = append(data, program[:k]...), program[k:]
		}
	}
	if sealed {
		data = append(data, entry(aStream, frame{kind: kindSeal, seq: 300, payload: []byte(`{"records":298}`)})...)
	}
	return data, written
}
