package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// memFS holds one segment in memory, under every path.
type memFS struct {
	durable.FS
	data  []byte
	fail  func(off int64, n int) error // asked by each ReadAt
	reads []int                        // their lengths
}

func (m *memFS) Stat(string) (fs.FileInfo, error) { return memInfo(len(m.data)), nil }
func (m *memFS) Open(string) (durable.ReadFile, error) {
	return &memFile{bytes.NewReader(m.data), m}, nil
}
func (m *memFS) reader(s Stream, from Position) (*Reader, error) {
	return open(&Reader{fsys: m, stream: s, path: "seg", pos: from})
}

type memFile struct {
	*bytes.Reader
	fs *memFS
}

func (*memFile) Close() error                 { return nil }
func (*memFile) Sync() error                  { return nil }
func (f *memFile) Stat() (fs.FileInfo, error) { return memInfo(len(f.fs.data)), nil }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.reads = append(f.fs.reads, len(p))
	if f.fs.fail != nil {
		if err := f.fs.fail(off, len(p)); err != nil {
			return 0, err
		}
	}
	return f.Reader.ReadAt(p, off)
}

// memInfo is the FileInfo of a regular file of that size.
type memInfo int64

func (memInfo) Name() string       { return "seg" }
func (i memInfo) Size() int64      { return int64(i) }
func (memInfo) Mode() fs.FileMode  { return 0o644 }
func (memInfo) ModTime() time.Time { return time.Time{} }
func (memInfo) IsDir() bool        { return false }
func (memInfo) Sys() any           { return nil }

// sample is a stream in memory: its bytes, where each entry begins, and its records as show writes them.
type sample struct {
	data    []byte
	at      []int64 // of each entry, then the end
	records []string
	sealed  bool
}

var inC = Stream{"c", aStream}

// newSample makes a stream of a header, n records and, if sealed, a seal. Payloads differ in length.
func newSample(n int, sealed bool) sample {
	s := sample{sealed: sealed}
	s.add(frame{kind: kindHeader, seq: 1, stamp: 100, payload: []byte(`{"cohort":"c"}`)})
	for i := 1; i <= n; i++ {
		json := fmt.Sprintf(`{"run_id":"r-%d","stage":"T","x":"%s"}`, i, strings.Repeat("x", i))
		f := frame{kind: kindRecord, seq: uint64(i + 1), stamp: cohort.Stamp(100 + i), recordID: fmt.Sprint("id", i), payload: []byte(json)}
		s.add(f)
		s.records = append(s.records, fmt.Sprint(f.recordID, " ", f.stamp, " ", json))
	}
	if sealed {
		s.add(frame{kind: kindSeal, seq: uint64(n + 2), stamp: 999, payload: fmt.Appendf(nil, `{"records":%d}`, n)})
	}
	return s
}

func (s *sample) add(f frame) {
	if len(s.at) == 0 {
		s.at = []int64{0}
	}
	s.data = append(s.data, entry(aStream, f)...)
	s.at = append(s.at, int64(len(s.data)))
}

// entries are the bytes of each entry.
func (s sample) entries() [][]byte {
	var out [][]byte
	for i := range len(s.at) - 1 {
		out = append(out, bytes.Clone(s.data[s.at[i]:s.at[i+1]]))
	}
	return out
}

// found is all that a Reader returns of a stream.
type found struct {
	Records []string
	Damage  []string // "offset+length: cause"
	Torn    int64
	Pos     Position
	Err     string // why the reading ended, if not at the end
}

func show(r cohort.Record) string { return fmt.Sprint(r.ID, " ", r.Stamp, " ", string(r.JSON)) }

// drain reads to the end. For all bytes, positions only move forward, and the end stays the end.
func drain(t testing.TB, r *Reader) found {
	t.Helper()
	defer r.Close()
	var out found
	var recs []cohort.Record // looked at only at the end: they must not change as the reading goes on
	for {
		before := r.Position()
		rec, err := r.Next()
		at := r.Position()
		var damage *CorruptError
		switch {
		case err == nil:
			recs = append(recs, rec)
		case errors.As(err, &damage):
			out.Damage = append(out.Damage, fmt.Sprintf("%d+%d: %v", damage.Offset, damage.Length, damage.Err))
			if damage.Offset < before.Offset || damage.Offset+damage.Length > r.size {
				t.Fatalf("damage %v is not between %d and %d", damage, before.Offset, r.size)
			}
		default:
			if _, again := r.Next(); again == nil || (again == io.EOF) != (err == io.EOF) || r.Position() != at {
				t.Fatalf("Next after %v = %v, Position %v after %v", err, again, r.Position(), at)
			}
			if err != io.EOF {
				out.Err = err.Error()
			} else if out.Torn = r.Torn(); at.Offset+out.Torn != sizeWithoutZeros(t, r, at.Offset) {
				t.Fatalf("Position %d and Torn %d do not make the size %d without its zeros", at.Offset, out.Torn, r.size)
			}
			for _, rec := range recs {
				out.Records = append(out.Records, show(rec))
			}
			out.Pos = at
			return out
		}
		if at.Offset < before.Offset || at.Seq < before.Seq || at == before {
			t.Fatalf("Position went from %+v to %+v with %v", before, at, err)
		}
	}
}

