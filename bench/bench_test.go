package bench

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// newRoot makes a root that lasts as long as the benchmark.
func newRoot(b *testing.B) cohort.Root {
	b.Helper()
	root := cohort.Root(filepath.Join(b.TempDir(), "runs"))
	if _, _, err := journal.InitRoot(durable.OS, root, cohort.Settings{}); err != nil {
		b.Fatal(err)
	}
	return root
}

// line is a record of about 1 KB, of run n.
func line(n int) []byte {
	features := make([]byte, 0, 512)
	for i := range 28 {
		features = fmt.Appendf(features, `"feature_%04d",`, (n*31+i*17)%10000)
	}
	return fmt.Appendf(nil, `{"run_id":"run-%09d","stage":"TRAINING","timestamp":"2026-03-01T10:00:00Z",`+
		`"metrics":{"auc":0.%06d,"loss":1.%06d,"n_rows":%d,"m1":0.5,"m2":0.25,"m3":0.125,"m4":1e-3,"m5":17},`+
		`"params":{"lr":0.001,"depth":8,"seed":%d},"tags":{"family":"lgbm","mode":"prod"},`+
		`"snapshot":{"features":[%s"end"],"note":"%0100d"}}`,
		n, n%1000000, n%999983, n, n, features, n)
}

func record(b *testing.B, n int) cohort.Record {
	b.Helper()
	r, err := cohort.ParseRecord(line(n), 0)
	if err != nil {
		b.Fatal(err)
	}
	return r
}
