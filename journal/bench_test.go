package journal

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// BenchmarkAppend measures durable appends of records of 1 KB by goroutines that share a Writer.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 100, 400} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			root := cohort.Root(b.TempDir() + "/runs")
			if _, _, err := InitRoot(root, cohort.Settings{}, RootOptions{}); err != nil {
				b.Fatal(err)
			}
			w, err := Create(root, "c", Options{})
			if err != nil {
				b.Fatal(err)
			}
			data := fmt.Appendf(nil, `{"run_id":"r-1","stage":"T","metrics":{"auc":0.7123,"loss":1.5},"snapshot":{"note":"%0900d"}}`, 7)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for range writers {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						r, err := cohort.ParseRecord(data, 0)
						if err == nil {
							err = w.Append([]cohort.Record{r})
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			if err := w.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
