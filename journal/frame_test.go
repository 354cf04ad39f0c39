package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

const aStream = cohort.StreamID("01JQ4Z8E7N3V5T0X9YABCDEFGH")

// vector is a fenced block of a format page: "name: value" lines, and what follows an empty line.
type vector struct {
	title  string
	fields map[string]string
	body   string
}

// vectors reads the blocks of a page under docs/format.
func vectors(t testing.TB, page string) []vector {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "format", page))
	if err != nil {
		t.Fatal(err)
	}
	var out []vector
	parts := strings.Split(string(data), "\n```vector\n")
	for i, part := range parts[1:] {
		block, _, _ := strings.Cut(part, "\n```\n")
		head, body, _ := strings.Cut(block, "\n\n")
		before := strings.Split(strings.TrimSpace(parts[i]), "\n")
		v := vector{title: before[len(before)-1], fields: map[string]string{}, body: body}
		for line := range strings.Lines(head) {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			if !ok {
				t.Fatalf("%s: %q is no line of a vector", page, line)
			}
			v.fields[name] = value
		}
		out = append(out, v)
	}
	if len(out) == 0 {
		t.Fatalf("%s has no vectors", page)
	}
	return out
}

// entry is a frame with its length before it.
func entry(id cohort.StreamID, f frame) []byte {
	b := appendFrame(nil, id, f)
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

// parseEntry is what a Reader does with the bytes at its position.
func parseEntry(b []byte, id cohort.StreamID) (frame, error) {
	length, width, err := parseLength(b)
	if err != nil {
		return frame{}, err
	}
	if len(b) < width+length {
		return frame{}, errShort
	}
	return parseFrame(b[width:width+length], id)
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestFrameVectors(t *testing.T) {
	for _, v := range vectors(t, "journal.md") {
		raw, err := hex.DecodeString(v.fields["entry"])
		if err != nil {
			t.Fatalf("%s %v", v.title, err)
		}
		id := cohort.StreamID(v.fields["stream"])
		f, err := parseEntry(raw, id)
		if got := message(err); got != v.fields["error"] {
			t.Errorf("%s parse = %q, want %q", v.title, got, v.fields["error"])
		}
		if err != nil {
			continue
		}
		got := map[string]string{
			"stream": string(id), "entry": hex.EncodeToString(entry(id, f)), "version": fmt.Sprint(f.version), "kind": f.kind.String(),
			"seq": strconv.FormatUint(f.seq, 10), "stamp": f.stamp.String(), "payload": string(f.payload),
		}
		if f.hasID() {
			got["record_id"] = f.recordID
			if f.hasClock() {
				got["clock"] = fmt.Sprint(f.written)
			}
			if at := f.writtenAt(); !at.IsZero() {
				got["written"] = at.Format(time.RFC3339Nano)
			}
		}
		if diff := cmp.Diff(v.fields, got); diff != "" {
			t.Errorf("%s (-page +code):\n%s", v.title, diff)
		}
	}
}

// TestWorkedExample reads the hex dump of the page: the lines that it shows are the stream of its
// first three vectors.
func TestWorkedExample(t *testing.T) {
	var segment []byte
	for _, v := range vectors(t, "journal.md")[:3] {
		raw, err := hex.DecodeString(v.fields["entry"])
		if err != nil {
			t.Fatal(err)
		}
		segment = append(segment, raw...)
	}
	page, err := os.ReadFile("../docs/format/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, line := range strings.Split(hex.Dump(segment), "\n") {
		if line != "" && bytes.Contains(page, []byte(line+"\n")) {
			shown++
		}
	}
	dumped := 0
	for line := range strings.Lines(string(page)) {
		if len(line) > 60 && strings.HasPrefix(line, "00000") {
			dumped++
		}
	}
	if shown != dumped || shown < 8 {
		t.Errorf("%d of the %d lines of the hex example are the vectors' bytes", shown, dumped)
	}
}

func TestFrameRoundTrip(t *testing.T) {
	for _, f := range []frame{
		{kind: kindHeader, seq: 1, stamp: 1, payload: []byte("{}")},
		{kind: kindRecord, seq: 2, stamp: -1, recordID: "a", payload: []byte("{}")},
		{kind: kindRecord, seq: 1 << 63, stamp: 1<<63 - 1, recordID: strings.Repeat("x", 255), payload: nil},
		{kind: kindRecord, seq: 3, recordID: "big", payload: bytes.Repeat([]byte("x"), 1<<16)},
		{kind: kindSeal, seq: 2, payload: []byte(`{"records":0}`)},
		{kind: kindRecord, seq: 4, recordID: "clock", written: 1, payload: []byte("{}")},
		{kind: kindRecord, seq: 4, recordID: "clock", written: 1<<63 - 1},
		{kind: kindRecord, seq: 4, recordID: "clock", written: -1},
		{version: 1, kind: kindHeader, seq: 1, payload: []byte("{}")},
		{version: 1, kind: kindRecord, seq: 2, recordID: "a", payload: []byte("{}")},
		{version: 1, kind: kindRecord, seq: 2, recordID: "a", payload: nil},
		{version: 1, kind: kindSeal, seq: 2, payload: []byte(`{"records":0}`)},
	} {
		b := appendFrame(nil, aStream, f)
		if f.version == 0 {
			f.version = 2
		}
		f.crc = binary.LittleEndian.Uint32(b)
		got, err := parseFrame(b, aStream)
		if err != nil {
			t.Errorf("parseFrame of %v %d: %v", f.kind, f.seq, err)
		}
		f.payload = append([]byte{}, f.payload...)
		if diff := cmp.Diff(f, got, cmp.AllowUnexported(frame{})); diff != "" {
			t.Errorf("%v %d (-written +read):\n%s", f.kind, f.seq, diff)
		}
		if want := len(entry(aStream, f)); entrySize(len(b)) != want {
			t.Errorf("entrySize(%d) = %d, want %d", len(b), entrySize(len(b)), want)
		}
	}
}

func TestParseLength(t *testing.T) {
	tests := []struct {
		hex           string
		length, width int
		err           error
	}{
		{"17", 23, 1, nil},
		{"17ff", 23, 1, nil},
		{"7f", 127, 1, nil},
		{"8001", 128, 2, nil},
		{"80808020", 64 << 20, 4, nil},
		{"", 0, 0, errShort},
		{"80", 0, 0, errShort},
		{"ffffff", 0, 0, errShort},
		{"00", 0, 0, errLength},
		{"01", 0, 0, errLength},
		{"16", 0, 0, errLength},
		{"9700", 0, 0, errLength},
		{"80808000", 0, 0, errLength},
		{"81808020", 0, 0, errLength},
		{"ffffffffffffffffff01", 0, 0, errLength}, // 1<<64 - 1: no int holds it
		{"ffffffffffffffffff7f", 0, 0, errLength},
		{"ffffffffffffffffffffff", 0, 0, errLength},
	}
	for _, test := range tests {
		b, err := hex.DecodeString(test.hex)
		if err != nil {
			t.Fatal(err)
		}
		length, width, err := parseLength(b)
		if length != test.length || width != test.width || err != test.err {
			t.Errorf("parseLength(%s) = %d, %d, %v, want %d, %d, %v",
				test.hex, length, width, err, test.length, test.width, test.err)
		}
	}
}

// TestParseFrameShort gives parseFrame each prefix of a frame: none is valid, none makes it panic.
func TestParseFrameShort(t *testing.T) {
	b := appendFrame(nil, aStream, frame{kind: kindRecord, seq: 2, recordID: "id", payload: []byte("{}")})
	for n := range b {
		if f, err := parseFrame(b[:n], aStream); err == nil {
			t.Errorf("parseFrame of %d of %d bytes = %+v", n, len(b), f)
		}
	}
}

// TestParseFrameBits flips each bit of a frame and of the stream's name.
func TestParseFrameBits(t *testing.T) {
	b := appendFrame(nil, aStream, frame{kind: kindRecord, seq: 2, recordID: "id", payload: []byte("{}")})
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := parseFrame(b, aStream); err != errChecksum {
			t.Errorf("parseFrame with bit %d flipped = %v, want %v", bit, err, errChecksum)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	for bit := range len(aStream) * 8 {
		id := []byte(aStream)
		id[bit/8] ^= 1 << (bit % 8)
		if _, err := parseFrame(b, cohort.StreamID(id)); err != errChecksum {
			t.Errorf("parseFrame for stream %q = %v, want %v", id, err, errChecksum)
		}
	}
}

// TestWallClock puts wall clocks into frames and reads them back. A clock that cannot be right becomes "not known", and never a
// date of 1969.
func TestWallClock(t *testing.T) {
	tokyo := time.FixedZone("", 9*3600)
	for _, test := range []struct {
		at      time.Time
		clock   int64
		written string
	}{
		{time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC), 1772366400123456789, "2026-03-01T12:00:00.123456789Z"},
		{time.Date(2026, 3, 1, 21, 0, 0, 0, tokyo), 1772366400000000000, "2026-03-01T12:00:00Z"},
		{time.Date(1970, 1, 1, 0, 0, 0, 1, time.UTC), 1, "1970-01-01T00:00:00.000000001Z"},
		{time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), 0, ""},
		{time.Date(1970, 1, 1, 8, 59, 59, 0, tokyo), 0, ""},
		{time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC), 0, ""},
		{time.Time{}, 0, ""},
		{time.Date(2261, 12, 31, 23, 59, 59, 999999999, time.UTC), 9214646399999999999, "2261-12-31T23:59:59.999999999Z"},
		{time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC), 0, ""},
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 0, ""},
	} {
		clock := clockOf(test.at)
		got := ""
		if at := timeOf(clock); !at.IsZero() {
			got = at.Format(time.RFC3339Nano)
		}
		if clock != test.clock || got != test.written {
			t.Errorf("clockOf(%s) = %d, which is %q, want %d, %q", test.at, clock, got, test.clock, test.written)
		}
	}
	for _, test := range []struct {
		f    frame
		want time.Time
	}{
		{frame{version: 2, kind: kindRecord, stamp: 5, written: 7}, time.Unix(0, 7).UTC()},
		{frame{version: 2, kind: kindRecord, stamp: 5}, time.Time{}},
		{frame{version: 2, kind: kindRecord, stamp: 5, written: -7}, time.Time{}},
		{frame{version: 1, kind: kindRecord, stamp: 5}, time.Unix(0, 5).UTC()},
		{frame{version: 1, kind: kindRecord, stamp: -5}, time.Time{}},
	} {
		if got := test.f.writtenAt(); got != test.want {
			t.Errorf("%+v was written at %s, want %s", test.f, got, test.want)
		}
	}
}

