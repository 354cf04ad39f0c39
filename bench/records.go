package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
)

// line is a record of about 1 KB, of run n, as a training job logs it: metrics that are never round, parameters
// and tags from small sets, and a snapshot of what went in, with fingerprints. The same n gives the same bytes.
func line(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	b := fmt.Appendf(make([]byte, 0, 1100), `{"run_id":"%s","stage":"%s","timestamp":"2026-03-%02dT%02d:%02d:%02d.%03dZ","metrics":{`,
		idOf(n), stageOf(n), 1+n/86400/1000%28, n/3600000%24, n/60000%60, n/1000%60, n%1000)
	for i, name := range [...]string{"auc", "loss", "val_loss", "precision", "recall", "f1", "logloss", "rmse", "mae", "r2"} {
		if i > 2 && r.IntN(5) == 0 {
			continue // not every run has every metric
		}
		b = fmt.Appendf(b, `"%s":%.12g,`, name, r.Float64())
	}
	b = fmt.Appendf(b, `"n_rows":%d},"params":{"lr":%g,"depth":%d,"seed":%d,"optimizer":"%s"},"tags":{"family":"%s","mode":"prod","git_commit":"%010x"},`,
		r.IntN(1_000_000), []float64{0.1, 0.03, 0.01, 1e-3}[r.IntN(4)], 4+r.IntN(12), r.IntN(1_000_000), []string{"adam", "sgd"}[r.IntN(2)],
		[]string{"lgbm", "resnet", "mlp"}[r.IntN(3)], r.Uint64()>>24)
	b = fmt.Appendf(b, `"duration_s":%.3f,"snapshot":{"fingerprints":{"data":"sha256:%016x%016x","code":"%010x","config":"sha256:%016x%016x"},"features":[`,
		1000*r.Float64(), r.Uint64(), r.Uint64(), r.Uint64()>>24, r.Uint64(), r.Uint64())
	for range 16 {
		b = fmt.Appendf(b, `"feature_%04d",`, r.IntN(10_000))
	}
	b = append(b, `"end"],"curve":[`...)
	for range 8 {
		b = fmt.Appendf(b, `%.6f,`, r.Float64())
	}
	return append(b, `0],"early_stop":false}}`...)
}

func idOf(n int) string { return fmt.Sprintf("run-%09d", n) }

func stageOf(n int) string { return []string{"TRAINING", "EVALUATION"}[n%2] }

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
		if _, err := w.Write(append(line(n), '\n')); err != nil {
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
