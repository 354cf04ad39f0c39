package index

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
)

// pickAll reads a group in each way.
func pickAll(g Group) error {
	columns := []string{"a", "s", "none", columnKey, columnTimestamp, columnExtra, "a"}
	if err := g.Each(columns, func(int64, []Value) error { return nil }); err != nil {
		return err
	}
	some := []int64{0, g.Rows() / 2, g.Rows() - 1}
	if err := g.At(columns, slices.Compact(some), func(int64, []Value) error { return nil }); err != nil {
		return err
	}
	_, _, err := g.Words(columnCohort)
	return err
}

func valuesText(values []Value) string {
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "%d %d %s|", v.Kind, v.bits, v.text)
	}
	return b.String()
}

// TestAt: single rows, of pages that are passed over and of ones that are next to each other, have the values that all rows have.
func TestAt(t *testing.T) {
	var recs []cohort.Record
	for i := range 30_000 {
		stage := ""
		if i%3 > 0 {
			stage = fmt.Sprintf(`,"a":%d,"s":"text %d","metrics":{"m":%d.5}`, i, i%7, i)
		}
		recs = append(recs, runRecord(t, i, stage+`,"list":[1]`))
	}
	data, _ := mergeOnly(t, nil, puts(1, recs...), fullGroup)
	g := open(t, data).Groups()[0]
	columns := []string{"metrics.m", "s", columnKey, "none", "a", columnExtra, columnPhase, "a"}
	var all []string
	if err := g.Each(columns, func(row int64, values []Value) error {
		if int(row) != len(all) {
			t.Fatalf("row %d follows %d others", row, len(all))
		}
		all = append(all, valuesText(values))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	last := int64(len(all) - 1)
	dense := make([]int64, 0, len(all)/2)
	for i := int64(0); i <= last; i += 2 {
		dense = append(dense, i)
	}
	for _, rows := range [][]int64{{}, {0}, {last}, {0, 1, 2, 15, 16, 17, 18, 40}, {100, 116, 133, 9_000, 9_001, 20_000, last - 1, last}, dense} {
		var got []int64
		if err := g.At(columns, rows, func(row int64, values []Value) error {
			if got = append(got, row); valuesText(values) != all[row] {
				t.Fatalf("row %d is %s, want %s", row, valuesText(values), all[row])
			}
			return nil
		}); err != nil || !slices.Equal(got, rows) {
			t.Fatalf("At %v yields %v, %v", rows, got, err)
		}
	}
	if err := g.At(columns, []int64{last + 1}, func(int64, []Value) error { return nil }); err == nil {
		t.Error("a row after the last one is no error")
	}
	if words, ok, err := g.Words("stage"); ok || err != nil {
		t.Errorf("words of a column that does not exist: %q, %v", words, err)
	}
	if words, ok, err := g.Words(columnPhase); !ok || err != nil || !slices.Equal(words, []string{"TRAINING"}) {
		t.Errorf("the stages are %q, %v, %v", words, ok, err)
	}
}

// TestEachOfVersions: files of every version have the times that Identities has.
func TestEachOfVersions(t *testing.T) {
	files := 0
	err := filepath.WalkDir(filepath.Join("..", "testdata", "formats"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".parquet" {
			return err
		}
		root, _, _ := strings.Cut(filepath.ToSlash(path), "/root/")
		if _, err := os.Stat(filepath.Join(root, "root", "quarantine", ".generations", filepath.Base(path))); err == nil {
			return nil // it was damaged on purpose
		}
		files++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f := open(t, data)
		var want, got []string
		for h, err := range f.Identities() {
			if err != nil {
				return err
			}
			want = append(want, fmt.Sprint(h.Key, h.Seq, h.Time.UTC()))
		}
		for _, g := range f.Groups() {
			if err := g.Each([]string{columnSeq, columnTimestamp, columnKey}, func(_ int64, v []Value) error {
				var at time.Time
				if v[1].Kind != 0 {
					at = time.UnixMicro(v[1].Int())
				}
				got = append(got, fmt.Sprint(string(v[2].Text()), v[0].Int(), at.UTC()))
				return nil
			}); err != nil {
				return err
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Error("there is no file of any version")
	}
}