func TestKindString(t *testing.T) {
	if got := kind(9).String(); got != "kind 9" {
		t.Errorf("kind(9).String() = %q", got)
	}
}

// FuzzParseFrame shows that a frame is accepted only if we would write exactly the same bytes.
func FuzzParseFrame(f *testing.F) {
	for _, v := range vectors(f, "journal.md") {
		raw, err := hex.DecodeString(v.fields["entry"])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, false)
		f.Add(raw, true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, mend bool) {
		if _, width, err := parseLength(raw); mend && err == nil && len(raw) >= width+minFrame {
			mendCRC(raw[width:]) // or the fuzzer would never get past the checksum
		}
		got, err := parseEntry(raw, aStream)
		if err != nil {
			if errors.Is(err, cohort.ErrNewer) != strings.Contains(err.Error(), "newer") {
				t.Errorf("parse = %v", err)
			}
			return
		}
		if again := entry(aStream, got); !bytes.HasPrefix(raw, again) {
			t.Errorf("%x is read as %+v, which is written as %x", raw, got, again)
		}
	})
}

// mendCRC makes the checksum of a frame right.
func mendCRC(b []byte) {
	binary.LittleEndian.PutUint32(b, crc32Of(b[4:]))
}

func crc32Of(b []byte) uint32 {
	return crc32.Update(streamCRC(aStream), castagnoli, b)
}
