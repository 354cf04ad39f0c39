package query

import (
	"bytes"
	"flag"
	"fmt"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

var benchRows = flag.Int("bench-rows", 200_000, "rows of the index that is selected from")

// BenchmarkSelect selects from rows with three metrics and two parameters; of every tenth, _extra has a list.
func BenchmarkSelect(b *testing.B) {
	f := benchIndex(b, *benchRows)
	for name, text := range map[string]string{
		"fixed":   "stage = 'EVALUATION'",
		"metric":  "metrics.auc > 0.9999",
		"two":     "metrics.auc > 0.7 and params.lr = 0.01",
		"run":     "run_id = 'r-1f5'",
		"last":    fmt.Sprintf("snapshot_seq > %d", *benchRows-100),
		"pattern": "run_id like 'r-1f%'",
	} {
		e, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("rows=%d/where=%s", *benchRows, name), func(b *testing.B) {
			rows := 0
			for b.Loop() {
				rows = 0
				for _, err := range Select(b.Context(), e, f) {
					if err != nil {
						b.Fatal(err)
					}
					rows++
				}
			}
			b.ReportMetric(float64(rows), "selected")
		})
	}
}

// BenchmarkRows reads the first rows of a sort, with values.
func BenchmarkRows(b *testing.B) {
	src := Source{Index: benchIndex(b, *benchRows)}
	for _, c := range []struct{ name, where, sort string }{
		{"where=two/sort=metric", "metrics.auc > 0.7 and params.lr = 0.01", "-metrics.auc"},
		{"where=two/sort=last", "metrics.auc > 0.7 and params.lr = 0.01", "-snapshot_seq"},
		{"where=two/sort=none", "metrics.auc > 0.7 and params.lr = 0.01", ""},
		{"where=fixed/sort=metric", "stage = 'EVALUATION'", "metrics.loss"},
	} {
		q := Query{Columns: []string{"run_id", "metrics.auc", "params.lr"}, Limit: 20}
		var err error
		if q.Where, err = Parse(c.where); err == nil && c.sort != "" {
			q.Sort, err = ParseOrder(c.sort)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("rows=%d/%s", *benchRows, c.name), func(b *testing.B) {
			for b.Loop() {
				for _, err := range q.Rows(b.Context(), src) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func benchIndex(b testing.TB, n int) *index.File {
	b.Helper()
	var puts []index.Put
	load := func(p index.Put) (cohort.Record, error) {
		i := int(p.N)
		list, stage := "", "TRAINING"
		if i%10 == 0 {
			list = `,"layers":[64,64]`
		}
		if i%1000 == 999 {
			stage = "EVALUATION"
		}
		text := fmt.Sprintf(`{"run_id":"r-%x","stage":"%s","metrics":{"auc":%g,"loss":%g,"n":%d},"params":{"lr":%s,"depth":%d%s}}`,
			i*7919%n, stage, float64(i*7%n)/float64(n), 1/float64(i+1), i, []string{"0.1", "0.03", "0.01"}[i%3], i%12, list)
		r, err := cohort.ParseRecord([]byte(text), 0)
		r.Cohort, r.Stream, r.Stamp, r.ID = "churn_eu", "01JZZZZZZZZZZZZZZZZZZZZZZZ", cohort.Stamp(1_700_000_000_000_000_000)+cohort.Stamp(i), fmt.Sprintf("id-%d", i)
		return r, err
	}
	var recs []cohort.Record
	for i := range n {
		p := index.Put{Seq: cohort.Seq(i + 1), N: int32(i)}
		r, err := load(p)
		if err != nil {
			b.Fatal(err)
		}
		if i < 20 {
			recs = append(recs, r)
		}
		p.Key = cohort.KeyForm{}.Of(r)
		puts = append(puts, p)
	}
	var out bytes.Buffer
	meta := index.Meta{Generation: 1, Token: "0123456789abcdef", Program: "runfold test"}
	if _, err := index.Merge(&out, nil, nil, index.Schema{}.Extend(recs), puts, load, meta); err != nil {
		b.Fatal(err)
	}
	f, err := index.Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		b.Fatal(err)
	}
	return f
}
