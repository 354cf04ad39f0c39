package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// BenchmarkAppend measures durable appends of 1 KB records by many goroutines.
//
//	v=shared  one Writer, group commit
//	v=own     a Writer each, as separate processes have
//	v=naive   one lock, read the whole file, add the record, replace the file
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 100} {
		for _, v := range []struct {
			name string
			open func(b *testing.B, writers int) (appendOne func(writer, n int) error)
		}{{"shared", shared}, {"own", own}, {"naive", naive}} {
			b.Run(fmt.Sprintf("v=%s/writers=%d", v.name, writers), func(b *testing.B) {
				appendMany(b, writers, v.open(b, writers))
			})
		}
	}
}

// appendMany spreads b.N appends over goroutines.
func appendMany(b *testing.B, writers int, appendOne func(writer, n int) error) {
	b.Helper()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := appendOne(w, int(n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func shared(b *testing.B, _ int) func(int, int) error {
	w := newWriter(b, newRoot(b))
	return func(_, n int) error { return w.Append([]cohort.Record{record(b, n)}) }
}

func own(b *testing.B, writers int) func(int, int) error {
	root := newRoot(b)
	ws := make([]*journal.Writer, writers)
	for i := range ws {
		ws[i] = newWriter(b, root)
	}
	return func(writer, n int) error { return ws[writer].Append([]cohort.Record{record(b, n)}) }
}

func newWriter(b *testing.B, root cohort.Root) *journal.Writer {
	b.Helper()
	w, err := journal.Create(root, "bench", journal.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := w.Close(); err != nil {
			b.Error(err)
		}
	})
	return w
}

// naive is what this project began as: correct on one machine, and its cost grows with the file.
func naive(b *testing.B, _ int) func(int, int) error {
	name := filepath.Join(b.TempDir(), "snapshot_index.json")
	var mu sync.Mutex // kinder than a lock file that is polled
	return func(_, n int) error {
		mu.Lock()
		defer mu.Unlock()
		old, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		return durable.Replace(durable.OS, name, bytes.Join([][]byte{old, line(n)}, []byte("\n")), 0o644)
	}
}
