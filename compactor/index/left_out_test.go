package index

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// TestLeftOutLeavesNothing merges without one row: its group is written again and the others are copied, and no byte of the new file, no value, no
// statistic, no page bound and no filter knows the row.
func TestLeftOutLeavesNothing(t *testing.T) {
	var recs []cohort.Record
	for i := range 40 {
		recs = append(recs, runRecord(t, i, fmt.Sprintf(`,"note":"n%d","metrics":{"auc":0.%d}`, i%3, i+10)))
	}
	secret := record(t, `{"run_id":"zz-person","stage":"TRAINING","note":"zz-secret","metrics":{"auc":7654.125},"odd":["zz-extra"]}`)
	recs = slices.Insert(recs, 15, secret)
	size := groupSize{rows: 10, bytes: 1 << 30}
	old, _ := mergeWith(t, nil, puts(1, recs...), size)
	f := open(t, old)
	key := cohort.KeyForm{}.Of(secret)
	found, err := f.Find([]cohort.Key{key})
	if err != nil || len(found) != 1 {
		t.Fatalf("found %v, %v", found, err)
	}
	out := taking{old: old}
	stats, err := mergeAll(&out, f, found, f.Schema(), nil, Moves{Out: []cohort.Key{key}}, nil, nil, meta(2), size)
	if err != nil {
		t.Fatal(err)
	}
	if stats.GroupsCopied != 4 || stats.GroupsWritten != 1 || stats.Rows != 40 {
		t.Fatalf("%+v: want 4 groups copied, and 1 written", stats)
	}
	for _, row := range rows(t, out.Bytes()) {
		if bytes.Contains([]byte(row), []byte("zz-")) {
			t.Errorf("a row holds %s", row)
		}
	}
	for _, text := range []string{"zz-person", "zz-secret", "zz-extra"} {
		if !bytes.Contains(old, []byte(text)) {
			t.Errorf("%q does not stand in the old file as it is: is this test looking in the right place?", text)
		}
		if bytes.Contains(out.Bytes(), []byte(text)) {
			t.Errorf("%q stands in the new file", text)
		}
	}
	now := open(t, out.Bytes())
	for g := range now.file.RowGroups() {
		for column, text := range map[string]string{columnKey: string(key), columnRunID: "zz-person"} {
			if may, err := mayHold(now, g, column, []string{text}); err != nil || may {
				t.Errorf("the filter of %s in row group %d says that it may hold %q, %v", column, g, text, err)
			}
		}
	}
	if left := boundsWith(now, "zz-", 7654.125); len(left) > 0 {
		t.Errorf("statistics and page bounds know the row: %v", left)
	}
	if left := boundsWith(f, "zz-", 7654.125); len(left) < 2 {
		t.Errorf("those of the old file know it only in %v: is this test looking in the right place?", left)
	}
}

// boundsWith are the statistics and page bounds of a file that name a text, or a double.
func boundsWith(f *File, text string, number float64) (left []string) {
	for g, rows := range f.file.RowGroups() {
		for c, chunk := range rows.ColumnChunks() {
			meta := f.file.Metadata().RowGroups[g].Columns[c].MetaData
			for _, bound := range [][]byte{meta.Statistics.MinValue, meta.Statistics.MaxValue, meta.Statistics.Min, meta.Statistics.Max} {
				if bytes.Contains(bound, []byte(text)) {
					left = append(left, fmt.Sprintf("statistics of %d/%d", g, c))
				}
			}
			pages, err := chunk.ColumnIndex()
			if err != nil || pages == nil {
				continue
			}
			for p := range pages.NumPages() {
				for _, bound := range []string{pages.MinValue(p).String(), pages.MaxValue(p).String()} {
					if bytes.Contains([]byte(bound), []byte(text)) || bound == fmt.Sprint(number) {
						left = append(left, fmt.Sprintf("bounds of %d/%d/%d", g, c, p))
					}
				}
			}
		}
	}
	return left
}
