//go:build unix

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// failingCalls lets the n-th call of a Writer's streams fail that is of the row's kind, or all if n is durabletest.Every.
type failingCalls struct {
	row durabletest.Errno
	n   int

	mu  sync.Mutex // guards met
	met int
}

func (f *failingCalls) fails(op string) bool {
	if op != f.row.Op {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.met++
	return f.n == durabletest.Every || f.met-1 == f.n
}

// install puts f between w and its streams: their directories, and their segments.
func (f *failingCalls) install(w *Writer) {
	create := w.create
	w.create = func() (*stream, error) {
		st, err := create()
		if err != nil {
			return nil, err
		}
		for i, d := range st.dirs {
			if above, ok := d.(aboveRoot); ok {
				st.dirs[i] = aboveRoot{failingSync{above.Dir, f}}
			} else {
				st.dirs[i] = failingSync{d, f}
			}
		}
		st.seg = failingSegment{st.seg, f}
		return st, nil
	}
}

type failingSync struct {
	durable.Dir
	f *failingCalls
}

func (d failingSync) Sync() error {
	if d.f.fails("syncdir") {
		return &fs.PathError{Op: "sync", Path: "dir", Err: d.f.row.Err}
	}
	return d.Dir.Sync()
}

// failingSegment is one whose write or fsync fails.
type failingSegment struct {
	segment
	f *failingCalls
}

func (s failingSegment) write(first uint64, frames [][]byte) error {
	if s.f.fails("write") {
		return &fs.PathError{Op: "write", Path: "segment", Err: s.f.row.Err}
	}
	return s.segment.write(first, frames)
}

func (s failingSegment) sync() error {
	if s.f.fails("fsync") {
		return &fs.PathError{Op: "sync", Path: "segment", Err: s.f.row.Err}
	}
	return s.segment.sync()
}

// TestErrnosOfAppend goes through the table: each write and sync of an append fails once, and all of a kind fail. Where the table says
// so, the append goes on as if nothing had been. Else what was acknowledged stands in another stream, or nothing is acknowledged.
func TestErrnosOfAppend(t *testing.T) {
	faults := 0
	defer func() { t.Logf("figure: %d calls of an append failed", faults) }()
	for _, row := range durabletest.Errnos() {
		if !slices.Contains([]string{"write", "fsync", "syncdir"}, row.Op) {
			continue
		}
		for n := durabletest.Every; ; n++ {
			root := newRoot(t)
			w := newWriter(t, root, Options{})
			f := &failingCalls{row: row, n: n}
			f.install(w)
			recs := []cohort.Record{rec(t, 1)}
			err := w.Append(recs)
			if f.met <= n {
				break
			}
			faults++
			when := fmt.Sprintf("%v at %d", row, n)
			// The directory above the root was synced by who made the root. We may have no right to read it.
			above := row.Op == "syncdir" && n == 4 && errors.Is(row.Err, fs.ErrPermission)
			switch goesOn := row.Then == durabletest.GoesOn || above; {
			case goesOn:
				if err != nil || len(streams(t, root)) != 1 {
					t.Errorf("%s: Append = %v, %d streams", when, err, len(streams(t, root)))
				}
			case n == durabletest.Every:
				if !errors.Is(err, row.Err) || durable.IsFull(err) != (row.Then == durabletest.Again) {
					t.Errorf("%s: Append = %v", when, err)
				}
				if again := w.Append([]cohort.Record{rec(t, 2)}); again == nil {
					t.Errorf("%s: a dead Writer acknowledges", when)
				}
			default:
				if err != nil || len(streams(t, root)) != 2 || recs[0].Stream != w.stream.ID {
					t.Errorf("%s: Append = %v, %d streams", when, err, len(streams(t, root)))
				}
			}
			if err == nil {
				if c, _ := read(t, root, Stream{"c", recs[0].Stream}, Position{}); !slices.Equal(c.runs, runs(1, 1)) {
					t.Errorf("%s: acknowledged, and the stream holds %q", when, c.runs)
				}
			}
		}
	}
}
