package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// breaking panics in the n-th call of Write or ReadAt, and in each after it. Reads that the library did not ask for go well.
type breaking struct {
	r io.ReaderAt
	n atomic.Int64
}

func breakingAfter(data []byte, n int64) *breaking {
	b := &breaking{r: bytes.NewReader(data)}
	b.n.Store(n)
	return b
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.n.Add(-1) < 0 {
		panic("broken writer")
	}
	return len(p), nil
}

func (b *breaking) ReadAt(p []byte, off int64) (int, error) {
	if b.n.Add(-1) < 0 && bytes.Contains(debug.Stack(), []byte("parquet-go/parquet-go.")) {
		panic("broken reader")
	}
	return b.r.ReadAt(p, off)
}

// isOurs tells whether an error says that a bug of ours made it, and where.
func isOurs(err error, at string) bool {
	return err != nil && !errors.Is(err, ErrDamaged) && strings.Contains(err.Error(), "internal error") &&
		strings.Contains(err.Error(), "report it") && strings.Contains(err.Error(), at)
}

// TestPanicWhileWriting: wherever a writer panics, while rows are encoded, row groups are copied, or the footer is written,
// that is our own bug and no damage. The error has the stack.
func TestPanicWhileWriting(t *testing.T) {
	data := sample(t)
	more := puts(251, runRecord(t, 900, `,"a":1,"s":"x","metrics":{"m":0.5},"list":[1]`))
	for n := int64(0); ; n += 1 + n/8 {
		f := open(t, data)
		w := breakingAfter(nil, n)
		_, err := mergeSized(w, f, nil, f.Schema(), more, nil, meta(2), groupSize{100, 1 << 20})
		if err == nil {
			if n < 5 {
				t.Fatalf("an index was made in %d writes", n)
			}
			return
		}
		if !isOurs(err, "(*breaking).Write") {
			t.Fatalf("panic in write %d: %v", n, err)
		}
	}
}

// TestPanicOfTheLibrary: a panic of the library over rows that we gave it is our own bug, too.
func TestPanicOfTheLibrary(t *testing.T) {
	w, err := newWriter(io.Discard, newLayout(nil), fullGroup, meta(1))
	if err != nil {
		t.Fatal(err)
	}
	err = w.add(true, func(r parquet.Row) (parquet.Row, error) {
		for i := range w.layout.width() {
			r = append(r, parquet.Int64Value(1).Level(0, 0, i+1)) // of the wrong kinds, in the wrong columns
		}
		return r, nil
	})
	if err == nil {
		err = w.flush()
	}
	if !isOurs(err, "parquet-go") {
		t.Errorf("rows that no index has: %v", err)
	}
}

// TestPanicOfAnEncoder: a panic in a goroutine that encodes records is our own bug, too.
func TestPanicOfAnEncoder(t *testing.T) {
	c := &rowChunk{puts: puts(1, runRecord(t, 1, "")), done: make(chan struct{})}
	c.recs = append(c.recs, c.memory.Keep(*c.puts[0].Record))
	c.encode(&encoder{})
	m := &merger{encoder: newEncoder(newLayout(nil))}
	if err := m.writeChunk(c); !isOurs(err, "(*rowChunk).encode") {
		t.Errorf("an encoder that panics: %v", err)
	}
}

// TestPanicOfARewrite: a panic in a goroutine that encodes an old row group is our own bug, too.
func TestPanicOfARewrite(t *testing.T) {
	g := &rewritten{done: make(chan struct{})}
	g.encode(&merger{}, nil, 0, 0)
	if err := new(merger).rewriteGroup(groupPlan{}, g); !isOurs(err, "(*rewritten).encode") {
		t.Errorf("a row group that cannot be encoded: %v", err)
	}
}

// TestPanicWhileReading: what the library cannot cope with while it reads an old index may be damage, wherever it is read.
func TestPanicWhileReading(t *testing.T) {
	data := sample(t)
	key := cohort.Key("r1:TRAINING")
	for n := int64(0); ; n += 1 + n/8 {
		r := breakingAfter(data, n)
		err := func() error {
			f, err := Open(r, int64(len(data)))
			if err != nil {
				return err
			}
			found, err := f.Find([]cohort.Key{key})
			if err != nil {
				return err
			}
			again := puts(251, runRecord(t, 1, `,"a":1`))
			_, err = mergeSized(io.Discard, f, found, f.Schema(), again, nil, meta(2), groupSize{100, 1 << 20})
			return err
		}()
		if err == nil {
			if n < 5 {
				t.Fatalf("an index was read in %d reads", n)
			}
			return
		}
		if !errors.Is(err, ErrDamaged) || !strings.Contains(fmt.Sprint(err), "broken reader") {
			t.Fatalf("panic in read %d: %v", n, err)
		}
	}
}
