package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// line is a record of about 1 KB, of run n: metrics, parameters, tags, and a snapshot that is most of it.
func line(n int) []byte {
	features := make([]byte, 0, 640)
	for i := range 34 {
		features = fmt.Appendf(features, `"feature_%04d",`, (n*31+i*17)%10000)
	}
	return fmt.Appendf(nil, `{"run_id":"run-%09d","stage":"TRAINING","timestamp":"2026-03-01T10:00:00Z",`+
		`"metrics":{"auc":0.%06d,"loss":1.%06d,"n_rows":%d,"m1":0.5,"m2":0.25,"m3":0.125,"m4":1e-3,"m5":17},`+
		`"params":{"lr":0.001,"depth":8,"seed":%d},"tags":{"family":"lgbm","mode":"prod"},`+
		`"snapshot":{"features":[%s"end"],"note":"%0100d"}}`,
		n, n%1000000, n%999983, n, n, features, n)
}

// writeRecords writes the records of these runs as NDJSON, for those who read that.
func writeRecords(name string, runs []int) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	for _, n := range runs {
		if _, err := io.WriteString(w, string(line(n))+"\n"); err != nil {
			return err
		}
	}
	return w.Flush()
}

// span is the runs from first on.
func span(first, count int) []int {
	runs := make([]int, count)
	for i := range runs {
		runs[i] = first + i
	}
	return runs
}