// sizeWithoutZeros is where the segment ends, or the zeros at its end begin, but not before an offset.
func sizeWithoutZeros(t testing.TB, r *Reader, from int64) int64 {
	t.Helper()
	if r.w == nil {
		return from
	}
	var data []byte
	if m, ok := r.fsys.(*memFS); ok {
		data = m.data
	} else {
		var err error
		if data, err = os.ReadFile(r.path); err != nil {
			t.Fatal(err)
		}
	}
	return from + int64(len(bytes.TrimRight(data[from:min(r.size, int64(len(data)))], "\x00")))
}

// readBytes reads a segment that holds these bytes.
func readBytes(t testing.TB, data []byte, from Position) found {
	t.Helper()
	r, err := (&memFS{data: data}).reader(inC, from)
	if err != nil {
		t.Fatalf("open %d bytes at %+v: %v", len(data), from, err)
	}
	return drain(t, r)
}

// fromEvery reads a segment again from each position that a first Reader had. It finds exactly the rest.
func fromEvery(t testing.TB, data []byte) {
	t.Helper()
	m := &memFS{data: data}
	r, err := m.reader(inC, Position{})
	if err != nil {
		t.Fatal(err)
	}
	whole := drain(t, r)
	if r, err = m.reader(inC, Position{}); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	records, damage := 0, 0
	for {
		rest := readBytes(t, data, r.Position())
		want := whole
		want.Records, want.Damage = whole.Records[records:], whole.Damage[damage:]
		if diff := cmp.Diff(want, rest, equateEmpty); diff != "" {
			t.Fatalf("from %+v on (-want +got):\n%s", r.Position(), diff)
		}
		_, err := r.Next()
		switch {
		case err == nil:
			records++
		case errors.Is(err, ErrCorrupt):
			damage++
		default:
			return
		}
	}
}

// TestResume goes on from each watermark while the stream grows entry by entry.
func TestResume(t *testing.T) {
	s := newSample(6, true)
	var got []string
	var pos Position
	for _, end := range s.at {
		for _, half := range []int64{max(end-3, pos.Offset), end} { // a torn tail first
			f := readBytes(t, s.data[:half], pos)
			got = append(got, f.Records...)
			pos = f.Pos
		}
		if pos.Offset != end {
			t.Errorf("position %+v, want offset %d", pos, end)
		}
	}
	if diff := cmp.Diff(s.records, got); diff != "" {
		t.Errorf("records of all readers (-want +got):\n%s", diff)
	}
	if !pos.Sealed {
		t.Errorf("position %+v is not sealed", pos)
	}
}

