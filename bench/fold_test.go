package bench

import (
	"context"
	"fmt"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
)

// BenchmarkFold measures a fold of 10,000 new records of 1 KB into an index of so many rows, with both
// files published and synced.
func BenchmarkFold(b *testing.B) {
	const fresh = 10_000
	for _, rows := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("new=%d/rows=%d", fresh, rows), func(b *testing.B) {
			if testing.Short() && rows > 0 {
				b.Skip("short")
			}
			root := newRoot(b)
			n := fill(b, root, 0, rows)
			for b.Loop() {
				b.StopTimer()
				n = appendRecords(b, root, n, fresh)
				b.StartTimer()
				foldNow(b, root)
			}
			b.ReportMetric(float64(fresh*b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// fill appends and folds count records from n on, and returns the next n.
func fill(b *testing.B, root cohort.Root, n, count int) int {
	b.Helper()
	n = appendRecords(b, root, n, count)
	foldNow(b, root)
	return n
}

func appendRecords(b *testing.B, root cohort.Root, n, count int) int {
	b.Helper()
	w := newWriter(b, root)
	const batch = 1000
	for left := count; left > 0; left -= batch {
		recs := make([]cohort.Record, min(batch, left))
		for i := range recs {
			recs[i] = record(b, n)
			n++
		}
		if err := w.Append(recs); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return n
}

func foldNow(b *testing.B, root cohort.Root) {
	b.Helper()
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root, KeepAge: -1}); err != nil {
		b.Fatal(err)
	}
}
