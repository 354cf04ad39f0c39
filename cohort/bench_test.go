package cohort_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// kilobyte is a record of about 1 KB, as a training job logs it.
func kilobyte() []byte {
	var features []byte
	for i := range 28 {
		features = fmt.Appendf(features, `"feature_%04d",`, i*17)
	}
	return fmt.Appendf(nil, `{"run_id":"run-000000017","stage":"TRAINING","timestamp":"2026-03-01T10:00:00Z",`+
		`"metrics":{"auc":0.000017,"loss":1.000017,"n_rows":17,"m1":0.5,"m2":0.25,"m3":0.125,"m4":1e-3},`+
		`"params":{"lr":0.001,"depth":8,"seed":17},"tags":{"family":"lgbm","mode":"prod"},`+
		`"snapshot":{"features":[%s"end"],"note":"%0100d"}}`, features, 17)
}

func BenchmarkParseRecord(b *testing.B) {
	data := kilobyte()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cohort.ParseRecord(data, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDigest compares the digest with what it could be instead, see docs/decisions/0027.
func BenchmarkDigest(b *testing.B) {
	kilo := kilobyte()
	for _, size := range []int{256, len(kilo), 64 << 10} {
		r := cohort.Record{JSON: bytes.Repeat(kilo, size/len(kilo)+1)[:size]}
		b.Run(fmt.Sprintf("size=%d/sum=xxhash", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				r.Digest()
			}
		})
		b.Run(fmt.Sprintf("size=%d/sum=sha256", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				sha256.Sum256(r.JSON)
			}
		})
	}
}

func BenchmarkEachMember(b *testing.B) {
	data := kilobyte()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		for range jsonscan.EachMember(data) {
		}
	}
}

func BenchmarkQuote(b *testing.B) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = jsonscan.AppendQuote(buf[:0], "run-000000017:TRAINING")
	}
}