// TestLargeRecords reads records that are larger than what is read at once, in a window that grows to
// the largest of them and not to the file.
func TestLargeRecords(t *testing.T) {
	var s sample
	s.add(frame{kind: kindHeader, seq: 1, payload: []byte(`{"cohort":"c"}`)})
	const large = 3*step + 17
	for i := range 12 {
		n := 100
		if i%3 == 0 {
			n = large
		}
		json := fmt.Sprintf(`{"run_id":"r","stage":"T","x":"%s"}`, strings.Repeat("x", n))
		s.add(frame{kind: kindRecord, seq: uint64(i + 2), recordID: fmt.Sprint(i), payload: []byte(json)})
		s.records = append(s.records, fmt.Sprint(i, " 0 ", json))
	}
	s.add(frame{kind: kindSeal, seq: 14, payload: []byte(`{"records":12}`)})
	m := &memFS{data: s.data}
	r, err := m.reader(inC, Position{})
	if err != nil {
		t.Fatal(err)
	}
	got := drain(t, r)
	if diff := cmp.Diff(s.records, got.Records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if longest := slices.Max(m.reads); longest > large+100 || cap(r.w.buf) > large+100 {
		t.Errorf("read %d bytes at once into a window of %d, want at most a record", longest, cap(r.w.buf))
	}
}

// TestSmallRecordsSmallWindow reads a segment of many windows.
func TestSmallRecordsSmallWindow(t *testing.T) {
	s := newSample(2000, true)
	m := &memFS{data: s.data}
	r, err := m.reader(inC, Position{})
	if err != nil {
		t.Fatal(err)
	}
	got := drain(t, r)
	if diff := cmp.Diff(s.records, got.Records); diff != "" || got.Damage != nil {
		t.Errorf("damage %v, records (-want +got):\n%s", got.Damage, diff)
	}
	if slices.Max(m.reads) > step || cap(r.w.buf) > step {
		t.Errorf("window of %d bytes, want at most %d", cap(r.w.buf), step)
	}
}

// TestLiveReader reads a stream while it is written, as often as it can. It may find torn tails, and no damage.
func TestLiveReader(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	appendRuns(t, w, 1, 1)
	s := streams(t, root)[0]
	const last = 60
	done := make(chan error, 1)
	go func() {
		for n := 2; n <= last; n++ {
			big, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"T","x":"%s"}`, n, strings.Repeat("x", 60000)), 0)
			if err == nil {
				err = w.Append([]cohort.Record{big})
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- w.Close()
	}()
	var got []string
	for pos := (Position{}); !pos.Sealed; {
		c, at := read(t, root, s, pos)
		if len(c.damage) > 0 || at.Offset < pos.Offset {
			t.Fatalf("from %+v to %+v: damage %v", pos, at, c.damage)
		}
		got, pos = append(got, c.runs...), at
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			done = nil
		default:
		}
	}
	if diff := cmp.Diff(runs(1, last), got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestEntries(t *testing.T) {
	s := newSample(2, true)
	list := func(data []byte) (out []string) {
		for e, err := range entries(&memFS{data: data}, "seg", inC) {
			if err != nil {
				out = append(out, err.Error())
				continue
			}
			out = append(out, fmt.Sprintf("%d+%d %s %d %q", e.Offset, e.Size, e.Kind, e.Seq, e.RecordID))
		}
		return out
	}
	want := []string{`0+38 header 1 ""`, `38+71 record 2 "id1"`, `109+72 record 3 "id2"`, `181+37 seal 4 ""`}
	if diff := cmp.Diff(want, list(s.data)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	damaged := bytes.Clone(s.data)
	damaged[50] ^= 1
	damaged = append(damaged, 0)
	want[1] = "seg: 180 bytes at offset 38 are not an entry, perhaps not yet"
	if diff := cmp.Diff(want[:2], list(damaged)); diff != "" {
		t.Errorf("unsealed with a flipped bit (-want +got):\n%s", diff)
	}
	want[1] = "seg: 71 bytes at offset 38: checksum does not fit (entries 2 to 2)"
	if diff := cmp.Diff(want, list(damaged[:len(s.data)])); diff != "" {
		t.Errorf("sealed with a flipped bit (-want +got):\n%s", diff)
	}
	for e, err := range Entries(filepath.Join(t.TempDir(), "typo"), inC) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Entries of a missing file = %+v, %v", e, err)
		}
	}
	for range entries(&memFS{data: s.data}, "seg", inC) {
		break // the caller may stop
	}
}

// TestReread returns every record again, in any order, and refuses a place that does not hold that record.
func TestReread(t *testing.T) {
	s := newSample(20, true)
	fsys := &memFS{data: s.data}
	r, err := fsys.reader(inC, Position{})
	if err != nil {
		t.Fatal(err)
	}
	var want []cohort.Record
	var refs []Ref
	for rec, err := r.Next(); err == nil; rec, err = r.Next() {
		want, refs = append(want, rec), append(refs, r.Ref())
	}
	if len(want) != 20 {
		t.Fatalf("%d records, want 20", len(want))
	}
	again, err := fsys.reader(inC, Position{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range slices.Backward(refs) {
		got, err := again.Reread(refs[i])
		if err != nil {
			t.Fatalf("Reread(%v): %v", refs[i], err)
		}
		if diff := cmp.Diff(want[i], got, cmpopts.IgnoreUnexported(cohort.Record{})); diff != "" {
			t.Errorf("record %d (-Next +Reread):\n%s", i, diff)
		}
	}
	for name, bad := range map[string]Ref{
		"another frame": {refs[1].Offset, refs[2].CRC}, "within one": {refs[1].Offset + 1, refs[1].CRC},
		"header": {0, refs[0].CRC}, "after the end": {int64(len(s.data)), refs[0].CRC},
	} {
		if _, err := again.Reread(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	fsys.fail = func(int64, int) error { return fs.ErrPermission }
	again.w.buf = nil
	if _, err := again.Reread(refs[3]); !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrCorrupt) {
		t.Errorf("disk fails: %v", err)
	}
}
