package index

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// TestFieldsOfRow reads of a row what the record said, in the same form as from the record itself.
func TestFieldsOfRow(t *testing.T) {
	var recs []cohort.Record
	for i := range 900 {
		recs = append(recs, runRecord(t, i, fmt.Sprintf(`,"n":%d,"metrics":{"auc":0.5,"deep":{"x":%d},"bad":"text"},"params":{},"tags":{"v":7},"list":[%d],"none":null`, i, i, i)))
	}
	recs = append(recs, runRecord(t, 7, ``)) // a second row of one run, of another stage
	recs[900].Stage = "EVAL"
	data, _ := mergeWith(t, nil, puts(1, recs...), groupSize{rows: 300, bytes: 1 << 20})
	f := open(t, data)
	got, err := f.PlacesOf([]string{"r7", "r899", "unknown", "r7"})
	if err != nil {
		t.Fatal(err)
	}
	var seqs []cohort.Seq
	for _, p := range got {
		seqs = append(seqs, p.Seq)
	}
	if diff := cmp.Diff([]cohort.Seq{8, 900, 901}, seqs); diff != "" {
		t.Fatalf("rows of the runs (-want +got):\n%s", diff)
	}
	want := map[string]string{"n": "899", "metrics.auc": "0.5", "metrics.deep": `{"x":899}`, "metrics.bad": `"text"`, "params": "{}", "tags.v": "7", "list": "[899]"}
	texts := func(fields map[string][]byte) map[string]string {
		out := map[string]string{}
		for name, value := range fields {
			out[name] = string(value)
		}
		return out
	}
	row, err := f.Fields(got[1])
	if err != nil {
		t.Fatal(err)
	}
	record := map[string][]byte{}
	for name, value := range FlatFields(recs[899].Members) {
		record[name] = value
	}
	stored := map[string][]byte{}
	for name, value := range row {
		stored[name] = value
	}
	if diff := cmp.Diff(want, texts(stored)); diff != "" {
		t.Errorf("fields of the row (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, texts(record)); diff != "" {
		t.Errorf("fields of the record (-want +got):\n%s", diff)
	}
	if none, err := f.PlacesOf([]string{"unknown"}); err != nil || len(none) != 0 {
		t.Errorf("rows of a run that is not there: %v, %v", none, err)
	}
}

func TestOneSpelling(t *testing.T) {
	for value, want := range map[string]string{
		"1": "1", "1.0": "1", "1e0": "1", "0.10": "0.1", "-0.0": "0", "25000.0": "25000", "1e400": "1e400", "9007199254740993": "9007199254740993",
		"9007199254740994": "9.007199254740994e+15", "9007199254740994.0": "9.007199254740994e+15", "18446744073709551615": "18446744073709551615",
		`"a\u00fc"`: `"aü"`, `"\ud800"`: `"\ud800"`, "true": "true", "[1.0]": "[1.0]",
	} {
		if got := string(oneSpelling([]byte(value))); got != want {
			t.Errorf("oneSpelling(%s) = %s, want %s", value, got, want)
		}
	}
}
