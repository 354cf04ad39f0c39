package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// sample is an index of a few row groups.
func sample(t testing.TB) []byte {
	t.Helper()
	var recs []cohort.Record
	for i := range 250 {
		recs = append(recs, runRecord(t, i, fmt.Sprintf(`,"a":%d,"s":"x%d","metrics":{"m":0.%d},"list":[%d]`, i, i%7, i, i)))
	}
	data, _ := mergeWith(t, nil, puts(1, recs...), groupSize{100, 1 << 20})
	return data
}

// use does all that can be done with an index, and returns its rows.
func use(data []byte) (rows []string, err error) {
	f, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	for row, err := range f.Rows() {
		if err != nil {
			return nil, err
		}
		rows = append(rows, string(row))
	}
	for _, err := range f.Identities() {
		if err != nil {
			return nil, err
		}
	}
	if _, err := f.Find([]cohort.Key{"r1:TRAINING", "r200:TRAINING"}); err != nil {
		return nil, err
	}
	for _, err := range f.Choose(context.Background(), Choice{Columns: []string{"a", "s", "_extra"}, Row: oddRow}) {
		if err != nil {
			return nil, err
		}
	}
	for _, g := range f.Groups() {
		if err := pickAll(g); err != nil {
			return nil, err
		}
	}
	_, err = mergeSized(io.Discard, f, nil, f.Schema(), nil, nil, meta(2), groupSize{100, 1 << 20})
	return rows, err
}

// oddRow chooses some rows, and looks at what bounds and _extra say.
func oddRow(v []Value) (bool, error) {
	for _, err := range EachExtra(v[2].Text()) {
		if err != nil {
			return false, err
		}
	}
	return v[0].Int()%2 == 1 && len(v[1].Text()) > 0, nil
}

func TestTruncated(t *testing.T) {
	data := sample(t)
	for n := 0; n < len(data); n += 1 + n%97 {
		if _, err := use(data[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("index cut at %d of %d bytes: error is %v", n, len(data), err)
		}
		// The file shrank after its size was taken.
		_, err := Open(bytes.NewReader(data[:n]), int64(len(data)))
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("index that shrank to %d of %d bytes: error is %v", n, len(data), err)
		}
	}
	if err := Verify(bytes.NewReader(data), int64(len(data)), 249); !errors.Is(err, ErrDamaged) {
		t.Errorf("Verify with the wrong number of rows: %v", err)
	}
}

// TestBitFlips flips bits all over an index. Nothing may panic, and what is in the pages must be found
// out. Footer, page index and bloom filters have no checksums in Parquet: there a flip may go
// unnoticed, which is why a manifest has one of the whole file.
func TestBitFlips(t *testing.T) {
	data := sample(t)
	want, err := use(data)
	if err != nil {
		t.Fatal(err)
	}
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	r := rand.New(rand.NewPCG(s, 0))
	missed, flips := 0, 400/fewer
	if testing.Short() {
		flips = 100
	}
	for range flips {
		bad := bytes.Clone(data)
		at := r.IntN(len(bad))
		bad[at] ^= 1 << r.IntN(8)
		got, err := use(bad)
		if err == nil && !slices.Equal(got, want) {
			missed++
		}
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, cohort.ErrNewer) {
			t.Errorf("flip at %d: %v", at, err)
		}
	}
	t.Logf("figure: %d bits flipped in an index, of which %d would change rows without the checksum of the file", flips, missed)
}

func TestNewer(t *testing.T) {
	var out bytes.Buffer
	l := newLayout(nil)
	w := parquet.NewGenericWriter[any](&out, options(l)...)
	w.SetKeyValueMetadata(metaVersion, strconv.Itoa(version+1))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if !errors.Is(err, cohort.ErrNewer) || errors.Is(err, ErrDamaged) {
		t.Errorf("index of version %d: %v", version+1, err)
	}
}

func TestNotAnIndex(t *testing.T) {
	type row struct {
		A int64 `parquet:"a"`
	}
	var out bytes.Buffer
	if err := parquet.Write(&out, []row{{1}}); err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{nil, []byte("PAR1"), []byte(strings.Repeat("PAR1", 10)), out.Bytes()} {
		if _, err := Open(bytes.NewReader(data), int64(len(data))); !errors.Is(err, ErrDamaged) {
			t.Errorf("Open of %.20q: %v", data, err)
		}
	}
}

// failing is a source whose every read after the first n fails.
type failing struct {
	io.ReaderAt
	n atomic.Int64
}

func failingAfter(data []byte, n int64) *failing {
	f := &failing{ReaderAt: bytes.NewReader(data)}
	f.n.Store(n)
	return f
}

var errDisk = errors.New("disk is on fire")

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.n.Add(-1) < 0 {
		return 0, errDisk
	}
	return f.ReaderAt.ReadAt(p, off)
}

// TestReadErrors: an error of the disk is not taken for damage, wherever it comes.
func TestReadErrors(t *testing.T) {
	data := sample(t)
	for n := int64(0); ; n += 1 + n/20 {
		f, err := Open(failingAfter(data, n), int64(len(data)))
		if err == nil {
			_, err = mergeSized(io.Discard, f, nil, f.Schema(), nil, nil, meta(2), groupSize{100, 1 << 20})
		}
		if err == nil {
			t.Logf("%d reads", n)
			return
		}
		if !errors.Is(err, errDisk) || errors.Is(err, ErrDamaged) {
			t.Fatalf("read %d failed: %v", n, err)
		}
	}
}

type failingWriter struct{ n int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	data := sample(t)
	f := open(t, data)
	more := puts(1000, runRecord(t, 3000, `,"a":1`))
	for n := 0; ; n += 701 {
		_, err := mergeSized(&failingWriter{n}, f, nil, f.Schema(), more, nil, meta(2), groupSize{100, 1 << 20})
		if err == nil {
			return
		}
		if !errors.Is(err, errDisk) || errors.Is(err, ErrDamaged) {
			t.Fatalf("write at %d failed: %v", n, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(sample(f))
	small, _ := merge(f, nil, puts(1, runRecord(f, 1, `,"a":1`)))
	f.Add(small)
	f.Fuzz(func(_ *testing.T, data []byte) {
		use(data)
	})
}
