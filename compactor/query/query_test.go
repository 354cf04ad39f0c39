package query

import (
	"bytes"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0 chooses one")

// indexOf is an index of records, one a line, which get the seqs from 1 on.
func indexOf(t testing.TB, lines string) *index.File {
	t.Helper()
	var recs []cohort.Record
	for line := range strings.Lines(lines) {
		r, err := cohort.ParseRecord([]byte(strings.TrimSpace(line)), 0)
		if err == nil {
			err = r.Validate()
		}
		if err != nil {
			t.Fatalf("record %.200s: %v", line, err)
		}
		r.Cohort, r.Stream, r.Stamp = "churn_eu", "01JZZZZZZZZZZZZZZZZZZZZZZZ", cohort.Stamp(1_700_000_000_000_000_000)+cohort.Stamp(len(recs))
		if r.ID == "" {
			r.ID = fmt.Sprintf("id-%d", len(recs)+1)
		}
		recs = append(recs, r)
	}
	var puts []index.Put
	for i, r := range recs {
		puts = append(puts, index.Put{Key: cohort.KeyForm{}.Of(r), Seq: cohort.Seq(i + 1), Record: &r})
	}
	var out bytes.Buffer
	meta := index.Meta{Generation: 1, Token: "0123456789abcdef", Program: "runfold test"}
	if _, err := index.Merge(&out, nil, nil, index.Schema{}.Extend(recs), puts, nil, meta); err != nil {
		t.Fatalf("Merge: %v", err)
	}
	f, err := index.Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return f
}

// TestScripts: "records" makes an index, "select" prints the run_ids of the selected rows, or the error, with the hints; "names" prints the
// columns that an expression looks at.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var f *index.File
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "records":
				f = indexOf(t, d.Input)
				return ""
			case "names":
				e, err := Parse(d.Input)
				if err != nil {
					return err.Error() + "\n"
				}
				return strings.Join(e.Names(), "\n") + "\n"
			case "select":
				var out strings.Builder
				for text := range strings.SplitSeq(d.Input, "\n") {
					if strings.Contains(d.Input, "\n") {
						fmt.Fprintf(&out, "%s  -->  ", text)
					}
					fmt.Fprintln(&out, selected(t, text, f))
				}
				return out.String()
			}
			d.Fatalf(t, "unknown command %q", d.Cmd)
			return ""
		})
	})
}

// selected are the run_ids that an expression selects, after its hints.
func selected(t *testing.T, text string, files ...*index.File) string {
	e, err := Parse(text)
	if err != nil {
		return err.Error()
	}
	hints, err := Hints(t.Context(), e, files...)
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, h := range hints {
		out += "hint: " + h + "\n"
	}
	var runs []string
	for h, err := range Select(t.Context(), e, files...) {
		if err != nil {
			return out + err.Error()
		}
		runs = append(runs, h.RunID)
	}
	if runs == nil {
		return out + "none"
	}
	return out + strings.Join(runs, " ")
}
