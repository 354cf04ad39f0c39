package index

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// filterPlaces is a destination of an index. It notes where filters begin.
type filterPlaces struct {
	filterFinder
	size   int64
	places []int64
}

func (f *filterPlaces) Write(p []byte) (int, error) {
	if f.isFilter(p) {
		f.places = append(f.places, f.size-int64(len(filterHeader(len(p)))))
	}
	f.size += int64(len(p))
	return len(p), nil
}

// TestFindsFilters shows that each filter is found that the library writes, and none that is copied. On machines with the
// highest byte first they are turned around.
func TestFindsFilters(t *testing.T) {
	size := groupSize{rows: 100, bytes: 1 << 20}
	var all []Put
	for i := range 250 {
		all = append(all, puts(cohort.Seq(1+i), runRecord(t, i, ""))...)
	}
	old := mergeOf(t, nil, all, size)
	for name, from := range map[string][]byte{"new": nil, "with copied groups": old} {
		next := all
		if from != nil {
			next = puts(1000, runRecord(t, 7000, ""))
		}
		var got filterPlaces
		f, schema := open(t, from), Schema(nil).Extend(recordsOf(all))
		gen := meta(1)
		if f != nil {
			schema, gen = f.Schema(), meta(2)
		}
		out := taking{old: from}
		stats, err := mergeSized(&both{&out, &got}, f, nil, schema, next, nil, gen, size)
		if err != nil {
			t.Fatal(err)
		}
		var want []int64
		for _, g := range open(t, out.Bytes()).file.Metadata().RowGroups[stats.GroupsCopied:] {
			for _, c := range g.Columns {
				if c.MetaData.BloomFilterOffset != 0 {
					want = append(want, c.MetaData.BloomFilterOffset)
				}
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, got.places); diff != "" || len(want) == 0 || (from != nil) != (stats.GroupsCopied > 0) {
			t.Errorf("%s, %d groups copied: filters (-there +found):\n%s", name, stats.GroupsCopied, diff)
		}
	}
}

func (b *both) Take(from, size int64) error {
	b.places.size += size
	return b.taking.Take(from, size)
}

// both writes to both, each call as it is.
type both struct {
	*taking
	places *filterPlaces
}

func (b *both) Write(p []byte) (int, error) {
	b.places.Write(p)
	return b.taking.Write(p)
}

func TestSwapWords(t *testing.T) {
	got := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	if swapWords(got); !bytes.Equal(got, []byte{4, 3, 2, 1, 8, 7, 6, 5}) {
		t.Errorf("swapped: %v", got)
	}
}
